"""signlib.frames: one clip's file or folder with everything that can be wrong in it, and nothing is ever unpickled."""

import io
import os
import pickle
import re
import shutil
import sys
import warnings

import numpy as np
import pytest

from signlib import Clip, InputError, load_clips
from signlib.frames import clip_paths, count_frames, each_clip, file_ends, frame_files, holds_one_frame, open_frames

ALL_BUT_ONE = 0.99


def npy(array):
    """The bytes of a .npy file."""
    file = io.BytesIO()
    np.save(file, array)
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
    "saved twice": (GOOD + GOOD, r"holds \(4, 1629\) and 26192 bytes more; expected one array a file"),
    "shorter than it is": (GOOD.replace(b"(4, 1629)", b"(3, 1629)"), r"holds \(3, 1629\) and 6516 bytes more"),
    "too narrow": (npy(FRAMES[:, :1628]), "1628"),
    "no values": (npy(FRAMES[:, :0]), "0 values"),
    "one frame as a line": (npy(FRAMES[0]), r"shape \(1629,\)"),
    "a number": (npy(np.float32(1)), r"shape \(\)"),
    "(T, 543, 3)": (npy(FRAMES.reshape(4, 543, 3)), r"shape \(543, 3\), which is layout 543; most files hold 1629"),
    "no frames": (npy(FRAMES[:0]), "no frames"),
    "complex": (npy(FRAMES.astype(complex)), "complex128"),
    "bool": (npy(FRAMES > 0.5), "bool"),
    "strings": (npy(FRAMES.astype("U4")), "<U4"),
    "records": (npy(np.zeros((4, 1629), [("x", "f4")])), "expected real numbers"),
}


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4", "<i4", "u1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_each_type_of_real_number_is_read_as_it_is(folder, dtype, order):
    frames = np.asarray(FRAMES * 100, dtype=dtype, order=order)
    np.save(folder / "00123.npy", frames)
    clip = load_clips(folder)[0]
    np.testing.assert_array_equal(clip.read(), frames)
    assert clip.read().dtype == frames.dtype


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_left_out_with_its_reason(folder, kind, ids):
    content, reason = BAD[kind]
    assert content != GOOD
    (folder / "00456.npy").write_bytes(content)
    clips = load_clips(folder, max_bad_share=ALL_BUT_ONE)
    assert ids(clips) == ["00123", "05237", "60001", "60002"]
    (problem,) = clips.problems
    no_layout = kind in ("too narrow", "no values", "(T, 543, 3)")
    assert (problem.video_id, problem.kind) == ("00456", "layout" if no_layout else "file")
    assert re.search(reason, problem.reason)
    assert "allow_pickle" not in problem.reason  # NumPy's advice, which is not ours
    assert "\n" not in problem.reason
    assert str(folder) not in problem.reason
    assert all(len(clip.read()) for clip in clips)


def test_all_kinds_of_bad_files_at_once_leave_the_good_ones(tmp_path, write_clips, ids, glosses):
    folder = write_clips(tmp_path, glosses | {f"bad{i}": "book" for i in range(len(BAD))})
    for i, (content, _) in enumerate(BAD.values()):
        (folder / f"bad{i}.npy").write_bytes(content)
    clips = load_clips(folder, max_bad_share=ALL_BUT_ONE)
    assert ids(clips) == sorted(glosses)
    assert {problem.video_id for problem in clips.problems} == {f"bad{i}" for i in range(len(BAD))}


def test_any_damage_to_a_header_leaves_one_file_out_at_most(folder, ids, glosses):
    rng = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(GOOD)
        for position in rng.integers(0, 100, rng.integers(1, 4)):
            damaged[position] = rng.choice(list(b"0123456789(){},'<>-: fbOVeiL\x00\xff"))
        (folder / "00456.npy").write_bytes(damaged)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # NumPy's of a Python 2 header
            clips = load_clips(folder, max_bad_share=ALL_BUT_ONE)
        assert set(ids(clips)) >= set(glosses) - {"00456"}
        assert len(clips) + len(clips.problems) == 5


@pytest.mark.parametrize("form", ["object array", "pickle", "npz of objects"])
def test_nothing_is_ever_unpickled(folder, tmp_path, form, ids):
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


def test_a_folder_or_a_dangling_link_named_npy_is_left_out(folder, ids):
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


def test_a_path_that_no_system_allows_is_named():
    with pytest.raises(InputError, match="xxx.npy cannot be read: File name too long"):
        open_frames("x" * 300 + ".npy")


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS takes no such name")
@pytest.mark.parametrize("form", ["flat", "gloss"])
def test_a_file_whose_name_is_no_text_is_left_out_with_a_name_that_can_be_printed(folder, tmp_path, form):
    place = folder if form == "flat" else tmp_path / "tree" / "café"
    if form == "gloss":
        for gloss in ("café", "thé"):
            shutil.copytree(folder, tmp_path / "tree" / gloss, ignore=shutil.ignore_patterns("*.json"))
    np.save(place / "caf\udce9.npy", FRAMES)  # Latin-1, as archives from elsewhere unpack
    clips = load_clips(place if form == "flat" else place.parent)
    (problem,) = clips.problems
    assert problem.video_id == ("caf\\udce9" if form == "flat" else "café/caf\\udce9")
    assert (problem.kind, problem.reason) == ("file", "has a name that is not UTF-8; rename it")
    assert len(clips) == (5 if form == "flat" else 10)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_read_permission_is_left_out(folder):
    (folder / "00456.npy").chmod(0)
    clips = load_clips(folder)
    assert [(p.video_id, p.reason) for p in clips.problems] == [("00456", "cannot be read: Permission denied")]


def test_hidden_files_are_not_clips(folder):
    (folder / "._05237.npy").write_bytes(b"\x00\x05\x16\x07 AppleDouble")
    clips = load_clips(folder, max_bad_share=0)
    assert len(clips) == 5
    assert clips.problems == []


def test_clips_are_sorted_by_video_id(tmp_path, write_clips, ids):
    names = ["sign", "sign-2", "sign+1", "Sign", "09", "10"]
    assert ids(load_clips(write_clips(tmp_path, dict.fromkeys(names, "book")))) == sorted(names)


# A folder of one file a frame


def write_sequence(folder, frames, name="{}", first=0):
    """Writes a file a frame, in any order; returns the folder."""
    folder.mkdir(parents=True)
    for number in np.random.default_rng(0).permutation(len(frames)):
        np.save(folder / f"{name.format(first + number)}.npy", frames[number])
    return folder


@pytest.fixture
def sequences(tmp_path, make_frames):
    """Two glosses, three and two clips, one frame a file; book/1 has 12 frames, the others 3."""
    for name in ("book/0", "book/1", "book/2", "drink/0", "drink/1"):
        write_sequence(tmp_path / "MP_Data" / name, make_frames(12 if name == "book/1" else 3).astype(np.float32))
    return tmp_path / "MP_Data"


@pytest.mark.parametrize("name", ["{}", "{:03d}", "frame_{}", "frame {:05d}", "v2-7_{}", "a.b.{}", "本{}"])
@pytest.mark.parametrize("first", [0, 1, 97])
def test_frames_stand_in_the_order_of_their_numbers(tmp_path, name, first):
    frames = np.random.default_rng(first).random((14, 126))
    folder = write_sequence(tmp_path / "0", frames, name, first)
    np.testing.assert_array_equal(open_frames(folder), frames)
    assert [path.name for path in frame_files(folder)] == [f"{name.format(first + n)}.npy" for n in range(14)]
    assert count_frames(folder) == 14


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f8", "<i4"])
@pytest.mark.parametrize("shape", [(126,), (1662,), (543, 3), (75, 3)])
def test_frames_of_any_type_and_shape_are_read_as_they_are(tmp_path, dtype, shape):
    frames = (np.random.default_rng(0).random((3, *shape)) * 100).astype(dtype)
    read = open_frames(write_sequence(tmp_path / "0", frames))
    np.testing.assert_array_equal(read, frames)
    assert read.dtype == frames.dtype.newbyteorder("=")


def test_a_clip_of_one_frame_is_a_clip(tmp_path):
    frames = np.ones((1, 126))
    assert open_frames(write_sequence(tmp_path / "0", frames)).shape == (1, 126)


@pytest.mark.parametrize("shape", [(126,), (1, 126), (42, 3), (1, 42, 3)])
def test_a_folder_of_frames_of_any_shape_is_one_clip(tmp_path, write_tree, shape):
    frames = {f"{number}.npy": np.full(shape, number + 1.0) for number in range(12)}
    assert clip_paths(write_tree(tmp_path / "one", frames)) == {}
    assert len(open_frames(tmp_path / "one")) == 12
    clips = write_tree(tmp_path / "two", {"0.npy": np.ones((1, 126)), "1.npy": np.ones((9, 126))})
    assert list(clip_paths(clips)) == ["0", "1"]


def test_a_file_that_cannot_be_read_hides_no_other_clip(tmp_path, write_tree):
    broken = {"0.npy": b"broken", "1.npy": b""}
    clips = write_tree(tmp_path / "clips", broken | {"2.npy": np.ones((9, 126)), "3.npy": np.ones((1, 126))})
    assert each_clip(clips) == [clips / f"{number}.npy" for number in range(4)]
    frames = write_tree(tmp_path / "frames", broken | {"2.npy": np.ones(126)})
    for folder in (frames, write_tree(tmp_path / "nothing", broken)):
        assert each_clip(folder) == [folder]
        with pytest.raises(InputError, match=r"0\.npy is not a \.npy array"):
            open_frames(folder)


def test_a_folder_named_as_a_file_is_no_gloss(folder, tmp_path, ids):
    for gloss in ("book", "drink"):
        shutil.copytree(folder, tmp_path / "tree" / gloss, ignore=shutil.ignore_patterns("*.json"))
    (tmp_path / "tree" / "book" / "00456.npy").unlink()
    (tmp_path / "tree" / "book" / "00456.npy").symlink_to(".")
    clips = load_clips(tmp_path / "tree")
    assert len(clips) == 9 and "book/00456" not in ids(clips)
    assert [(p.video_id, p.reason) for p in clips.problems] == [("book/00456", "cannot be read: not a file")]
    assert clip_paths(tmp_path / "tree" / "book" / "00456.npy") == {}  # or its clips would be looked for in it without end


def put(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def lose(*names):
    return lambda folder: [(folder / name).unlink() for name in names]


def rename(name, other):
    return lambda folder: (folder / name).rename(folder / other)


FRAME = npy(FRAMES[0])
BAD_SEQUENCES = {  # what happens to a folder of frames 0 to 11, and what its reason says
    "gap": (lose("5.npy"), "lacks frame 5 of 0 to 11"),
    "two gaps": (lose("10.npy", "3.npy"), "lacks frame 3 of 0 to 11"),
    "far frame": (put("1000000000000000000000.npy", FRAME), "lacks frame 12 of 0 to 1000000000000000000000"),
    "twice": (put("01.npy", FRAME), r"holds 0?1\.npy and 0?1\.npy; expected one file a frame"),
    "two names": (put("frame_7.npy", FRAME), r"holds (frame_)?7\.npy and (frame_)?7\.npy; expected one file a frame"),
    "no number": (put("extra.npy", FRAME), r"holds extra\.npy; expected frames by their number"),
    "number in front": (rename("4.npy", "4th.npy"), r"holds 4th\.npy; expected frames by their number"),
    "copy": (put("1 (2) copy.npy", FRAME), "copy.npy; expected frames by their number"),
    "truncated": (put("6.npy", FRAME[:-100]), r"^6\.npy is not a \.npy array"),
    "header only": (put("0.npy", FRAME[:128]), r"^0\.npy is not a \.npy array"),
    "empty file": (put("11.npy", b""), r"^11\.npy is not a \.npy array"),
    "npz": (put("2.npy", npz(FRAMES[0])), r"^2\.npy is not a \.npy array, but an \.npz archive"),
    "narrower": (put("8.npy", npy(FRAMES[0, :1628])), r"^8\.npy has shape \(1628,\); expected \(1629,\), as the frames before"),
    "first narrower": (put("0.npy", npy(FRAMES[0, :1628])), r"^1\.npy has shape \(1629,\); expected \(1628,\)"),
    "other shape": (put("8.npy", npy(FRAMES[0].reshape(543, 3))), r"^8\.npy has shape \(543, 3\); expected \(1629,\)"),
    "a clip as a frame": (put("8.npy", GOOD), r"^8\.npy has shape \(4, 1629\); expected \(1629,\)"),
    "a number": (put("8.npy", npy(np.float32(1))), r"^8\.npy has shape \(\)"),
    "complex": (put("3.npy", npy(FRAMES[0].astype(complex))), r"^3\.npy holds values of type complex128"),
    "bool": (put("3.npy", npy(FRAMES[0] > 0.5)), r"^3\.npy holds values of type bool"),
    "folder": (lambda folder: (folder / "12.npy").mkdir(), r"^12\.npy cannot be read: not a file"),
    "dangling link": (lambda folder: (folder / "12.npy").symlink_to("nowhere"), r"^12\.npy cannot be read: No such file"),
    "pipe": (lambda folder: os.mkfifo(folder / "12.npy"), r"^12\.npy cannot be read: not a file"),  # not waited for
}


@pytest.mark.parametrize("kind", BAD_SEQUENCES)
def test_a_clip_with_a_bad_frame_is_left_out_with_its_reason(sequences, ids, kind):
    harm, reason = BAD_SEQUENCES[kind]
    harm(sequences / "book" / "1")
    clips = load_clips(sequences)
    assert ids(clips) == ["book/0", "book/2", "drink/0", "drink/1"]
    (problem,) = clips.problems
    assert (problem.video_id, problem.kind) == ("book/1", "file")
    assert re.search(reason, problem.reason)
    assert str(sequences) not in problem.reason and "allow_pickle" not in problem.reason and "\n" not in problem.reason
    with pytest.raises(InputError, match=re.escape(str(sequences / "book" / "1"))):
        open_frames(sequences / "book" / "1")


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("form", ["object array", "pickle", "npz of objects"])
def test_no_frame_is_ever_unpickled(sequences, tmp_path, form, first):
    trace = tmp_path / "trace"
    objects = np.array([Bomb(trace)], dtype=object)
    content = {"object array": npy(objects), "pickle": pickle.dumps(Bomb(trace)), "npz of objects": npz(objects)}[form]
    (sequences / "book" / "1" / ("0.npy" if first else "7.npy")).write_bytes(content)
    assert len(load_clips(sequences)) == 4
    with pytest.raises(InputError, match=r"book/1/[07]\.npy"):
        Clip("book/1", sequences / "book" / "1", "book", -1, "", "1629").read()
    assert not trace.exists()


def test_a_frame_of_objects_is_left_out_without_numpys_advice(sequences):
    (sequences / "book" / "1" / "3.npy").write_bytes(npy(np.array([None])))
    (problem,) = load_clips(sequences).problems
    assert problem.reason.startswith("3.npy is not a .npy array")
    assert "allow_pickle" not in problem.reason


def test_hidden_files_and_other_files_are_not_frames(sequences, write_tree):
    hidden = {"._3.npy": b"AppleDouble", ".ipynb_checkpoints/3.npy": b"", ".DS_Store": b"", "3.png": b"", "notes.txt": b""}
    write_tree(sequences / "book" / "1", hidden)
    clips = load_clips(sequences, max_bad_share=0)
    assert (len(clips), clips.problems) == (5, [])
    assert clips.find("book/1").num_frames == len(clips.find("book/1").read()) == 12


def test_whole_clips_where_frames_are_expected_are_refused_with_what_to_do(tmp_path, write_tree):
    folder = write_tree(tmp_path, {"0.npy": FRAMES})
    with pytest.raises(InputError, match=r"0\.npy holds \(4, 1629\); expected one frame.*<gloss>/<clip>\.npy: set DATA"):
        open_frames(folder)


def test_a_folder_without_frames_is_named(tmp_path):
    with pytest.raises(InputError, match=rf"{re.escape(str(tmp_path))} holds no \.npy file; expected clips, or frames"):
        open_frames(tmp_path)


def test_a_frame_where_a_clip_is_expected_is_refused_with_what_to_do(tmp_path, write_tree):
    write_tree(tmp_path, {"0.npy": FRAMES[0]})
    with pytest.raises(InputError, match=r"0\.npy has shape \(1629,\);.* MP_Data/<gloss>/<sequence>/<frame>\.npy"):
        open_frames(tmp_path / "0.npy")


@pytest.mark.parametrize(
    ("shape", "one"),
    [
        ((1662,), True),
        ((126,), True),
        ((543, 3), True),
        ((75, 3), True),
        ((60, 1629), False),
        ((1, 126), False),
        ((4, 543, 3), False),
        ((), False),
    ],
)
def test_one_frame_and_many_are_told_apart_by_their_shape(tmp_path, shape, one):
    np.save(tmp_path / "a.npy", np.zeros(shape))
    assert holds_one_frame(tmp_path / "a.npy") is one


@pytest.mark.parametrize("count", [1, 100, 4096, 10**6])
@pytest.mark.parametrize("length", [1, 2, 12])
def test_the_ends_of_a_clip_are_those_of_its_first_and_its_last_file(tmp_path, count, length):
    frames = np.random.default_rng(length).random((length, 1629))
    np.save(tmp_path / "clip.npy", frames)
    content = (tmp_path / "clip.npy").read_bytes()
    assert file_ends(tmp_path / "clip.npy", count) == content[:count] + content[-count:]
    folder = write_sequence(tmp_path / "0", frames, first=9)
    first, last = ((folder / f"{n}.npy").read_bytes() for n in (9, 8 + length))
    assert file_ends(folder, count) == first[:count] + last[-count:]
