"""signlib.labels: which clips a folder of any form holds, what each means, and what is refused with what to do."""

import json
import os
import re

import numpy as np
import pytest

from benchmarks.damage import alarm
from signlib import InputError, load_clips
from signlib.labels import Label, find_clips, find_labels, read_labels

# The json


@pytest.mark.parametrize("number", [False, True], ids=["text", "number"])
def test_an_id_with_leading_zeros_keeps_its_label(folder, number, glosses):
    table = [{"gloss": g, "instances": [{"video_id": int(v) if number else v}]} for v, g in glosses.items()]
    (folder / "WLASL_v0.3.json").write_text(json.dumps(table))
    clips = load_clips(folder)
    assert {clip.video_id: clip.gloss for clip in clips} == glosses
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


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_labels_that_have_no_end_are_not_waited_for(tmp_path, kind):
    path = tmp_path / "labels.json"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    with alarm(30), pytest.raises(InputError, match=rf"cannot read the labels {path}: not a file\. Set LABELS"):
        read_labels(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_glosses_of_any_script_are_read(tmp_path, encoding):
    path = tmp_path / "labels.json"
    path.write_text('[{"gloss": "Bücher 本", "instances": [{"video_id": "é1"}]}]', encoding=encoding)
    assert read_labels(path) == ({"é1": Label("Bücher 本", -1, "")}, [])


@pytest.mark.parametrize(
    ("signer", "meant"),
    [
        *((7, 7), ("7", 7), ("007", 7), (7.0, 7), (0, 0), ("anna", "anna"), (" anna ", "anna"), ("7.0", 7)),
        *(
            (-1, -1),
            ("-1", -1),
            (-1.0, -1),
            (None, -1),
            ("", -1),
            ([3], -1),
            (2.5, -1),
            ("unknown", -1),
            ("None", -1),
            ("-1.0", -1),
            ("-2", -1),
            (True, -1),
            (float("nan"), -1),
            ("\ud800", "\\ud800"),  # which nothing could print
        ),
    ],
)
def test_a_signer_is_a_number_or_a_name_or_unknown(tmp_path, signer, meant):
    path = tmp_path / "labels.json"
    path.write_text(json.dumps([{"gloss": "tea", "instances": [{"video_id": "1", "signer_id": signer, "split": None}]}]))
    assert read_labels(path) == ({"1": Label("tea", meant, "")}, [])


@pytest.mark.parametrize(
    ("split", "meant"),
    [("Test", "test"), (" testing", "test"), ("validation", "val"), ("dev", "val"), ("Train", "train"), ("fold 3", "fold 3")],
)
def test_the_usual_names_of_splits_are_understood(tmp_path, split, meant):
    path = tmp_path / "labels.json"
    path.write_text(json.dumps([{"gloss": "tea", "instances": [{"video_id": "1", "split": split}]}]))
    assert read_labels(path) == ({"1": Label("tea", -1, meant)}, [])


def test_a_signer_of_many_digits_is_not_the_end(tmp_path):
    path = tmp_path / "labels.json"
    path.write_text(json.dumps([{"gloss": "tea", "instances": [{"video_id": "1", "signer_id": "1" * 5000}]}]))
    read_labels(path)


@pytest.mark.parametrize("order", [1, -1])
def test_a_clip_that_is_listed_as_test_anywhere_is_test(tmp_path, order):
    path = tmp_path / "labels.json"
    instances = [{"video_id": "1", "signer_id": 3, "split": split} for split in ("train", "test", "val")][::order]
    path.write_text(json.dumps([{"gloss": "tea", "instances": instances}]))
    entries, problems = read_labels(path)
    assert entries == {"1": Label("tea", 3, "test")}
    assert [(p.video_id, p.kind, p.reason) for p in problems] == [("1", "listed twice", "3 times, as test, train, val")]


def test_a_clip_that_is_listed_twice_with_one_gloss_is_used_and_said(tmp_path):
    path = tmp_path / "labels.json"
    table = [
        {"gloss": "tea", "instances": [{"video_id": "2", "signer_id": 3}, {"video_id": "1"}, {"video_id": 2, "split": "val"}]},
        {"gloss": "pen", "instances": [{"video_id": "3"}, {"video_id": "3", "split": "train"}, {"video_id": "00002"}]},
        {"gloss": "tea", "instances": [{"video_id": "2", "signer_id": 4}]},
    ]
    path.write_text(json.dumps(table))
    entries, problems = read_labels(path)
    assert entries == {"2": Label("tea", 3), "1": Label("tea"), "3": Label("pen")}  # the first counts
    assert [(p.video_id, p.kind, p.reason) for p in problems] == [
        ("00002", "label", "the labels give it 2 glosses: pen, tea"),
        ("2", "listed twice", "2 times, as none"),
        ("3", "listed twice", "2 times, as none, train"),
    ]


@pytest.mark.parametrize(
    ("instance", "source", "recording"),
    [
        ({}, "", ()),
        (
            {"source": " aslu ", "url": " http://x/a.mp4 ", "frame_start": 1, "frame_end": -1},
            "aslu",
            ("http://x/a.mp4", 1, -1),
        ),
        ({"url": "u://", "frame_start": "1", "frame_end": 40.0}, "", ("u://", 1, 40)),
        ({"url": "local", "frame_start": 1, "frame_end": 40}, "", ()),  # what stands for none
        ({"url": "u://"}, "", ()),  # one of several signs in a long video
        ({"url": "u://", "frame_start": 1, "frame_end": True}, "", ()),
        ({"url": "", "frame_start": 1, "frame_end": 40}, "", ()),
        ({"url": "  ", "frame_start": 1, "frame_end": 40}, "", ()),
        ({"url": None, "frame_start": 1, "frame_end": 40, "source": None}, "", ()),
        ({"url": 7, "frame_start": 1, "frame_end": 40, "source": 7}, "", ()),
        ({"url": ["u"], "source": ["s"]}, "", ()),
    ],
)
def test_a_label_holds_who_recorded_it_and_which_frames_of_what(tmp_path, instance, source, recording):
    path = tmp_path / "labels.json"
    path.write_text(json.dumps([{"gloss": "tea", "instances": [{"video_id": "1"} | instance]}]))
    assert read_labels(path) == ({"1": Label("tea", -1, "", source, recording)}, [])


@pytest.mark.parametrize("place", ["inside", "beside"])
def test_another_json_that_lies_there_is_named(folder, place):
    other = (folder if place == "inside" else folder.parent) / "my signs.json"
    (folder / "WLASL_v0.3.json").rename(other)
    (folder / "._x.json").write_bytes(b"AppleDouble")
    with pytest.raises(InputError, match=rf"no labels: neither .*Set LABELS to your json, if it is {re.escape(str(other))};"):
        find_labels(folder)


def test_of_several_jsons_none_is_suggested_and_the_form_without_one_is_named(folder):
    (folder / "WLASL_v0.3.json").rename(folder / "a.json")
    (folder.parent / "b.json").write_bytes(b"[]")
    with pytest.raises(InputError, match=r"Set LABELS to your json; or, without one, .*clips/<gloss>/<clip>\.npy") as said:
        find_labels(folder)
    assert "a.json" not in str(said.value)


# The forms: names alone, nothing is read


def tree(folder, *names):
    """Writes empty files; returns the folder."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


FLAT = ("00123.npy", "00456.npy")
GLOSSES = ("book/a.npy", "book/b.npy", "thank you/a.npy")
MP_DATA = ("book/0/0.npy", "book/0/1.npy", "book/10/0.npy", "thank you/0/0.npy")


def test_a_folder_of_files_is_read_with_its_json(tmp_path, write_labels):
    folder = tree(tmp_path / "kp", *FLAT)
    write_labels(folder / "WLASL_v0.3.json", {"00123": "book", "99999": "tea"}, {"99999": "test"})
    entries = {"00123": Label("book", 7, "train"), "99999": Label("tea", 7, "test")}
    paths = {"00123": folder / "00123.npy", "00456": folder / "00456.npy"}
    assert find_clips(folder) == (folder, paths, entries, [])
    assert find_clips(str(folder), labels=str(folder / "WLASL_v0.3.json")) == (folder, paths, entries, [])


def test_a_folder_a_gloss_is_read_by_its_names(tmp_path):
    folder = tree(tmp_path / "signs", *GLOSSES)
    paths = {name.removesuffix(".npy"): folder / name for name in GLOSSES}
    entries = {"book/a": Label("book", -1, ""), "book/b": Label("book", -1, ""), "thank you/a": Label("thank you", -1, "")}
    assert find_clips(folder) == (folder, paths, entries, [])


def test_a_folder_a_clip_of_one_frame_a_file_is_read_by_its_names(tmp_path):
    folder = tree(tmp_path / "MP_Data", *MP_DATA)
    paths = {name: folder / name for name in ("book/0", "book/10", "thank you/0")}
    entries = {"book/0": Label("book", -1, ""), "book/10": Label("book", -1, ""), "thank you/0": Label("thank you", -1, "")}
    assert find_clips(folder) == (folder, paths, entries, [])


@pytest.mark.parametrize(
    ("names", "above"),
    [
        (GLOSSES, "data"),
        (GLOSSES, "data/keypoints"),
        (GLOSSES, "train"),
        (MP_DATA, "data"),
        (FLAT, "data"),
        (FLAT, "data/keypoints"),
        (FLAT, "data/very/deep"),
    ],
)
def test_the_only_folder_that_holds_any_is_meant(tmp_path, write_labels, names, above):
    folder = tree(tmp_path / above, *names)
    if names is FLAT:
        write_labels(folder.parent / "WLASL_v0.3.json", {"00123": "book", "00456": "tea"})
    tree(tmp_path, "Logs/train/events.out", "README.md", ".git/objects/x.npy", "empty/.keep")
    found, paths, entries, problems = find_clips(tmp_path)
    assert found == folder
    assert (found, paths, entries, problems) == find_clips(folder)
    assert len(paths) == {FLAT: 2, GLOSSES: 3, MP_DATA: 3}[names]


@pytest.mark.parametrize("names", [GLOSSES, MP_DATA], ids=["glosses", "MP_Data"])
def test_what_is_hidden_or_holds_no_npy_is_no_gloss_and_no_clip(tmp_path, names):
    expected = find_clips(tree(tmp_path / "a", *names))
    other = tree(
        tmp_path / "b",
        *names,
        ".ipynb_checkpoints/a.npy",
        ".ipynb_checkpoints/0/0.npy",
        "book/.ipynb_checkpoints/a-checkpoint.npy",
        "._x.npy",
        "book/._a.npy",
        "__MACOSX/._a.npy",
        "__MACOSX/book/._a.npy",
        "Logs/train/events.out.tfevents",
        "README.txt",
        "action.h5",
        "actions.json",
        "book/notes.txt",
    )
    (other / "empty" / "0").mkdir(parents=True)
    _, paths, entries, problems = find_clips(other)
    assert ({v: p.relative_to(other) for v, p in paths.items()}, entries, problems) == (
        {v: p.relative_to(expected[0]) for v, p in expected[1].items()},
        expected[2],
        [],
    )


@pytest.mark.parametrize("seed", range(20))
def test_any_names_of_glosses_and_clips_are_taken_as_they_are(tmp_path, seed):
    rng = np.random.default_rng(seed)
    words = ["book", "Book", "b.o.o.k", "thank you", "本", "é", "0", "10", "-1", "x.npy-", "a+b", "it's", "[ab]", "*", "%20"]
    some = [words[i] for i in rng.permutation(len(words))[: rng.integers(2, 8)]]
    clips = {f"{gloss}/{clip}" for gloss in some for clip in rng.permutation(words)[: rng.integers(1, 5)]}
    suffix = "/0.npy" if seed % 2 else ".npy"
    _, paths, entries, _ = find_clips(tree(tmp_path / "d", *(clip + suffix for clip in clips)))
    assert set(paths) == set(entries) == clips
    assert {video_id: label.gloss for video_id, label in entries.items()} == {clip: clip.split("/")[0] for clip in clips}
    assert {path.relative_to(tmp_path / "d").as_posix() for path in paths.values()} == {
        clip if seed % 2 else clip + ".npy" for clip in clips
    }


REFUSED = {  # the files of a folder `d`, and what the error says
    "nothing": (
        ("a/b.txt",),
        r"no \.npy file in .*d; expected <video_id>\.npy files with a WLASL_v0\.3\.json.*<gloss>/<clip>\.npy",
    ),
    "hidden alone": ((".a/b.npy", "._c.npy", "e/._f.npy"), r"no \.npy file in .*d; expected"),
    "files without a json": (FLAT, r"no labels: neither .*d/WLASL_v0\.3\.json nor .*Set LABELS.*<gloss>/<clip>\.npy"),
    "json and two folders": (
        ("WLASL_v0.3.json", "keypoints/00123.npy", "keypoints_fixed/00123.npy"),
        r"WLASL_v0\.3\.json names <video_id>\.npy files, but .*d has none: .* its folders keypoints, keypoints_fixed\. "
        "Set DATA to one of these.*move the json away",
    ),
    "json and glosses": (
        ("WLASL_v0.3.json", *GLOSSES),
        "json names .* its folders book, thank you.*after glosses, move the json",
    ),
    "json and MP_Data": (("WLASL_v0.3.json", *MP_DATA), "json names .* its folders book, thank you"),
    "splits": (
        ("train/book/a.npy", "train/tea/b.npy", "val/book/c.npy", "test/book/d.npy"),
        r"folders that are named after splits: test, train, val\. Expected folders named after glosses: set DATA to one of "
        "them, such as .*d/train",
    ),
    "splits of files": (("Train/a.npy", "Validation/b.npy"), "named after splits: Train, Validation"),
    "splits of frames": (("dev/book/0/0.npy", "testing/book/0/0.npy"), "named after splits: dev, testing"),
    "glosses and MP_Data": (
        ("book/a.npy", "tea/0/0.npy"),
        r"mixes two forms: book holds \.npy files, tea holds folders of them; expected.*Move away what is no gloss",
    ),
    "one gloss of both": (
        ("book/a.npy", "book/0/0.npy", "tea/a.npy"),
        "mixes two forms: book holds .* book holds folders of them",
    ),
    "glosses and a level more": (("book/a.npy", "old/book/a.npy"), "mixes two forms: book holds .* old holds folders of them"),
    "frames a level too deep": (
        ("book/0/kp/0.npy", "tea/0/kp/0.npy"),
        r"d/book/0 holds no \.npy files but folders of them, one level more.*; or move up what lies in .*d/book/0$",
    ),
    "a level above": (
        ("s1/book/0/0.npy", "s2/book/0/0.npy"),
        r"d/s1/book holds no .*Set DATA to .*d/s1, if its folders are named",
    ),
    "glosses and a stray file": ((*GLOSSES, "labels.npy"), r"no labels: neither .*if book is a gloss, move labels\.npy out of"),
    "one gloss": (("book/a.npy", "book/b.npy"), "no labels: .*if book is a gloss, put the folder of a second one beside it"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_form_is_refused_with_what_was_found_and_what_to_do(tmp_path, case):
    names, message = REFUSED[case]
    folder = tree(tmp_path / "d", *names)
    with pytest.raises(InputError, match=message):
        find_clips(folder)
    with pytest.raises(InputError, match=message):
        load_clips(folder)


def test_a_sequence_without_a_frame_is_a_problem_not_a_clip(tmp_path):
    folder = tree(tmp_path / "d", *MP_DATA)
    (folder / "book" / "7").mkdir()
    _, paths, entries, problems = find_clips(folder)
    assert len(paths) == len(entries) == 3
    assert [(p.video_id, p.kind, p.reason) for p in problems] == [("book/7", "missing", "its folder holds no .npy file")]


@pytest.mark.parametrize("names", [GLOSSES, MP_DATA], ids=["glosses", "MP_Data"])
def test_labels_that_are_named_for_folders_of_glosses_are_refused(tmp_path, write_labels, names):
    labels = write_labels(tmp_path / "mine.json", {"a": "book"})
    folder = tree(tmp_path / "d", *names)
    with pytest.raises(InputError, match=r"mine\.json names <video_id>\.npy files, but .*d has none.*leave LABELS empty"):
        find_clips(folder, labels)


def test_one_split_among_glosses_is_a_gloss(tmp_path):
    _, _, entries, _ = find_clips(tree(tmp_path, "train/a.npy", "plane/a.npy"))
    assert {label.gloss for label in entries.values()} == {"train", "plane"}


def test_a_folder_that_is_none_is_named_with_the_forms(tmp_path):
    (tmp_path / "file").touch()
    for name in ("nowhere", "file", "file/below"):
        with pytest.raises(
            InputError, match=rf"no data folder at .*{name}; expected .*MP_Data|{name}; .*<frame>\.npy.*Set DATA"
        ):
            find_clips(tmp_path / name)


@pytest.mark.parametrize("deep", ["a/b/c/d/e/0.npy", "a/b/c/d/e/f/g/0.npy"])
def test_files_too_deep_are_a_clear_error(tmp_path, deep):
    with pytest.raises(InputError, match=r"no \.npy file in .*; expected"):
        find_clips(tree(tmp_path, deep))


def test_links_in_a_circle_end(tmp_path):
    tree(tmp_path, "book/a.npy", "tea/a.npy")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    with pytest.raises(InputError, match="mixes two forms: book holds .npy files, loop holds folders"):
        find_clips(tmp_path)
    (tmp_path / "loop").unlink()
    assert len(find_clips(tmp_path)[1]) == 2


@pytest.mark.parametrize("seed", range(60))
def test_no_tree_whatever_gives_anything_but_clips_or_an_input_error(tmp_path, npy_bytes, seed):
    rng = np.random.default_rng(seed)
    names = ["book", "tea", "0", "1", "01", "train", "test", ".hidden", "a.npy", "0.npy", "1.npy", "02.npy", "._0.npy", "Logs"]
    names += ["WLASL_v0.3.json", "x.json", "x.txt", "x y.npy"]
    root = tmp_path / "d"
    root.mkdir()
    places = [root]
    for _ in range(rng.integers(0, 25)):
        path = places[rng.integers(len(places))] / names[rng.integers(len(names))]
        if os.path.lexists(path):
            continue
        kind = rng.random()
        if kind < 0.45 and path.suffix not in (".json", ".txt"):
            path.mkdir()
            places.append(path)
        elif kind < 0.55:
            path.symlink_to(rng.choice([str(root), "nowhere", str(path), ".."]))
        elif kind < 0.57:
            os.mkfifo(path)
        elif path.suffix == ".json":
            path.write_bytes(rng.choice([b"", b"[]", b'[{"gloss": "tea", "instances": [{"video_id": "a"}, {"video_id": 0}]}]']))
        else:
            path.write_bytes(npy_bytes[rng.integers(len(npy_bytes))])
    for share in (0, 0.5, 1):
        try:
            clips = load_clips(root, max_bad_share=share)
        except InputError as error:
            assert str(error)
        else:
            assert len(clips)
            assert all(len(clip.read()) == clip.num_frames for clip in clips)


@pytest.fixture(scope="module")
def npy_bytes(tmp_path_factory, make_frames):
    """The contents of a few good and bad .npy files."""
    path, contents = tmp_path_factory.mktemp("npy") / "a.npy", [b"", b"text"]
    frames = make_frames(2).astype(np.float32)
    for array in (frames, frames, frames[0], frames[0], frames[:, :126], frames[0, :126], np.float32(1), frames[:0]):
        np.save(path, array)
        contents.append(path.read_bytes())
    return contents
