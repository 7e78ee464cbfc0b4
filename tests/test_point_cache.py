"""signlib.point_cache: the same points as from the files, whatever happens to the file that keeps them."""

import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest

from signlib import Augment, InputError, KeypointGenerator, Preprocessor, cache_points, load_clips, point_cache, project

GLOSSES = {f"{i:05d}": ["book", "drink", "tea"][i % 3] for i in range(9)}
PREPROCESS = Preprocessor(8, "hands")
LIMIT = 1 << 30


@pytest.fixture
def folder(tmp_path, write_clips, monkeypatch):
    """Nine clips of 6 to 10 frames, one of them with a hand missing for a while; what is kept is kept in `project`."""
    monkeypatch.setattr(project, "ROOT", tmp_path / "project")
    folder = write_clips(tmp_path / "clips", GLOSSES)
    frames = np.load(folder / "00004.npy")
    frames[3:5, 1503:1566] = 0
    np.save(folder / "00004.npy", frames)
    return folder


def kept():
    return sorted((project.ROOT / "runs" / "points").glob("*"))


def cached(folder, limit=LIMIT, preprocessor=PREPROCESS, first=0):
    clips = load_clips(folder)
    return cache_points(clips, clips[first:], preprocessor, limit)


def from_files(folder, preprocessor=PREPROCESS):
    return {clip.video_id: preprocessor.points(clip.read(), clip.layout) for clip in load_clips(folder)}


def assert_same(cache, folder, preprocessor=PREPROCESS):
    for video_id, points in from_files(folder, preprocessor).items():
        np.testing.assert_array_equal(cache[video_id], points)
        assert cache[video_id].dtype == points.dtype


@pytest.mark.parametrize("augment", [None, Augment(PREPROCESS.selected, mirror=0.5)], ids=["plain", "augment"])
def test_batches_are_the_same_bit_for_bit_with_and_without(folder, augment):
    clips, batches = load_clips(folder), []
    for stored in (None, cached(folder), cached(folder)):
        made = KeypointGenerator(clips, PREPROCESS, ["book", "drink", "tea"], batch_size=4, augment=augment, stored=stored)
        for epoch in (0, 1):
            made.epoch = epoch
            batches.append([made[i] for i in range(len(made))])
    for epoch in (0, 1):
        for other in (batches[2 + epoch], batches[4 + epoch]):
            for (features, labels), (x, y) in zip(batches[epoch], other, strict=True):
                np.testing.assert_array_equal(features, x)
                np.testing.assert_array_equal(labels, y)


def test_a_second_run_reads_no_clip(folder, monkeypatch, capsys):
    expected = from_files(folder)
    cached(folder)
    clips = load_clips(folder)
    for clip in clips:  # nothing but the same size and time says that it is the same file
        stat = clip.path.stat()
        clip.path.write_bytes(bytes(stat.st_size))
        os.utime(clip.path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    again = cache_points(clips, clips, PREPROCESS, LIMIT)
    for video_id, points in expected.items():
        np.testing.assert_array_equal(again[video_id], points)
    assert len(kept()) == 1 and capsys.readouterr().out.count(f"MiB on disk, in {kept()[0]}") == 2


def test_points_are_not_to_be_written_to(folder):
    with pytest.raises(ValueError, match="read-only"):
        cached(folder)["00001"][0] = 0


def test_a_changed_file_is_noticed(folder):
    cached(folder)
    frames = np.load(folder / "00002.npy")
    frames[2, 1503] += 0.25  # in its midst: the fingerprint, of its ends, is as it was
    before = load_clips(folder).fingerprint
    np.save(folder / "00002.npy", frames)
    os.utime(folder / "00002.npy", ns=(0, 10**18))
    assert load_clips(folder).fingerprint == before
    assert_same(cached(folder), folder)
    assert len(kept()) == 2


def test_what_is_kept_is_of_these_clips_these_landmarks_and_this_code(folder, monkeypatch, tmp_path):
    whole = Preprocessor(8, "default", trim=False)
    cached(folder)
    assert_same(cached(folder, preprocessor=whole), folder, whole)
    assert_same(cached(folder, preprocessor=Preprocessor(20, "hands", kinds="shape")), folder)  # what comes after the points
    cached(folder, preprocessor=Preprocessor(8, "hands", aspect=1.5))
    with pytest.raises(KeyError):
        cached(folder, first=4)["00001"]
    assert len(kept()) == 4
    code = tmp_path / "code"
    code.mkdir()
    for name in point_cache.CODE:
        (code / name).write_text("# another version\n")
    monkeypatch.setattr(point_cache, "__file__", str(code / "point_cache.py"))
    assert_same(cached(folder), folder)
    assert len(kept()) == 5


@pytest.mark.parametrize("where", ["points", "index", "end", "cut", "empty"])
def test_a_damaged_file_is_no_wrong_number(folder, flip, where):
    cached(folder)
    (path,) = kept()
    size = path.stat().st_size
    if where in ("cut", "empty"):
        path.write_bytes(path.read_bytes()[: size - 100 if where == "cut" else 0])
    else:
        flip(path, 8 * {"points": 1000, "index": size - 60, "end": size - 12}[where])
    clips = load_clips(folder)
    if where == "points":
        cache = cached(folder)
        batches = KeypointGenerator(clips, PREPROCESS, ["book", "drink", "tea"], batch_size=9, shuffle=False, stored=cache)
        with pytest.warns(UserWarning, match="damaged where 00000 stands"):
            features, _ = batches[0]
        for clip, row in zip(clips, features, strict=True):
            np.testing.assert_array_equal(row, PREPROCESS(clip.read(), clip.layout))
        return
    with pytest.warns(UserWarning, match="was damaged: it is made anew"):
        cache = cached(folder)
    assert_same(cache, folder)
    assert_same(cached(folder), folder)


def test_it_is_bounded_and_the_one_that_was_not_used_for_longest_goes(folder, capsys):
    one = cached(folder)
    size = sum(clip.num_frames for clip in load_clips(folder)) * len(PREPROCESS.selected) * 12
    two = cached(folder, first=1)
    os.utime(one.path, (10, 10))
    os.utime(two.path, (5, 5))
    three = cached(folder, limit=2 * size + 2000, first=2)
    assert kept() == sorted([one.path, three.path])
    np.testing.assert_array_equal(two["00001"], from_files(folder)["00001"])  # a run that has it goes on with it
    assert cached(folder, limit=1000, first=3) is None
    assert "DISK_CACHE_MB allows 0" in capsys.readouterr().out
    assert kept() == sorted([one.path, three.path])
    assert cached(folder, limit=0, first=3) is None and capsys.readouterr().out == ""


def test_where_nothing_can_be_written_it_says_so_and_training_goes_on(folder):
    (project.ROOT / "runs").mkdir(parents=True)
    (project.ROOT / "runs" / "points").write_text("a file")
    with pytest.warns(UserWarning, match="points are not kept on disk .*files are read again"):
        assert cached(folder) is None


def test_a_disk_that_is_nearly_full_stays_as_it_is(folder, monkeypatch, capsys):
    free = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(point_cache.shutil, "disk_usage", lambda path: free)
    assert cached(folder) is None
    assert "are free on the disk" in capsys.readouterr().out and kept() == []


def test_a_folder_of_frames_that_lacks_one_is_no_hindrance(tmp_path, make_frames, monkeypatch):
    monkeypatch.setattr(project, "ROOT", tmp_path / "project")
    for number, gloss in enumerate(["book", "tea"] * 4):
        folder = tmp_path / "clips" / gloss / str(number)
        folder.mkdir(parents=True)
        for at, frame in enumerate(make_frames(6, seed=number)):
            np.save(folder / f"{at}.npy", frame)
    (tmp_path / "clips" / "tea" / "1" / "2.npy").unlink()
    clips = load_clips(tmp_path / "clips")
    assert len(clips) == 7
    cache = cache_points(clips, clips, PREPROCESS, LIMIT)
    np.testing.assert_array_equal(cache["book/0"], PREPROCESS.points(clips.find("book/0").read(), clips.layout))


def test_what_another_user_made_is_used(folder, monkeypatch):
    cached(folder)
    monkeypatch.setattr(point_cache, "_write", None)

    def refuse(path, *times):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(point_cache.os, "utime", refuse)
    assert_same(cached(folder), folder)


def test_a_clip_that_has_become_unreadable_is_named(folder):
    clips = load_clips(folder)
    (folder / "00003.npy").write_bytes(b"torn")
    with pytest.raises(InputError, match=r"00003\.npy"):
        cache_points(clips, clips, PREPROCESS, LIMIT)
    assert kept() == []


SCRIPT = """
import sys, time
from signlib import Preprocessor, load_clips, cache_points, project
project.ROOT = __import__("pathlib").Path(sys.argv[2])
real = Preprocessor.points
def slow(self, frames, layout):
    print("reading", flush=True)
    time.sleep(0.1)
    return real(self, frames, layout)
Preprocessor.points = slow
clips = load_clips(sys.argv[1])
cache_points(clips, clips, Preprocessor(8, "hands"), 1 << 30)
"""


def start(folder):
    command = [sys.executable, "-c", SCRIPT, str(folder), str(project.ROOT)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_runs_at_once_make_it_once(folder):
    runs = [start(folder), start(folder)]
    said = [run.communicate(timeout=60)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert sum(text.count("reading") for text in said) == len(GLOSSES) and len(kept()) == 1
    assert_same(cached(folder), folder)


def test_what_a_killed_run_left_is_removed_by_the_next(folder):
    run = start(folder)
    run.stdout.readline()
    run.stdout.readline()
    run.send_signal(signal.SIGKILL)
    run.communicate()
    assert [path.name for path in kept() if path.name.endswith("-tmp.points")] != []
    cached(folder, first=1)  # for another one, room is made
    assert [path for path in kept() if path.name.endswith("-tmp.points")] == []
    assert_same(cached(folder), folder)


def test_it_is_listed_and_deleted_by_one_command_but_for_what_is_being_made(folder, capsys):
    one, two = cached(folder), cached(folder, first=1)
    capsys.readouterr()
    assert point_cache.main([]) == 0
    assert len(re.findall(r"^\w{24}\.points +0 MiB, used \d{4}-\d\d-\d\d$", capsys.readouterr().out, re.MULTILINE)) == 2
    holder = subprocess.Popen(
        [sys.executable, "-c", "import sys; from signlib.locks import take_lock; take_lock(sys.argv[1]); print(1, flush=True);"
         "sys.stdin.read()", str(two.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    holder.stdout.readline()
    assert point_cache.main(["--delete"]) == 0
    assert "1 files removed" in capsys.readouterr().out and not one.path.exists() and two.path.exists()
    holder.communicate("")
    assert point_cache.main(["--delete"]) == 0
    assert [path for path in kept() if path.suffix == ".points"] == []
