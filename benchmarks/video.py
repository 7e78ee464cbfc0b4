"""Measures extraction and live recognition, with MediaPipe, on videos of a drawn signer. Nothing is downloaded.

.venv-video/bin/python benchmarks/video.py memory     1,000 short videos: does memory grow? about 20 minutes on two cores
.venv-video/bin/python benchmarks/video.py kills      extraction that is killed at random moments and started again: the same files?
.venv-video/bin/python benchmarks/video.py live MODEL.onnx    the sample's signs, filmed one after another: how many are recognised, how late?
                                                   --small: a few of each

Needs the environment of `make test-video`. Ends with status 0: held, 1: not.
"""

import argparse
import hashlib
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
import signlib
from tests.video.drawn_signer import write_drawn

GROWTH = 1.1  # times what it was after the first tenth: of memory that does not grow
FRAMES = 8  # of a short video


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=MEASURES)
    parser.add_argument("model", nargs="?", help="of live: a model of the sample, as .onnx")
    parser.add_argument("--small", action="store_true", help="a few of each, for a look whether it runs")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        held = MEASURES[options.what](pathlib.Path(folder), options)
    print("held" if held else "NOT held")
    return 0 if held else 1


def sample(folder):
    """The clips of the sample, in an order that does not follow their glosses."""
    clips = signlib.load_clips(signlib.make_sample(folder / "sample"))
    return [clips[i] for i in np.random.default_rng(0).permutation(len(clips))]


def short_videos(folder, count):
    """Writes videos of FRAMES frames, each of another moment of some clip, and returns their folder."""
    clips, videos = sample(folder), folder / "videos"
    for number in range(count):
        frames = clips[number % len(clips)].read()
        start = number // len(clips) * 3 % max(1, len(frames) - FRAMES)
        write_drawn(videos / f"{number:05d}.mp4", frames[start : start + FRAMES])
    return videos


def extraction(videos, out):
    command = [sys.executable, "-m", "signlib.video", "extract", str(videos), "--out", str(out)]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, text=True
    )


def memory_of(pid):
    """(MiB of a process, MiB of those that it started, together)."""
    lines = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True).stdout.split()
    children = subprocess.run(["ps", "-o", "rss=", "--ppid", str(pid)], capture_output=True, text=True).stdout.split()
    return sum(map(int, lines)) / 1024, sum(map(int, children)) / 1024


def memory(folder, options):
    count = 60 if options.small else 1000
    videos, out = short_videos(folder, count), folder / "out"
    started, began, shown = extraction(videos, out), time.monotonic(), {}
    while started.poll() is None:
        tenth = 10 * len(list(out.glob("*.npy"))) // count
        own, workers = memory_of(started.pid)
        before = shown.get(tenth, (0, 0))
        shown[tenth] = max(own, before[0]), max(workers, before[1])
        time.sleep(0.5)
    seconds = time.monotonic() - began
    for tenth, (own, workers) in sorted(shown.items()):
        print(f"{tenth * 10:4} % of {count} videos: the command {own:.0f} MiB, its processes together {workers:.0f} MiB at most")
    done = len(list(out.glob("*.npy")))
    print(f"{done} of {count} videos of {FRAMES} frames in {seconds:.0f} s, {1000 * seconds / done / FRAMES:.0f} ms a frame")
    first, last = (np.array([shown[t] for t in tenths if t in shown]).max(axis=0) for tenths in ((0, 1, 2), (7, 8, 9, 10)))
    print(f"the last three tenths beside the first three: {last[0] / first[0]:.3f} and {last[1] / first[1]:.3f} times")
    return done == count and (last <= GROWTH * first).all()


def digests(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def kills(folder, options):
    count, rounds, rng = (12, 3, random.Random(options.seed)) if options.small else (60, 20, random.Random(options.seed))
    videos, whole, out = short_videos(folder, count), folder / "whole", folder / "out"
    extraction(videos, whole).wait()
    seconds = []
    for _ in range(rounds):
        started = extraction(videos, out)
        seconds.append(rng.uniform(1.5, 6))
        try:
            started.wait(seconds[-1])
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)
            started.wait()
        if len(list(out.glob("*.npy"))) == count:  # begun anew, so that each kill interrupts something
            if digests(out) != digests(whole):
                return False
            for path in out.iterdir():
                path.unlink()
    extraction(videos, out).wait()
    print(f"{count} videos, killed after {', '.join(f'{s:.1f}' for s in seconds)} s, then left alone")
    return digests(out) == digests(whole)


def live(folder, options):
    """The sample's validation clips, drawn, with rests between; what the model makes of the very same keypoints stands beside."""
    from benchmarks import signs

    return signs.filmed(folder, options)


MEASURES = {"memory": memory, "kills": kills, "live": live}

if __name__ == "__main__":
    sys.exit(main())
