"""From a folder of videos to a folder of keypoints, as a user starts it."""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

import signlib
from signlib.labels import find_clips
from signlib.project import ROOT
from signlib.video import extract

pytestmark = pytest.mark.video


def command(*arguments):
    return [sys.executable, "-m", "signlib.video", "extract", *map(str, arguments)]


def run(*arguments):
    return subprocess.run(command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=300)


def digests(folder):
    return {p.relative_to(folder): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}


def table(folder):
    return pd.read_csv(folder / "extraction.csv", dtype={"video_id": str}).set_index("video_id")


@pytest.fixture(scope="module")
def of_real(real_videos, tmp_path_factory):
    """What a user gets of the three real videos."""
    out = tmp_path_factory.mktemp("real") / "processed_keypoints_fixed"
    return run(real_videos, "--out", out), out


def test_real_videos(of_real):
    """The json counts their frames at 25 a second, although they run at 29.97: a clip is as long as it says."""
    done, out = of_real
    assert done.returncode == 0, done.stderr
    assert "3 of 3 videos are in" in done.stdout and "INFO" not in done.stderr and "W0000" not in done.stderr
    rows = table(out)
    assert list(rows.status) == ["done"] * 3 and rows.video_fps.tolist() == [29.97] * 3
    assert rows.frames.tolist() == pytest.approx([50, 76, 53], abs=1)
    for video_id, row in rows.iterrows():
        frames = np.load(out / f"{video_id}.npy")
        assert frames.shape == (row.frames, 1629) and frames.dtype == np.float32 and np.isfinite(frames).all()
        assert row.pose > 0.95 and row.face > 0.95 and row.hands >= 1 / 3, row
        hands = frames.reshape(-1, 543, 3)[:, 501:]
        assert row.hands == pytest.approx(hands.any(axis=(1, 2)).mean(), abs=1e-3)
        shoulders = frames.reshape(-1, 543, 3)[:, 11:13, 0]
        assert (shoulders[:, 0] > shoulders[:, 1]).all()  # the signer's left is to the right in the picture


def test_what_is_extracted_is_what_training_reads(of_real):
    """The labels lie where they are looked for, the layout is recognised, and the audit finds nothing to leave out."""
    clips = signlib.load_clips(of_real[1])
    assert {clip.video_id: clip.gloss for clip in clips} == {"69529": "wet", "69530": "whale", "69531": "what"}
    assert clips.layout == "1629" and clips.problems == []
    assert set(signlib.audit_clips(clips).verdicts.values()) <= {"use", "check"}


def test_each_video_is_looked_at_by_itself(of_real, real_videos, tmp_path):
    """What was found in it does not depend on which process it came to, nor on what that had seen before."""
    assert run(real_videos, "--out", tmp_path / "out", "--workers", 1).returncode == 0
    assert digests(tmp_path / "out") == digests(of_real[1])


def test_started_again_nothing_is_done_twice(of_real, real_videos):
    before = {p: p.stat().st_mtime_ns for p in of_real[1].glob("*.npy")}
    done = run(real_videos, "--out", of_real[1])
    assert done.returncode == 0 and "3 of 3 videos" in done.stdout
    assert {p: p.stat().st_mtime_ns for p in of_real[1].glob("*.npy")} == before


def test_a_bounding_box_leaves_coordinates_of_the_whole_picture(of_real, real_videos, tmp_path):
    videos = tmp_path / "videos"
    shutil.copytree(real_videos, videos)
    for name in ("69529.mp4", "69531.mp4"):
        (videos / name).unlink()
    labels = json.loads((videos / "WLASL_v0.3.json").read_text())
    for word in labels:
        word["instances"][0]["bbox"] = [240, 0, 1040, 720]
    (videos / "WLASL_v0.3.json").write_text(json.dumps(labels))
    done = run(videos, "--out", tmp_path / "out", "--bbox")
    assert done.returncode == 0, done.stderr
    whole, boxed = (np.load(f / "69530.npy").reshape(-1, 543, 3) for f in (of_real[1], tmp_path / "out"))
    width = np.median(whole[:, 11, 0] - whole[:, 12, 0])
    assert np.median(np.abs(whole - boxed)[:, 11:13, :2]) < 0.1 * width
    assert not np.array_equal(whole, boxed) and table(tmp_path / "out").hands.iloc[0] >= 1 / 3
    assert "extracted with cropped True, not False" in run(videos, "--out", tmp_path / "out").stderr


@pytest.fixture
def videos(tmp_path, write_video):
    """Seven short videos that show nobody, one of them cut short, and three that cannot be used."""
    folder = tmp_path / "videos"
    for number in range(6):
        write_video(folder / f"1000{number}.mp4", np.arange(6 + number) / 25)
    (folder / "20000.mp4").write_bytes(b"")
    (folder / "20001.mp4").write_text("no video")
    (folder / "20002.mp4").write_bytes((folder / "10005.mp4").read_bytes()[:-1000])
    write_video(folder / "20003.mkv", np.arange(60) / 25)
    (folder / "20003.mkv").write_bytes((folder / "20003.mkv").read_bytes()[:-2500])
    listed = (
        {"20003": (1, -1), "10005": (1000, 1010)}
        | {f"1000{n}": (1, -1) for n in range(5)}
        | {"2000" + n: (1, -1) for n in "012"}
    )
    instances = [
        {"video_id": v, "split": "train", "frame_start": a, "frame_end": b, "fps": 25} for v, (a, b) in listed.items()
    ] + [{"video_id": "30000"}]
    (folder / "WLASL_v0.3.json").write_text(json.dumps([{"gloss": "book", "instances": instances}]))
    return folder


def test_one_bad_file_stops_nothing(videos, tmp_path):
    out = tmp_path / "data" / "out"
    done = run(videos, "--out", out, "--workers", 2)
    assert done.returncode == 0, done.stderr
    assert "7 of 10 videos" in done.stdout and "3 could not be used" in done.stdout and "1 ids" in done.stderr
    rows = table(out)
    assert rows.loc["20000"].note.endswith("20000.mp4 is empty; copy or download it again")
    assert "cannot be read as a video" in rows.loc["20001"].note and "cannot be read" in rows.loc["20002"].note
    assert "already cut to the json's frames" in rows.loc["10005"].note and rows.loc["10005"].frames == 11
    assert "frames are there to" in rows.loc["20003"].note and 5 < rows.loc["20003"].frames < 55
    assert "nobody was found in any frame" in rows.loc["10000"].note
    assert not np.load(out / "10003.npy").any() and np.load(out / "10003.npy").shape == (9, 1629)
    assert sorted(p.name for p in (tmp_path / "data").iterdir()) == ["WLASL_v0.3.json", "out"]
    assert sorted(p.name for p in out.iterdir()) == [*(f"{v}.npy" for v in rows[rows.status == "done"].index), "extraction.csv"]


def test_what_has_changed_is_done_anew_and_alone(videos, tmp_path, write_video):
    out = tmp_path / "out"
    run(videos, "--out", out)
    before = {p.stem: p.stat().st_mtime_ns for p in out.glob("*.npy")}
    write_video(videos / "10000.mp4", np.arange(20) / 25)  # another video
    write_video(videos / "20001.mp4", np.arange(7) / 25)  # which could not be used
    (out / "10002.npy").unlink()
    assert run(videos, "--out", out).returncode == 0
    after = {p.stem: p.stat().st_mtime_ns for p in out.glob("*.npy")}
    assert {v for v in after if after[v] != before.get(v)} == {"10000", "20001", "10002"}
    assert len(np.load(out / "10000.npy")) == 20 and table(out).loc["20001"].status == "done"


@pytest.mark.parametrize("moments", [(0.0, 0.4, 0.9), (0.2, 0.5, 0.7)])
def test_killed_and_started_again_it_gives_the_same_files(videos, tmp_path, moments):
    """All processes of it are killed when a share of the videos is done, at a random moment after that."""
    whole, out = tmp_path / "a" / "out", tmp_path / "b" / "out"
    run(videos, "--out", whole)
    for share in moments:
        started = subprocess.Popen(command(videos, "--out", out), cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True)
        while started.poll() is None and len(list(out.glob("*.npy"))) < 7 * share:
            time.sleep(0.01)
        time.sleep(random.Random(f"{moments} {share}").uniform(0, 0.7))
        os.killpg(started.pid, signal.SIGKILL)
        started.wait()
    assert run(videos, "--out", out).returncode == 0
    assert digests(out) == digests(whole)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_stopped_it_keeps_what_is_done(videos, tmp_path, signum):
    out = tmp_path / "out"
    started = subprocess.Popen(
        command(videos, "--out", out, "--workers", 1), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while started.poll() is None and not ((out / "extraction.csv").exists() and len(table(out)) >= 2):
        time.sleep(0.01)
    started.send_signal(signum)
    said = started.communicate(timeout=60)
    assert started.returncode == 128 + signum and "started again, it goes on" in said[1] and "Traceback" not in said[1]
    rows = table(out)
    assert 2 <= len(rows) < 10 and {f"{v}.npy" for v in rows[rows.status == "done"].index} <= {p.name for p in out.iterdir()}
    assert run(videos, "--out", out).returncode == 0


def test_the_processes_end_with_the_one_that_started_them(videos, tmp_path, write_video):
    """Killed by a name or a number, as a system short of memory kills, it leaves nothing behind that works on."""
    write_video(videos / "00000.mp4", np.arange(2000) / 25)
    started = subprocess.Popen(
        command(videos, "--out", tmp_path / "out", "--workers", 1), cwd=ROOT, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    while not (tmp_path / "out" / "extraction.csv").exists():
        time.sleep(0.01)
    time.sleep(3)
    started.kill()
    started.wait()
    for _ in range(600):
        left = subprocess.run(["ps", "-o", "pid=", "-g", str(started.pid)], capture_output=True, text=True).stdout.split()
        if not left:
            break
        time.sleep(0.1)
    assert not left


def test_a_process_that_dies_costs_one_video(videos, tmp_path, write_video):
    """As of a decoder that crashes: another takes its place."""
    out = tmp_path / "out"
    write_video(videos / "00000.mp4", np.arange(500) / 25)
    started = subprocess.Popen(
        command(videos, "--out", out, "--workers", 1), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    ps, child = ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(started.pid)], []
    while not child and started.poll() is None:
        lines = subprocess.run(ps, capture_output=True, text=True).stdout.splitlines()
        child = [int(line.split()[0]) for line in lines if "spawn_main" in line]
    os.kill(child[0], signal.SIGKILL)  # while it is at the first, which takes longest
    said = started.communicate(timeout=100)[1]
    rows = table(out)
    died = rows[rows.note.str.contains("ended with status -9", na=False)]
    assert started.returncode == 0 and list(died.index) == ["00000"] and "00000" in said and len(rows) == 11
    (videos / "00000.mp4").unlink()
    assert (rows.status == "done").sum() == 7


def test_keypoints_of_others_stay(videos, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    np.save(out / "10001.npy", np.ones((3, 1629)))
    before = digests(out)
    done = run(videos, "--out", out)
    assert done.returncode == 2 and "holds keypoints of another tool, such as 10001.npy" in done.stderr
    assert digests(out) == before
    (out / "10001.npy").unlink()
    run(videos, "--out", out)
    np.save(out / "77777.npy", np.ones((3, 1629)))
    shutil.copyfile(videos / "10001.mp4", videos / "77777.mp4")
    done = run(videos, "--out", out)
    assert done.returncode == 0 and "77777.npy is there already, with other keypoints" in done.stdout
    assert np.load(out / "77777.npy").shape == (3, 1629)


def test_a_video_that_became_another_leaves_no_keypoints_of_what_it_was(videos, tmp_path, write_video):
    out = tmp_path / "out"
    run(videos, "--out", out)
    (videos / "10000.mp4").write_text("damaged")
    assert "10000" in run(videos, "--out", out).stdout and not (out / "10000.npy").exists()
    write_video(videos / "10000.mp4", np.arange(1) / 25)  # one frame, of which no rate is known
    assert run(videos, "--out", out).returncode == 0
    assert np.load(out / "10000.npy").shape == (1, 1629) and table(out).loc["10000"].status == "done"


def test_names_that_are_not_plain(tmp_path, write_video):
    names = ["my  video", "3.04\u202fPM", "日本/'x' \"y\", 100%", "x" * 245]
    for name in names:
        write_video(tmp_path / "v" / "x.mp4", np.arange(2) / 25)
        target = tmp_path / "v" / f"{name}.mp4"
        target.parent.mkdir(exist_ok=True)
        (tmp_path / "v" / "x.mp4").rename(target)
    for _ in range(2):
        done = run(tmp_path / "v", "--out", tmp_path / "out")
        assert done.returncode == 0 and "3 of 4 videos" in done.stdout and "too long" in done.stdout, done.stderr
    assert {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.npy")} == {
        f"{name}.npy" for name in names[:3]
    }


def test_the_labels_that_were_used_are_those_that_training_reads(videos, tmp_path):
    other = tmp_path / "data" / "WLASL_v0.3.json"
    other.parent.mkdir()
    other.write_text(other_text := json.dumps([{"gloss": "dog", "instances": [{"video_id": "10000"}]}]))
    out = tmp_path / "data" / "out"
    assert run(videos, "--out", out).returncode == 0
    assert other.read_text() == other_text
    assert {label.gloss for label in find_clips(out)[2].values()} == {"book"}
    (videos / "WLASL_v0.3.json").write_text((videos / "WLASL_v0.3.json").read_text().replace("book", "cat"))
    assert "is another json than" in run(videos, "--out", out).stderr


def test_a_table_of_something_else_is_named(videos, tmp_path):
    (tmp_path / "extraction.csv").write_text("a,b\n1,2\n")
    done = run(videos, "--out", tmp_path)
    assert done.returncode == 2 and "is no table of this version" in done.stderr


def test_other_settings_do_not_mix(videos, tmp_path):
    run(videos, "--out", tmp_path / "out")
    done = run(videos, "--out", tmp_path / "out", "--fps", 30)
    assert done.returncode == 2 and "was extracted with fps 25, not 30" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["none", "--out", "x"], "no folder of videos at none"),
        (["{videos}", "--out", "{videos}/10000.mp4"], "10000.mp4"),
        (["{videos}", "--out", "{tmp}/out", "--labels", "{tmp}/none.json"], "cannot read the labels"),
        (["{videos}", "--out", "{tmp}/out", "--workers", "0"], "--workers is 0"),
        (["{videos}", "--out", "{tmp}/out", "--fps", "0"], "--fps is 0"),
        (["{videos}", "--out", "{tmp}/out", "--landmarker", "{tmp}/none.task"], "none.task"),
    ],
)
def test_bad_input_is_named(videos, tmp_path, arguments, expected):
    done = run(*(a.format(videos=videos, tmp=tmp_path) for a in arguments))
    assert done.returncode in (1, 2) and expected in done.stderr and "Traceback" not in done.stderr


def test_two_at_once_do_not_mix(videos, tmp_path):
    (tmp_path / "out").mkdir()
    from signlib.locks import locked

    with locked(tmp_path / "out" / "extraction.csv"):
        done = run(videos, "--out", tmp_path / "out")
    assert done.returncode == 1 and "is writing" in done.stderr and "Traceback" not in done.stderr


def test_a_full_disk_stops_it(videos, tmp_path, monkeypatch):
    """Not one video after another fails for it; what was there stays, and there is no half file."""
    import resource

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (48_000, 48_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    out = tmp_path / "out"
    done = subprocess.run(
        command(videos, "--out", out, "--workers", 1), cwd=ROOT, capture_output=True, text=True, preexec_fn=limit, timeout=100
    )
    assert done.returncode == 1 and f"cannot write {out}/10002.npy" in done.stderr and "Traceback" not in done.stderr
    assert sorted(p.name for p in out.glob("*.npy")) == ["10000.npy", "10001.npy"]
    assert run(videos, "--out", out).returncode == 0 and len(list(out.glob("*.npy"))) == 7


def test_from_python(videos, tmp_path):
    found = extract.extract_videos(videos, tmp_path / "out", workers=1)
    assert found.frames.dtype.kind in "if" and len(found) == 10 and (found.status == "done").sum() == 7
    assert "7 of 10 videos" in extract.summary(found, "out")
