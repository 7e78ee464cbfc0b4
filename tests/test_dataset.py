"""signlib.dataset: real folders with everything that can be wrong in them, and who learns from what."""

import io
import json
import os
import pickle
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest

from signlib import InputError, class_names, load_clips, split_clips
from signlib.dataset import Clip, find_labels, read_labels

GLOSSES = {"00123": "book", "00456": "book", "05237": "drink", "60001": "drink", "60002": "drink"}
ALL_BUT_ONE = 0.99


def npy(array, **options):
    """The bytes of a .npy file."""
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def npz(array):
    """The bytes of an .npz archive."""
    file = io.BytesIO()
    np.savez(file, frames=array)
    return file.getvalue()


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


FRAMES = np.random.default_rng(0).random((4, 1629)).astype(np.float32)
GOOD = npy(FRAMES)
NOT_NPY = r"not a \.npy"
BAD = {  # what the file holds, and what its reason says
    "truncated": (GOOD[:-5000], NOT_NPY),
    "header only": (GOOD[:128], NOT_NPY),
    "half a header": (GOOD[:40], NOT_NPY),
    "empty": (b"", NOT_NPY),
    "text": (b"0.1,0.2,0.3\n" * 100, NOT_NPY),
    "zeros": (bytes(5000), NOT_NPY),
    "npz": (npz(FRAMES), "npz"),
    "truncated npz": (npz(FRAMES)[:3000], "npz|not a .npy"),
    "unclosed header": (GOOD.replace(b"), }", b" , }"), NOT_NPY),
    "no dtype": (GOOD.replace(b"<f4", b"<q9"), NOT_NPY),
    "long header": (GOOD[:6] + b"\x02\x00" + (20_000).to_bytes(4, "little") + b" " * 20_000 + GOOD[128:], NOT_NPY),
    "negative shape": (GOOD.replace(b"(4, 1629)", b"(-4,1629)"), NOT_NPY),
    "huge shape": (GOOD.replace(b"(4, 1629), }          ", b"(4000000000000, 1629)}"), NOT_NPY),
    "beyond any memory": (GOOD.replace(b"(4, 1629), }" + b" " * 20, b"(4" + b"0" * 21 + b", 1629)} "), NOT_NPY),
    "too narrow": (npy(FRAMES[:, :1628]), "1628"),
    "no values": (npy(FRAMES[:, :0]), "0 values"),
    "one frame as a line": (npy(FRAMES[0]), r"shape \(1629,\)"),
    "a number": (npy(np.float32(1)), r"shape \(\)"),
    "(T, 543, 3)": (npy(FRAMES.reshape(4, 543, 3)), r"shape \(4, 543, 3\)"),
    "no frames": (npy(FRAMES[:0]), "no frames"),
    "complex": (npy(FRAMES.astype(complex)), "complex128"),
    "bool": (npy(FRAMES > 0.5), "bool"),
    "strings": (npy(FRAMES.astype("U4")), "<U4"),
    "records": (npy(np.zeros((4, 1629), [("x", "f4")])), "expected real numbers"),
}


@pytest.fixture
def folder(tmp_path, write_clips):
    """Five good clips of two glosses, with their labels."""
    return write_clips(tmp_path / "clips", GLOSSES)


def make(video_id, gloss, split="train"):
    """A Clip without a file."""
    return Clip(video_id, None, gloss, -1, split, "1629")


def ids(clips):
    return [clip.video_id for clip in clips]


# Files


def test_each_clip_has_its_label_and_its_frames(folder, make_frames):
    clips = load_clips(folder)
    assert {clip.video_id: clip.gloss for clip in clips} == GLOSSES
    assert ids(clips) == sorted(GLOSSES)
    assert clips.problems == []
    assert {(clip.signer, clip.split, clip.layout) for clip in clips} == {(7, "train", "1629")}
    for seed, clip in enumerate(clips):
        np.testing.assert_array_equal(clip.read(), make_frames(6 + seed, seed).astype(np.float32))
        assert clip.num_frames == 6 + seed


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4", "<i4", "u1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_each_type_of_real_number_is_read_as_it_is(folder, dtype, order):
    frames = np.asarray(FRAMES * 100, dtype=dtype, order=order)
    np.save(folder / "00123.npy", frames)
    clip = load_clips(folder)[0]
    np.testing.assert_array_equal(clip.read(), frames)
    assert clip.read().dtype == frames.dtype


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_left_out_with_its_reason(folder, kind):
    content, reason = BAD[kind]
    assert content != GOOD
    (folder / "00456.npy").write_bytes(content)
    clips = load_clips(folder, max_bad_share=ALL_BUT_ONE)
    assert ids(clips) == ["00123", "05237", "60001", "60002"]
    (problem,) = clips.problems
    assert (problem.video_id, problem.kind) == ("00456", "file")
    assert re.search(reason, problem.reason)
    assert "allow_pickle" not in problem.reason  # NumPy's advice, which is not ours
    assert "\n" not in problem.reason
    assert str(folder) not in problem.reason
    assert all(len(clip.read()) for clip in clips)


def test_all_kinds_of_bad_files_at_once_leave_the_good_ones(tmp_path, write_clips):
    folder = write_clips(tmp_path, GLOSSES | {f"bad{i}": "book" for i in range(len(BAD))})
    for i, (content, _) in enumerate(BAD.values()):
        (folder / f"bad{i}.npy").write_bytes(content)
    clips = load_clips(folder, max_bad_share=ALL_BUT_ONE)
    assert ids(clips) == sorted(GLOSSES)
    assert {problem.video_id for problem in clips.problems} == {f"bad{i}" for i in range(len(BAD))}


def test_any_damage_to_a_header_leaves_one_file_out_at_most(folder):
    rng = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(GOOD)
        for position in rng.integers(0, 100, rng.integers(1, 4)):
            damaged[position] = rng.choice(list(b"0123456789(){},'<>-: fbOVeiL\x00\xff"))
        (folder / "00456.npy").write_bytes(damaged)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # NumPy's of a Python 2 header
            clips = load_clips(folder, max_bad_share=ALL_BUT_ONE)
        assert set(ids(clips)) >= set(GLOSSES) - {"00456"}
        assert len(clips) + len(clips.problems) == 5


@pytest.mark.parametrize("form", ["object array", "pickle", "npz of objects"])
def test_nothing_is_ever_unpickled(folder, tmp_path, form):
    trace = tmp_path / "trace"
    objects = np.array([[Bomb(trace)]], dtype=object)
    content = {"object array": npy(objects), "pickle": pickle.dumps(Bomb(trace)), "npz of objects": npz(objects)}[form]
    path = folder / "00456.npy"
    path.write_bytes(content)
    clips = load_clips(folder)
    assert ids(clips) == ["00123", "05237", "60001", "60002"]
    with pytest.raises(InputError, match="00456"):
        Clip("00456", path, "book", -1, "", "1629").read()
    assert not trace.exists()
    if form == "pickle":  # the trap does work
        pickle.loads(content).close()
        assert trace.exists()


def test_a_folder_or_a_dangling_link_named_npy_is_left_out(folder):
    (folder / "00456.npy").unlink()
    (folder / "00456.npy").mkdir()
    (folder / "05237.npy").unlink()
    (folder / "05237.npy").symlink_to(folder / "nowhere")
    clips = load_clips(folder, max_bad_share=0.5)
    assert ids(clips) == ["00123", "60001", "60002"]
    assert {p.video_id: p.reason for p in clips.problems} == {
        "00456": "cannot be read: not a file",
        "05237": "cannot be read: No such file or directory",
    }


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_read_permission_is_left_out(folder):
    (folder / "00456.npy").chmod(0)
    clips = load_clips(folder)
    assert [(p.video_id, p.reason) for p in clips.problems] == [("00456", "cannot be read: Permission denied")]


@pytest.mark.parametrize(("share", "fine"), [(0, False), (0.39, False), (0.4, True), (1, True)])
def test_more_bad_files_than_max_bad_share_is_an_error_that_names_them(folder, share, fine):
    for name in ("00456", "60002"):
        (folder / f"{name}.npy").write_bytes(b"")
    if fine:
        assert len(load_clips(folder, max_bad_share=share)) == 3
    else:
        with pytest.raises(InputError, match=r"2 of 5 files in .*00456\.npy: .*60002\.npy: .*MAX_BAD_SHARE"):
            load_clips(folder, max_bad_share=share)


def test_hidden_files_are_not_clips(folder):
    (folder / "._05237.npy").write_bytes(b"\x00\x05\x16\x07 AppleDouble")
    clips = load_clips(folder, max_bad_share=0)
    assert len(clips) == 5
    assert clips.problems == []


def test_clips_are_sorted_by_video_id(tmp_path, write_clips):
    names = ["sign", "sign-2", "sign+1", "Sign", "09", "10"]
    assert ids(load_clips(write_clips(tmp_path, dict.fromkeys(names, "book")))) == sorted(names)


def test_a_file_that_changed_since_it_was_listed_is_an_error(folder):
    clip = load_clips(folder)[0]
    np.save(clip.path, FRAMES[:, :300])
    with pytest.raises(InputError, match=r"00123\.npy holds 300 values a frame; it was 1629 when listed"):
        clip.read()
    clip.path.unlink()
    with pytest.raises(InputError, match=r"00123\.npy cannot be read: No such file"):
        clip.num_frames  # noqa: B018


def test_a_folder_that_cannot_be_used_is_named(tmp_path, folder):
    with pytest.raises(InputError, match=r"no data folder at .*nowhere"):
        load_clips(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no \.npy file in .*empty"):
        load_clips(tmp_path / "empty")
    with pytest.raises(InputError, match="layout is '12'; expected 'auto' or one of 1629"):
        load_clips(folder, layout="12")
    assert len(load_clips(str(folder), layout="1629")) == 5


# Labels


@pytest.mark.parametrize("number", [False, True], ids=["text", "number"])
def test_an_id_with_leading_zeros_keeps_its_label(folder, number):
    table = [{"gloss": g, "instances": [{"video_id": int(v) if number else v}]} for v, g in GLOSSES.items()]
    (folder / "WLASL_v0.3.json").write_text(json.dumps(table))
    clips = load_clips(folder)
    assert {clip.video_id: clip.gloss for clip in clips} == GLOSSES
    assert {(clip.signer, clip.split) for clip in clips} == {(-1, "")}


def test_labels_are_found_in_the_folder_or_beside_it_or_where_they_are_named(folder, tmp_path, monkeypatch):
    inside, beside, named = folder / "WLASL_v0.3.json", tmp_path / "WLASL_v0.3.json", tmp_path / "mine.json"
    beside.write_bytes(inside.read_bytes())
    assert find_labels(folder) == inside
    inside.rename(named)
    assert find_labels(folder) == beside
    assert len(load_clips(folder)) == 5
    monkeypatch.chdir(folder)
    assert find_labels(".") == beside
    beside.unlink()
    assert len(load_clips(folder, labels=named)) == 5
    with pytest.raises(InputError, match=r"no labels: neither .*clips/WLASL_v0\.3\.json nor .*Set LABELS"):
        load_clips(folder)


def test_unlabelled_missing_and_contradictory_clips_are_problems(folder, write_labels):
    write_labels(folder / "WLASL_v0.3.json", {v: g for v, g in GLOSSES.items() if v != "60002"} | {"99999": "tea"})
    table = json.loads((folder / "WLASL_v0.3.json").read_text())
    table.append({"gloss": "pen", "instances": [{"video_id": "00456"}, {"video_id": "88888"}]})
    table.append({"gloss": "tea", "instances": [{"video_id": "00456"}, {"video_id": "99999"}]})
    (folder / "WLASL_v0.3.json").write_text(json.dumps(table))
    clips = load_clips(folder)
    assert ids(clips) == ["00123", "05237", "60001"]
    problems = {p.video_id: (p.kind, p.reason) for p in clips.problems}
    assert len(problems) == len(clips.problems) == 4
    assert problems == {
        "00456": ("label", "the labels give it 3 glosses: book, pen, tea"),
        "60002": ("label", "the labels do not list this id"),
        "88888": ("missing", "labelled, but there is no such file"),
        "99999": ("missing", "labelled, but there is no such file"),
    }


def test_labels_of_other_clips_are_an_error(folder, write_labels):
    write_labels(folder / "WLASL_v0.3.json", {"77777": "tea"})
    with pytest.raises(InputError, match=r"none of the 5 files .* has a label, 00123\.npy for one; .*77777.*Set LABELS"):
        load_clips(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not json"),
        (b"[{", "is not json"),
        (b"\x80\x81\x82\x83", "is not json"),
        (b"[" * 200_000, "is not json"),
        (b"{}", "holds a dict; expected WLASL's list"),
        (b"null", "holds a NoneType"),
        (b'["book"]', "entry 0 is not"),
        (b'[{"gloss": "a", "instances": []}, {"gloss": 3, "instances": []}]', "entry 1 is not"),
        (b'[{"gloss": "a"}]', "entry 0 is not"),
        (b'[{"gloss": "a", "instances": {}}]', "entry 0 is not"),
        (b'[{"gloss": "a", "instances": [{"signer_id": 3}]}]', "gloss 'a' has no video_id"),
        (b'[{"gloss": "a", "instances": [{"video_id": null}]}]', "gloss 'a' has no video_id"),
        (b'[{"gloss": "a", "instances": [{"video_id": true}]}]', "gloss 'a' has no video_id"),
        (b'[{"gloss": "a", "instances": [{"video_id": 12.5}]}]', "gloss 'a' has no video_id"),
        (b'[{"gloss": "a", "instances": ["12345"]}]', "gloss 'a' has no video_id; found '12345'"),
    ],
)
def test_labels_that_cannot_be_used_are_named(tmp_path, content, message):
    path = tmp_path / "my labels.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"my labels\.json:? .*{message}|my labels\.json: an instance of {message}"):
        read_labels(path)


def test_labels_that_are_not_there_are_named(tmp_path):
    for path in (tmp_path / "nowhere.json", tmp_path):
        with pytest.raises(InputError, match=rf"cannot read the labels {path}: .*Set LABELS"):
            read_labels(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_glosses_of_any_script_are_read(tmp_path, encoding):
    path = tmp_path / "labels.json"
    path.write_text('[{"gloss": "Bücher 本", "instances": [{"video_id": "é1"}]}]', encoding=encoding)
    assert read_labels(path) == ({"é1": ("Bücher 本", -1, "")}, [])


# Fingerprint


def test_the_fingerprint_is_of_the_content_not_of_the_place_or_order(folder, tmp_path):
    twin = tmp_path / "twin"
    twin.mkdir()
    for path in sorted(folder.iterdir(), reverse=True):
        (twin / path.name).write_bytes(path.read_bytes())
    first = load_clips(folder)
    assert first.fingerprint == load_clips(folder).fingerprint == load_clips(twin).fingerprint
    (twin / "unlabelled.npy").write_bytes(GOOD)
    assert load_clips(twin).fingerprint == first.fingerprint


@pytest.mark.parametrize("change", ["first frame", "last frame", "length", "dtype", "gloss", "split", "fewer clips"])
def test_the_fingerprint_changes_with_the_clips(folder, write_labels, change):
    before = load_clips(folder).fingerprint
    path = folder / "05237.npy"
    frames = np.load(path)
    if change == "first frame":
        frames[0, 0] += 1
    elif change == "last frame":
        frames[-1, -1] += 1
    elif change == "length":
        frames = np.concatenate([frames, frames])
    elif change == "dtype":
        frames = frames.astype(np.float64)
    np.save(path, frames)
    labels = folder / "WLASL_v0.3.json"
    if change == "gloss":
        write_labels(labels, GLOSSES | {"05237": "book"})
    elif change == "split":
        write_labels(labels, GLOSSES, {"05237": "val"})
    elif change == "fewer clips":
        path.unlink()
    assert load_clips(folder).fingerprint != before


# Split


@pytest.mark.parametrize("seed", range(10))
def test_a_stratified_split_gives_each_gloss_a_clip_to_learn_and_one_to_judge(seed):
    rng = np.random.default_rng(seed)
    counts = {f"gloss{g}": int(rng.integers(1, 30)) for g in range(12)} | {"single": 1, "pair": 2, "ten": 10}
    marks = ["train", "val", "", "test"]
    clips = [make(f"{g}-{i}", g, marks[rng.integers(4)] if i > 1 else "train") for g, n in counts.items() for i in range(n)]
    share = float(rng.choice([0.1, 0.2, 0.5, 0.9]))
    train, val, test = split_clips(clips, validation_split=share, seed=seed)
    assert sorted(ids(train) + ids(val) + ids(test)) == sorted(ids(clips))
    assert set(ids(test)) == {clip.video_id for clip in clips if clip.split == "test"}
    for gloss in counts:
        total = sum(c.gloss == gloss and c.split != "test" for c in clips)
        judged = sum(c.gloss == gloss for c in val)
        assert sum(c.gloss == gloss for c in train) == total - judged
        assert 0 <= judged < total
        if total > 1:
            assert judged == min(total - 1, max(1, round(share * total)))
    assert class_names(train) == sorted(counts)
    shuffled = [clips[i] for i in rng.permutation(len(clips))]
    assert split_clips(shuffled, validation_split=share, seed=seed) == (train, val, test)
    assert ids(split_clips(clips, validation_split=share, seed=seed + 1)[1]) != ids(val)


def test_the_default_split_is_80_20():
    clips = [make(f"{g}-{i}", f"g{g}") for g in range(5) for i in range(20)]
    train, val, test = split_clips(clips)
    assert (len(train), len(val), len(test)) == (80, 20, 0)


def test_the_official_split_is_the_labels_own():
    marks = {"a1": "train", "a2": "val", "a3": "test", "b1": "train", "b2": "test"}
    clips = [make(video_id, video_id[0], split) for video_id, split in marks.items()]
    with pytest.warns(UserWarning, match="VALIDATION_SPLIT = 0.2 is not used, nor is SEED") as said:
        train, val, test = split_clips(clips[::-1], "official")
    assert len(said) == 1
    assert (ids(train), ids(val), ids(test)) == (["a1", "b1"], ["a2"], ["a3", "b2"])


def test_the_official_split_says_which_clips_it_does_not_use():
    marks = {"a1": "train", "a2": "val", "a3": "", "a4": "dev", "b1": "val", "c1": "val"}
    clips = [make(video_id, video_id[0], split) for video_id, split in marks.items()]
    with pytest.warns(UserWarning) as said:
        train, val, test = split_clips(clips, "official")
    assert (ids(train), ids(val), test) == (["a1"], ["a2"], [])
    told = [str(warning.message) for warning in said]
    assert any("2 clips are marked neither" in text for text in told)
    assert any("2 validation clips leave: no training clip of b, c" in text for text in told)
    assert {warning.filename for warning in said} == {__file__}


@pytest.mark.parametrize(
    ("marks", "strategy", "message"),
    [
        (["train", "train"], "official", "official split leaves no validation clip of 2 .*Set SPLIT to stratified"),
        (["val", "val"], "official", "official split leaves no training clip of 2"),
        (["test", "test"], "stratified", r"no training clip of 2 \(2 are marked test\)"),
        (["train", "test"], "stratified", "no validation clip of 2 .*two or more clips a gloss"),
        (["train", "train"], "random", "split strategy is 'random'; expected 'stratified' or 'official'"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_split_with_an_empty_side_is_an_error(marks, strategy, message):
    with pytest.raises(InputError, match=message):
        split_clips([make(f"{i}", "book", mark) for i, mark in enumerate(marks)], strategy)


def test_no_strategy_trains_on_a_test_clip(folder, write_labels):
    write_labels(folder / "WLASL_v0.3.json", GLOSSES, {"05237": "test", "00456": "val", "60002": "val"})
    clips = load_clips(folder)
    assert ids(split_clips(clips)[2]) == ["05237"]
    with pytest.warns(UserWarning, match="VALIDATION_SPLIT"):
        assert [ids(side) for side in split_clips(clips, "official")] == [["00123", "60001"], ["00456", "60002"], ["05237"]]


def test_class_names_are_the_glosses_with_training_clips():
    clips = [make("1", "tea"), make("2", "book"), make("3", "tea"), make("4", "pen", "test"), make("5", "sun", "test")]
    train, val, _ = split_clips(clips)
    assert class_names(train) == ["book", "tea"]
    assert class_names(train) == class_names(train[::-1])
    assert set(class_names(val)) <= {"book", "tea"}


def test_listing_and_splitting_never_import_tensorflow(folder):
    code = (
        "import sys, signlib, signlib.dataset\n"
        f"clips = signlib.load_clips({str(folder)!r})\n"
        "train, val, test = signlib.split_clips(clips)\n"
        "p = signlib.Preprocessor()\n"
        "signlib.Augment()(p.points(clips[0].read(), clips[0].layout), __import__('numpy').random.default_rng(0))\n"
        "print(len(train), len(val), [m for m in sys.modules if m.split('.')[0] in ('tensorflow', 'keras')])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("3 2 []\n", "")
