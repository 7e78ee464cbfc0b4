"""Measures extraction and live recognition, with MediaPipe, on videos of a drawn signer.

.venv-video/bin/python benchmarks/video.py memory              1,000 short videos: does memory grow? half an hour
.venv-video/bin/python benchmarks/video.py kills               killed at random moments and started again: the same files?
.venv-video/bin/python benchmarks/video.py live MODEL.onnx     the sample's signs, filmed one after another, by a model of them
                                           --small             a few of each

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

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import signlib
from benchmarks.signs import FPS, join, streams
from signlib.project import ROOT
from tests.video.drawn_signer import write_drawn

GROWTH = 1.1  # times what it was in the first three tenths: of memory that does not grow
FRAMES = 8  # of a short video
LEAST = 0.5  # of the filmed signs must be found: it is about the machinery, a drawn hand is not found as often as a real one


def main():
    """Measures what is named. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=MEASURES)
    parser.add_argument("model", nargs="?", help="of live: a model of the sample, .onnx")
    parser.add_argument("--small", action="store_true", help="a few of each")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of kills and of the signs [0]")
    options = parser.parse_args()
    if options.what == "live" and not options.model:
        parser.error("live needs a model")
    with tempfile.TemporaryDirectory() as folder:
        held = MEASURES[options.what](pathlib.Path(folder), options)
    print("held" if held else "NOT held")
    return 0 if held else 1


def short_videos(folder, count):
    """Writes videos of FRAMES frames of the sample's clips, and returns their folder."""
    clips, videos = signlib.load_clips(signlib.make_sample(folder / "sample")), folder / "videos"
    for number in range(count):
        frames = clips[number * 7 % len(clips)].read()
        start = number // len(clips) * 3 % max(1, len(frames) - FRAMES)
        write_drawn(videos / f"{number:05d}.mp4", frames[start : start + FRAMES])
    return videos


def extraction(videos, out):
    """Starts it, in a session of its own."""
    command = [sys.executable, "-m", "signlib.video", "extract", str(videos), "--out", str(out)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def memory(folder, options):
    """Whether neither the command nor what it starts needs more and more."""
    count = 60 if options.small else 1000
    videos, out = short_videos(folder, count), folder / "out"
    started, began, most = extraction(videos, out), time.monotonic(), np.zeros((11, 2))
    while started.poll() is None:
        tenth = 10 * len(list(out.glob("*.npy"))) // count
        most[tenth] = np.maximum(most[tenth], [rss("-p", started.pid), rss("--ppid", started.pid)])
        time.sleep(0.5)
    seconds, done = time.monotonic() - began, len(list(out.glob("*.npy")))
    for tenth, (own, processes) in enumerate(most):
        print(f"{tenth * 10:3} % done: the command {own:.0f} MiB, its processes together {processes:.0f} MiB at most")
    print(f"{done} of {count} videos of {FRAMES} frames in {seconds:.0f} s, {1e3 * seconds / done / FRAMES:.0f} ms a frame")
    first, last = most[:3].max(axis=0), most[7:].max(axis=0)
    print(f"the last tenths beside the first three: {last[0] / first[0]:.3f} and {last[1] / first[1]:.3f} times as much")
    return done == count and (last <= GROWTH * first).all()


def rss(*which):
    """MiB of memory of some processes together."""
    shown = subprocess.run(["ps", "-o", "rss=", *map(str, which)], capture_output=True, text=True).stdout.split()
    return sum(map(int, shown)) / 1024


def kills(folder, options):
    """Whether the files are, bit for bit, those of an extraction that nobody disturbed."""
    count, rounds = (12, 3) if options.small else (60, 20)
    videos, whole, out, rng = short_videos(folder, count), folder / "whole", folder / "out", random.Random(options.seed)
    extraction(videos, whole).wait()
    done = []
    for _ in range(rounds):
        started = extraction(videos, out)
        try:
            started.wait(rng.uniform(1.5, 4 if options.small else 8))
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)
            started.wait()
        done.append(len(list(out.glob("*.npy"))))
        if started.returncode == 0:  # all of it is done: once more, so that each kill has something to interrupt
            if digests(out) != digests(whole):
                return False
            for path in out.iterdir():
                path.unlink()
    extraction(videos, out).wait()
    print(f"{count} videos; killed, {', '.join(map(str, done))} of them were there; then it was left alone")
    return digests(out) == digests(whole)


def digests(folder):
    """{name: digest} of its files."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def live(folder, options):
    """How many of the sample's signs are found where they are filmed one after another, and taken for their gloss."""
    rng, found, truths, right, delays, latencies = np.random.default_rng(options.seed), 0, 0, 0, [], []
    for number, clips in enumerate(streams(options.seed)):
        clips = clips[: 3 if options.small else 12]
        frames, spans = join([clip[:2] for clip in clips], rng)
        video = write_drawn(folder / f"{number}.mp4", frames, FPS)
        command = [sys.executable, "-m", "signlib.video", "live", options.model, "--video", str(video), "--headless", "--json"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            print(done.stderr, file=sys.stderr)
            return False
        signs = [json.loads(line) for line in done.stdout.splitlines()]
        for (begin, _, end), (_, _, gloss) in zip(spans, clips, strict=True):
            own = [s for s in signs if begin / FPS < (s["begin"] + s["end"]) / 2 < end / FPS]
            truths, found = truths + 1, found + bool(own)
            right += bool(own) and own[0]["top"][0]["gloss"] == gloss
        delays += [s["delay"] for s in signs]
        latencies += [s["latency_ms"] for s in signs]
        if options.small:
            break
    print(f"{truths} signs: {found} found, {right} of them with their gloss first; {len(delays)} found in all")
    if delays:
        print(f"detected {np.median(delays):.2f} s after their end (median; at most {max(delays):.2f} s)")
        print(f"gloss {np.median(latencies):.1f} ms after that (median; at most {max(latencies):.1f} ms)")
    return found >= LEAST * truths and max(latencies) < 100


MEASURES = {"memory": memory, "kills": kills, "live": live}

if __name__ == "__main__":
    sys.exit(main())
