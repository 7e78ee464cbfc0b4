"""signlib.dataset: folders become clips, what is wrong is listed or refused, and the clips of some glosses are chosen."""

import json
import re
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from signlib import InputError, Preprocessor, choose_glosses, class_names, dataset, gloss_counts, load_clips, split_clips
from signlib.dataset import Clips, describe
from signlib.landmarks import LAYOUTS

FORMS = ("flat", "glosses", "MP_Data")


def write_form(folder, form, clips, labels=None):
    """Writes `{(gloss, name): frames}` in one of the forms; returns the folder. labels: for the flat form, `write_labels`."""
    for (gloss, name), frames in clips.items():
        if form == "MP_Data":
            (folder / gloss / name).mkdir(parents=True)
            for number, frame in enumerate(frames):
                np.save(folder / gloss / name / f"{number}.npy", frame)
        else:
            path = folder / gloss / f"{name}.npy" if form == "glosses" else folder / f"{name}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, frames)
    if form == "flat":
        labels(folder / "WLASL_v0.3.json", {name: gloss for gloss, name in clips})
    return folder


@pytest.fixture
def signs(make_frames):
    """Six clips of two glosses, 4 to 9 frames long: `{(gloss, name): frames}`."""
    names = [("book", "0"), ("book", "1"), ("book", "10"), ("thank you", "2"), ("thank you", "3"), ("thank you", "4")]
    return {name: make_frames(4 + seed, seed).astype(np.float32) for seed, name in enumerate(names)}


# Files


def test_each_clip_has_its_label_and_its_frames(folder, make_frames, ids, glosses):
    clips = load_clips(folder)
    assert {clip.video_id: clip.gloss for clip in clips} == glosses
    assert ids(clips) == sorted(glosses)
    assert clips.problems == []
    assert {(clip.signer, clip.split, clip.layout) for clip in clips} == {(7, "train", "1629")}
    for seed, clip in enumerate(clips):
        np.testing.assert_array_equal(clip.read(), make_frames(6 + seed, seed).astype(np.float32))
        assert clip.num_frames == 6 + seed


def test_of_long_clips_no_more_than_a_part_is_kept_to_look_at(folder, monkeypatch):
    np.save(folder / "00456.npy", np.tile(np.load(folder / "00456.npy"), (1000, 1)))
    kept = {}
    monkeypatch.setattr(dataset, "check_layout", lambda samples, *_: kept.update(samples))
    clips = load_clips(folder)
    assert clips.find("00456").num_frames == 7000
    assert kept["00456"].shape == (300, 1629) and kept["00456"].base is None  # no view of all of it
    np.testing.assert_array_equal(kept["00123"], clips.find("00123").read())


@pytest.mark.parametrize(("share", "fine"), [(0, False), (0.39, False), (0.4, True), (1, True)])
def test_more_bad_files_than_max_bad_share_is_an_error_that_names_them(folder, share, fine):
    (folder / "00456.npy").write_bytes(b"")
    np.save(folder / "60002.npy", np.zeros((0, 1629)))
    if fine:
        assert len(load_clips(folder, max_bad_share=share)) == 3
    else:
        with pytest.raises(
            InputError,
            match=r"2 of 5 files in .*00456: not a|2 of 5 files in .*00456: is not a .*; 60002: has no frames.*MAX_BAD_SHARE",
        ):
            load_clips(folder, max_bad_share=share)


def test_of_each_kind_of_bad_file_one_example_is_named(tmp_path, write_clips):
    folder = write_clips(tmp_path / "clips", {f"{i:02d}": "book" if i % 2 else "tea" for i in range(20)})
    for i in range(12):
        (folder / f"{i:02d}.npy").write_bytes(b"")
    for i in (14, 15):
        np.save(folder / f"{i}.npy", np.zeros((i, 1628)))
    with pytest.raises(InputError, match=r"14 of 20 files in .*clips cannot be used \(") as said:
        load_clips(folder, max_bad_share=0.5)
    examples = str(said.value).partition("(")[2].partition("). Expected")[0].split("; ")
    assert len([text for text in examples if re.match(r"\d\d: ", text)]) == 2
    assert "00: is not a .npy array" in examples and any(text.startswith("14: a frame holds 1628 values") for text in examples)
    assert ".npy:" not in str(said.value)


def test_a_file_that_changed_since_it_was_listed_is_an_error(folder):
    clip = load_clips(folder)[0]
    np.save(clip.path, clip.read()[:, :300])
    with pytest.raises(InputError, match=r"00123\.npy holds frames of shape \(300,\); .*1629.* when listed"):
        clip.read()
    clip.path.unlink()
    with pytest.raises(InputError, match=r"00123\.npy cannot be read: No such file"):
        clip.read()
    assert clip.num_frames == 6  # when it was listed


def test_a_folder_that_cannot_be_used_is_named(tmp_path, folder):
    with pytest.raises(InputError, match=r"no data folder at .*nowhere"):
        load_clips(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no \.npy file in .*empty"):
        load_clips(tmp_path / "empty")
    with pytest.raises(InputError, match="layout is '12'; expected 'auto' or one of 1629"):
        load_clips(folder, layout="12")
    assert len(load_clips(str(folder), layout="1629")) == 5


# Forms


@pytest.mark.parametrize("form", FORMS)
def test_each_form_yields_the_same_glosses_and_frames(tmp_path, signs, write_labels, ids, form):
    clips = load_clips(write_form(tmp_path / "d", form, signs, write_labels))
    assert ids(clips) == sorted(name if form == "flat" else f"{gloss}/{name}" for gloss, name in signs)
    assert (clips.folder, clips.layout, clips.problems) == (tmp_path / "d", "1629", [])
    for clip in clips:
        frames = signs[clip.gloss, clip.video_id.rpartition("/")[2]]
        np.testing.assert_array_equal(clip.read(), frames)
        assert clip.read().dtype == np.float32
        assert clip.num_frames == len(frames)
        assert (clip.signer, clip.split) == ((7, "train") if form == "flat" else (-1, ""))
        assert clips.find(clip.video_id) is clip


@pytest.mark.parametrize("form", FORMS)
def test_the_folder_above_the_only_one_means_that_one(tmp_path, signs, write_labels, form):
    folder = write_form(tmp_path / "data" / "d", form, signs, write_labels)
    if form == "flat":
        (folder / "WLASL_v0.3.json").rename(folder.parent / "WLASL_v0.3.json")
    (tmp_path / "data" / "Logs").mkdir()
    above, itself = load_clips(tmp_path / "data"), load_clips(folder)
    assert above == itself
    assert (above.folder, above.fingerprint) == (folder, itself.fingerprint)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("form", FORMS)
def test_each_layout_is_detected_and_read_in_each_form(tmp_path, signs, write_labels, lay_out, form, layout):
    written = {name: lay_out(frames, layout) for name, frames in signs.items()}
    clips = load_clips(write_form(tmp_path, form, written, write_labels))
    assert (clips.layout, len(clips), clips.problems) == (layout, 6, [])
    preprocess = Preprocessor(12, layout=layout)
    for clip in clips:
        name = clip.gloss, clip.video_id.rpartition("/")[2]
        assert clip.layout == layout
        np.testing.assert_array_equal(clip.read(), written[name].reshape(len(written[name]), -1))
        points = Preprocessor(12, "+".join(("hands", "pose", "lips")[: {"126": 1, "225": 2, "258": 2}.get(layout, 3)]))
        np.testing.assert_array_equal(preprocess.points(clip.read(), layout), points.points(signs[name], "1629"))


@pytest.mark.parametrize(("layout", "rows"), [("225", 75), ("126", 42)])
@pytest.mark.parametrize("form", FORMS)
def test_rows_of_landmarks_are_read_as_the_numbers_in_a_row(tmp_path, signs, write_labels, lay_out, form, layout, rows):
    flat = {name: lay_out(frames, layout) for name, frames in signs.items()}
    shaped = {name: frames.reshape(-1, rows, 3) for name, frames in flat.items()}
    clips = load_clips(write_form(tmp_path / "rows", form, shaped, write_labels))
    twins = load_clips(write_form(tmp_path / "flat", form, flat, write_labels))
    assert (clips.layout, clips.problems) == (layout, [])
    for clip, twin in zip(clips, twins, strict=True):
        np.testing.assert_array_equal(clip.read(), twin.read())


def test_files_of_both_shapes_of_one_layout_go_together(folder, lay_out):
    for number, path in enumerate(sorted(folder.glob("*.npy"))):
        frames = lay_out(np.load(path), "225")
        np.save(path, frames.reshape(-1, 75, 3) if number % 2 else frames)
    clips = load_clips(folder, max_bad_share=0)
    assert (clips.layout, len(clips)) == ("225", 5)


def test_whole_clips_a_level_too_deep_are_refused_with_what_to_do(tmp_path, signs, write_labels):
    for part in ("first", "second"):
        write_form(tmp_path / part, "glosses", signs, write_labels)
    with pytest.raises(InputError, match=r"one frame.* <gloss>/<clip>\.npy: set DATA to .*(first|second), if book is a gloss"):
        load_clips(tmp_path)
    assert len(load_clips(tmp_path / "first")) == 6


def test_frames_a_level_too_high_are_refused_with_what_to_do(tmp_path, signs, write_labels):
    write_form(tmp_path, "MP_Data", signs, write_labels)
    with pytest.raises(InputError, match=r"A clip of one frame a file is a folder of its own: MP_Data/<gloss>/<sequence>"):
        load_clips(tmp_path / "book")


# Layout


def test_competition_frames_in_a_row_are_refused_until_the_layout_is_named(folder, lay_out, make_frames):
    for seed, path in enumerate(sorted(folder.glob("*.npy"))):
        np.save(path, lay_out(make_frames(6 + seed, seed), "543").reshape(6 + seed, 1629))
    for layout in ("auto", "1629"):
        with pytest.raises(InputError, match=r"layout 1629 does not fit.*Layout 543 fits: set LAYOUT to 543"):
            load_clips(folder, layout=layout)
    clips = load_clips(folder, layout="543")
    assert (clips.layout, len(clips), clips.problems) == ("543", 5, [])
    preprocess = Preprocessor(12, "all")
    for seed, clip in enumerate(clips):
        np.testing.assert_array_equal(
            preprocess.points(clip.read(), clip.layout), preprocess.points(make_frames(6 + seed, seed), "1629")
        )


def test_rows_in_the_order_of_1629_are_refused_until_the_layout_is_named(folder, make_frames):
    for seed, path in enumerate(sorted(folder.glob("*.npy"))):
        np.save(path, make_frames(6 + seed, seed).reshape(6 + seed, 543, 3))
    with pytest.raises(InputError, match="layout 543 does not fit.*Layout 1629 fits: set LAYOUT to 1629"):
        load_clips(folder)
    clips = load_clips(folder, layout="1629")
    assert (clips.layout, len(clips), clips.problems) == ("1629", 5, [])
    np.testing.assert_array_equal(clips[2].read(), make_frames(8, 2))


@pytest.mark.parametrize("layout", ["auto", "1629"])
def test_exchanged_hands_in_one_file_in_two_are_refused(folder, layout):
    for path in sorted(folder.glob("*.npy"))[:3]:
        frames = np.load(path)
        np.save(path, np.concatenate([frames[:, :1503], frames[:, 1566:], frames[:, 1503:1566]], axis=1))
    with pytest.raises(
        InputError, match=r"3 of 5 clips .* than layout 1629: 00123, 00456, 05237\. .*face, right_hand, left_hand"
    ):
        load_clips(folder, layout=layout)


def test_a_named_layout_that_the_files_cannot_hold_is_refused(folder):
    with pytest.raises(InputError, match=r"none of the 5 clips .*shape \(1629,\), which is layout 1629; LAYOUT is 225"):
        load_clips(folder, layout="225")


def test_the_warning_of_mirrored_clips_points_at_the_caller(folder):
    for path in folder.glob("*.npy"):
        frames = np.load(path).reshape(-1, 543, 3)
        np.save(path, np.concatenate([1 - frames[..., :1], frames[..., 1:]], axis=2).reshape(-1, 1629))
    with pytest.warns(UserWarning, match="left shoulder stands to the left") as said:
        clips = load_clips(folder)
    assert len(clips) == 5 and [warning.filename for warning in said] == [__file__]


@pytest.mark.parametrize("bad", [1, 2])
def test_the_layout_is_that_of_most_files(folder, lay_out, ids, bad):
    others = sorted(folder.glob("*.npy"))[:bad]
    for path in others:
        np.save(path, lay_out(np.load(path), "225"))
    clips = load_clips(folder, max_bad_share=0.5)
    assert clips.layout == "1629" and len(clips) == 5 - bad
    assert {p.video_id: p.reason for p in clips.problems} == {
        path.stem: "frames of shape (225,), which is layout 225; most files hold 1629" for path in others
    }
    assert ids(load_clips(folder, max_bad_share=0.9, layout="225")) == [path.stem for path in others]


# Labels


def test_unlabelled_missing_and_contradictory_clips_are_problems(folder, write_labels, ids, glosses):
    write_labels(folder / "WLASL_v0.3.json", {v: g for v, g in glosses.items() if v != "60002"} | {"99999": "tea"})
    table = json.loads((folder / "WLASL_v0.3.json").read_text())
    table.append({"gloss": "pen", "instances": [{"video_id": "00456"}, {"video_id": "88888"}]})
    table.append({"gloss": "tea", "instances": [{"video_id": "00456"}, {"video_id": "99999"}]})
    (folder / "WLASL_v0.3.json").write_text(json.dumps(table))
    clips = load_clips(folder)
    assert ids(clips) == ["00123", "05237", "60001"]
    assert sorted((p.video_id, p.kind, p.reason) for p in clips.problems) == [
        ("00456", "label", "the labels give it 3 glosses: book, pen, tea"),
        ("60002", "unlisted", "the labels do not list this id"),
        ("88888", "missing", "labelled, but there is no such file"),
        ("99999", "listed twice", "2 times, as none, train"),
        ("99999", "missing", "labelled, but there is no such file"),
    ]


def test_a_clip_knows_its_recording_and_the_clips_all_labels(folder, glosses):
    spans = {
        "00123": {"url": "u://", "frame_start": 1, "frame_end": 9},
        "00456": {"url": "u://", "frame_start": 10, "frame_end": 19},
    }
    table = [
        {"gloss": gloss, "instances": [{"video_id": v} | spans.get(v, {})]} for v, gloss in (glosses | {"77777": "tea"}).items()
    ]
    table[0]["instances"][0]["source"] = "aslu"
    (folder / "WLASL_v0.3.json").write_text(json.dumps(table))
    clips = load_clips(folder)
    assert [clip.recording for clip in clips] == [("u://", 1, 9), ("u://", 10, 19), (), (), ()]
    assert {video_id: label.gloss for video_id, label in clips.labels.items()} == glosses | {"77777": "tea"}
    assert clips.labels["00123"].source == "aslu"


def test_a_file_of_another_layout_is_told_from_one_that_cannot_be_read(folder, lay_out):
    np.save(folder / "00123.npy", np.load(folder / "00123.npy")[:, :1500])
    (folder / "00456.npy").write_bytes(b"")
    np.save(folder / "60002.npy", lay_out(np.load(folder / "60002.npy"), "126"))
    clips = load_clips(folder, max_bad_share=0.6)
    assert {(p.video_id, p.kind) for p in clips.problems} == {("00123", "layout"), ("00456", "file"), ("60002", "layout")}
    with pytest.raises(InputError, match="3 of 5 files"):
        load_clips(folder, max_bad_share=0.5)


def test_some_of_the_clips_are_kept_with_all_that_is_known_of_them(folder, ids):
    (folder / "60002.npy").write_bytes(b"")
    clips = load_clips(folder)
    kept = clips.keep(lambda clip: clip.gloss == "book")
    assert ids(kept) == ["00123", "00456"] and len(clips) == 4
    for name in ("folder", "layout", "problems", "fingerprint", "labels"):
        assert getattr(kept, name) == getattr(clips, name)
    assert kept.find("00123") is kept[0] and len(kept.keep(lambda clip: False)) == 0


def test_labels_of_other_clips_are_an_error(folder, write_labels):
    write_labels(folder / "WLASL_v0.3.json", {"77777": "tea"})
    with pytest.raises(InputError, match=r"none of the 5 files .* has a label, 00123\.npy for one; .*77777.*Set LABELS"):
        load_clips(folder)


# Fingerprint


def test_the_fingerprint_is_of_the_content_not_of_the_place_or_order(folder, tmp_path):
    twin = tmp_path / "twin"
    twin.mkdir()
    for path in sorted(folder.iterdir(), reverse=True):
        (twin / path.name).write_bytes(path.read_bytes())
    first = load_clips(folder)
    assert first.fingerprint == load_clips(folder).fingerprint == load_clips(twin).fingerprint
    (twin / "unlabelled.npy").write_bytes((folder / "00123.npy").read_bytes())
    assert load_clips(twin).fingerprint == first.fingerprint


@pytest.mark.parametrize("change", ["first frame", "last frame", "length", "dtype", "gloss", "split", "url", "fewer clips"])
def test_the_fingerprint_changes_with_the_clips(folder, write_labels, change, glosses):
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
        write_labels(labels, glosses | {"05237": "book"})
    elif change == "split":
        write_labels(labels, glosses, {"05237": "val"})
    elif change == "url":
        labels.write_text(
            labels.read_text().replace(
                '"video_id": "05237"', '"url": "u://", "frame_start": 1, "frame_end": 9, "video_id": "05237"'
            )
        )
    elif change == "fewer clips":
        path.unlink()
    assert load_clips(folder).fingerprint != before


@pytest.mark.parametrize(
    "change", ["first frame", "last frame", "one frame more", "one frame fewer", "dtype", "sequence", "gloss"]
)
def test_the_fingerprint_changes_with_clips_of_one_frame_a_file(tmp_path, signs, change):
    folder = write_form(tmp_path, "MP_Data", signs)
    clip, before = folder / "thank you" / "2", load_clips(folder).fingerprint  # 7 frames
    assert load_clips(folder).fingerprint == before
    if change in ("first frame", "last frame"):
        path = clip / ("0.npy" if change == "first frame" else "6.npy")
        np.save(path, np.load(path) * np.float32(1.0001))
    elif change == "one frame more":
        np.save(clip / "7.npy", np.load(clip / "6.npy"))
    elif change == "one frame fewer":
        np.save(clip / "5.npy", np.load(clip / "6.npy"))
        (clip / "6.npy").unlink()
    elif change == "dtype":
        for path in clip.glob("*.npy"):
            np.save(path, np.load(path).astype(np.float64))
    elif change == "sequence":
        clip.rename(folder / "thank you" / "9")
    else:
        clip.parent.rename(folder / "thanks")
    assert load_clips(folder).fingerprint != before


@pytest.mark.parametrize("change", ["frame", "clip", "gloss"])
def test_the_fingerprint_changes_with_clips_in_folders_of_glosses(tmp_path, signs, change):
    folder = write_form(tmp_path, "glosses", signs)
    clip, before = folder / "book" / "1.npy", load_clips(folder).fingerprint
    if change == "frame":
        np.save(clip, np.load(clip) * np.float32(1.0001))
    elif change == "clip":
        clip.rename(clip.with_name("2.npy"))
    else:
        clip.parent.rename(folder / "books")
    assert load_clips(folder).fingerprint != before


# Glosses


@pytest.fixture
def counted(make_clip):
    """The function `counted({gloss: clips})`: Clips without files, every third of them test."""

    def counted(counts):
        clips = [make_clip(f"{g}-{i}", g, "test" if i % 3 == 2 else "train") for g, n in counts.items() for i in range(n)]
        return Clips(clips, "folder", "1629", ["problem"], "fingerprint")

    return counted


COUNTS = {"tea": 5, "book": 2, "pen": 3, "sun": 5, "a": 1, "thank you": 3}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, "a book pen sun tea,thank you"),
        ({"glosses": "  "}, "a book pen sun tea,thank you"),
        ({"glosses": "pen, tea"}, "pen tea"),
        ({"glosses": " thank you ,a,pen,a"}, "a pen,thank you"),
        ({"max_glosses": 2}, "sun tea"),
        ({"max_glosses": 3}, "pen sun tea"),
        ({"max_glosses": 4}, "pen sun tea,thank you"),
        ({"max_glosses": 100}, "a book pen sun tea,thank you"),
        ({"min_clips": 3}, "pen sun tea,thank you"),
        ({"min_clips": 5}, "sun tea"),
        ({"glosses": "a,book,pen,thank you", "max_glosses": 2}, "pen,thank you"),
        ({"glosses": "a,book,pen,sun", "min_clips": 2, "max_glosses": 2}, "pen sun"),
        ({"glosses": "a,book,pen,sun", "min_clips": 2}, "book pen sun"),
    ],
)
def test_glosses_are_chosen_by_name_by_rank_and_by_count(counted, arguments, expected):
    clips = counted(COUNTS)
    chosen = choose_glosses(clips, **arguments)
    wanted = {gloss for part in expected.split(",") for gloss in ([part] if part == "thank you" else part.split())}
    assert chosen == [clip for clip in clips if clip.gloss in wanted]
    assert {clip.gloss for clip in chosen} == wanted
    assert isinstance(chosen, Clips)
    assert (chosen.folder, chosen.layout, chosen.problems, chosen.fingerprint) == ("folder", "1629", ["problem"], "fingerprint")
    assert len(clips) == sum(COUNTS.values())


def test_the_table_of_glosses_says_how_many_clips_are_left_of_the_n_with_most(counted):
    clips = counted(COUNTS)
    table = gloss_counts(clips, (100, 3, 1, 3, 0))
    assert table.columns.tolist() == ["glosses", "clips", "fewest", "median", "most"]
    assert table.to_numpy().tolist() == [[1, 5, 5, 5, 5], [3, 13, 3, 5, 5], [6, 19, 1, 3, 5]]
    for glosses, number, fewest in table[["glosses", "clips", "fewest"]].to_numpy().tolist():
        chosen = Counter(clip.gloss for clip in choose_glosses(clips, max_glosses=glosses, strict=False))
        assert (len(chosen), sum(chosen.values()), min(chosen.values())) == (glosses, number, fewest)
    assert gloss_counts(clips).glosses.tolist() == [5, 6]
    assert gloss_counts([]).empty


@pytest.mark.parametrize("seed", range(20))
def test_the_glosses_with_most_clips_are_chosen_ties_by_name(counted, seed):
    rng = np.random.default_rng(seed)
    counts = {f"g{i}": int(rng.integers(1, 6)) for i in rng.permutation(12)}
    few, most = int(rng.integers(1, 4)), int(rng.integers(2, 14))
    clips = counted(counts)
    rng.shuffle(clips)
    chosen = Counter(clip.gloss for clip in choose_glosses(clips, max_glosses=most, min_clips=few))
    fit = sorted((-n, gloss) for gloss, n in counts.items() if n >= few)[:most]
    assert chosen == {gloss: -n for n, gloss in fit}


@pytest.mark.parametrize(
    ("glosses", "message"),
    [
        ("tea,boook", "GLOSSES: no usable clip of 'boook'; there are such of book"),
        ("thankyou,tea", "no usable clip of 'thankyou'; there are such of thank you"),
        ("tea,xyzzy", "no usable clip of 'xyzzy'; there are such of tea, book, pen"),
        ("tea;book", "no usable clip of 'tea;book'; there are such of"),
    ],
)
def test_an_unknown_gloss_is_named_with_those_that_are_near(counted, glosses, message):
    with pytest.raises(InputError, match=message):
        choose_glosses(counted(COUNTS), glosses)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"glosses": "tea"}, "1 of 6 glosses chosen by GLOSSES = 'tea', MIN_CLIPS = 1 and MAX_GLOSSES = 0"),
        ({"glosses": "tea,tea"}, "1 of 6"),
        ({"min_clips": 6}, "0 of 6 .*MIN_CLIPS = 6"),
        ({"max_glosses": 1}, "1 of 6 .*MAX_GLOSSES = 1"),
        ({"glosses": "a,tea", "min_clips": 2}, "1 of 6"),
    ],
)
def test_fewer_than_two_glosses_are_refused_with_what_there_is(counted, arguments, found):
    with pytest.raises(InputError, match=rf"{found}.*expected two or more.*1 to 5 clips"):
        choose_glosses(counted(COUNTS), **arguments)


def test_the_problems_and_the_fingerprint_of_chosen_glosses_are_those_of_the_folder(tmp_path, signs, write_labels, ids):
    folder = write_form(tmp_path, "flat", signs | {("pen", "99"): signs["book", "0"]}, write_labels)
    (folder / "1.npy").write_bytes(b"")
    clips = load_clips(folder)
    chosen = choose_glosses(clips, "book,pen")
    assert ids(chosen) == ["0", "10", "99"]
    assert (chosen.problems, chosen.fingerprint, chosen.folder) == (clips.problems, clips.fingerprint, folder)
    assert [p.video_id for p in chosen.problems] == ["1"]
    with pytest.raises(InputError, match="no usable clip '1': is not a .npy array"):
        chosen.find("1")


@pytest.mark.parametrize("form", FORMS)
def test_where_no_file_can_be_read_the_reason_is_named_whatever_the_share(tmp_path, signs, write_labels, form):
    folder = write_form(tmp_path, form, dict.fromkeys(signs, np.zeros((2, 7))), write_labels)
    with pytest.raises(InputError, match="a frame holds 7 values"):
        load_clips(folder, max_bad_share=1)


def test_a_folder_name_that_no_system_allows_is_no_folder():
    with pytest.raises(InputError, match="no data folder at"):
        load_clips("x" * 5000)


@pytest.mark.parametrize("name", ["line\nbreak", "bell\a", "not utf-8 \udcff"])
@pytest.mark.parametrize("form", ["glosses", "MP_Data"])
def test_a_folder_whose_name_cannot_be_printed_is_refused_as_a_gloss(tmp_path, signs, form, name):
    write_form(tmp_path, form, signs)
    (tmp_path / "book").rename(tmp_path / name)
    with pytest.raises(InputError, match="expected a printable"):
        load_clips(tmp_path)


# The rest


def test_the_log_says_what_is_used_and_whether_signers_are_shared(folder, write_labels):
    clips = load_clips(folder)  # all of signer 7
    train, val, test = clips[:3], clips[3:4], clips[4:]
    text = describe(clips, train, val, test, Preprocessor(10, layout=clips.layout))
    assert "layout        1629; 91 landmarks a frame are used: pose 9, face 40, left hand 21, right hand 21" in text
    assert "3 train, 1 validation, 1 test (set aside)" in text and f"in {folder}" in text
    assert "1 of 1 validation clips show a signer who is also in training" in text
    assert "1 of 1 test clips show a signer who is also in training" in text and "unknown" not in text
    table = json.loads((folder / "WLASL_v0.3.json").read_text())
    for word in table:
        for instance in word["instances"]:
            del instance["signer_id"]
    (folder / "WLASL_v0.3.json").write_text(json.dumps(table))
    clips = load_clips(folder)
    text = describe(clips, clips[:3], clips[3:4], clips[4:], Preprocessor(10, layout=clips.layout))
    assert "leak          unknown: 4 of 4 clips name no signer" in text and "show a signer" not in text


def test_class_names_are_the_glosses_with_training_clips(make_clip):
    clips = [
        make_clip("1", "tea"),
        make_clip("2", "book"),
        make_clip("3", "tea"),
        make_clip("4", "pen", "test"),
        make_clip("5", "sun", "test"),
    ]
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
