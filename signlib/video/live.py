"""Live recognition: `python -m signlib.video live MODEL.onnx`, of a camera or a video file."""

import argparse
import contextlib
import itertools
import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

import cv2
import numpy as np

from signlib.errors import InputError
from signlib.files import say
from signlib.signals import handled, stop_signals
from signlib.video.camera import Camera
from signlib.video.draw import TOP, draw_caption, draw_skeleton
from signlib.video.holistic import LANDMARKER_HELP, Holistic
from signlib.video.reading import RATE, Video
from signlib.video.recognise import Recogniser
from signlib.video.signs import Sign, SignFinder

TITLE = "signlib"
QUIT = (ord("q"), 27)  # Esc


@dataclass(frozen=True)
class Recognition:
    """A sign that was found; its glosses [(gloss, probability), ...], best first; whether the model is sure of the first; and
    the milliseconds to these from when the frame that showed its end was there, so with MediaPipe's for that frame."""

    sign: Sign
    glosses: list
    sure: bool
    latency_ms: float

    def describe(self):
        """Returns what json says of it: times in seconds of the stream."""
        sign = self.sign
        return {
            "begin": round(sign.begin, 3),
            "end": round(sign.end, 3),
            "detected": round(sign.detected, 3),
            "delay": round(sign.detected - sign.end, 3),
            "latency_ms": round(self.latency_ms, 1),
            "gloss": self.glosses[0][0] if self.sure else None,
            "top": [{"gloss": gloss, "probability": p} for gloss, p in self.glosses[:TOP]],
        }

    def __str__(self):
        top = ", ".join(f"{gloss} {p:.1%}" for gloss, p in self.glosses[:TOP])
        return f"{self.sign.begin:.2f} to {self.sign.end:.2f} s: {top if self.sure else f'not sure ({top})'}"


def recognitions(frames, holistic, recogniser, fps, show=None):
    """Yields the `Recognition` of each sign in a stream as soon as its end is seen, and at the end of the stream that of the
    sign under way.

    frames: an iterable of (seconds, image `(H, W, 3)`); holistic: makes the row `(1629,)` of an image; fps: of the clips that
    the model learnt from. show: called with each image, its row, the last `Recognition` or None, and whether a sign is under
    way.
    """
    finder, last, broken = None, None, None
    try:
        for seconds, image in frames:
            began = time.perf_counter()
            finder = finder or SignFinder(image.shape[1] / image.shape[0])
            row = holistic(image)
            if sign := finder.add(seconds, row):
                yield (last := _recognise(sign, recogniser, fps, began))
            if show:
                show(image, row, last, finder.signing)
    except InputError as error:  # a camera that is unplugged: what was signed before counts
        broken = error
    began = time.perf_counter()
    if finder and (sign := finder.finish()):
        yield (last := _recognise(sign, recogniser, fps, began))
        if show:
            show(image, row, last, False)
    if broken:
        raise broken


def _recognise(sign, recogniser, fps, began):
    glosses, sure = recogniser(at_rate(sign.frames, sign.times, fps))
    return Recognition(sign, glosses, sure, 1e3 * (time.perf_counter() - began))


def at_rate(frames, times, fps):
    """Returns frames `(T', ...)` at even times, fps a second from the first to the last of `times` `(T,)`: the nearest ones."""
    even = times[0] + np.arange(1 + int((times[-1] - times[0]) * fps + 1e-6)) / fps
    return frames[np.abs(times - even[:, None]).argmin(axis=1)]


class Window:
    """A window with the picture, the skeleton and the caption. Raises InputError where OpenCV can open none. `.closed`: the
    user has closed it or pressed q or Esc."""

    closed = False

    def __init__(self):
        # In a process of its own: without a display, Qt does not raise an error but ends the process.
        probe = [sys.executable, "-c", f"import cv2; cv2.namedWindow({TITLE!r}); cv2.destroyAllWindows()"]
        if subprocess.run(probe, capture_output=True).returncode:
            raise InputError("no window can be opened, perhaps for want of a display: use --headless")
        cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        cv2.destroyAllWindows()

    def show(self, image, row, last, signing):
        """Shows a frame; see `recognitions`."""
        image = image.copy()
        draw_skeleton(image, row)
        draw_caption(image, last.glosses if last else [], bool(last and last.sure), signing)
        cv2.imshow(TITLE, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        self.wait(1)

    def wait(self, milliseconds=50):
        """Looks for so long whether the user closes it."""
        key = cv2.waitKey(milliseconds) & 0xFF
        self.closed = self.closed or key in QUIT or cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1


def main(arguments=None):
    """`python -m signlib.video live MODEL.onnx`. Returns 0; 2 where the model, the camera or the file cannot be used; after a
    signal 128 and its number, as 130 when interrupted; 1 where nothing can be printed. A line on stderr sums up."""
    parser = argparse.ArgumentParser(prog="python -m signlib.video live", description="Recognises signs as they are made.")
    parser.add_argument("model", help="an .onnx file that python -m signlib.export wrote")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--camera", type=int, help="its number [0]")
    source.add_argument("--video", metavar="FILE", help="a video file instead")
    parser.add_argument("--fps", type=float, default=RATE, help=f"of the clips that the model learnt from [{RATE:g}]")
    parser.add_argument("--threshold", type=float, help="say a gloss from this probability on [the model's own]")
    parser.add_argument("--landmarker", metavar="FILE", help=LANDMARKER_HELP)
    parser.add_argument("--headless", action="store_true", help="open no window")
    parser.add_argument("--json", action="store_true", help="a json object a line for each sign")
    options = parser.parse_args(arguments)
    if not 1 <= options.fps <= 240:
        parser.error(f"--fps is {options.fps}; expected a number from 1 to 240")
    if options.threshold is not None and not 0 <= options.threshold <= 1:
        parser.error(f"--threshold is {options.threshold}; expected a probability from 0 to 1")
    try:
        return _run(options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _run(options):
    signals, seen, found, window, camera = [], 0, [], None, None

    def stopped():
        return signals or (window and window.closed)

    def going(_):
        nonlocal seen
        seen += not stopped()
        return not stopped()

    with contextlib.ExitStack() as stack:
        stack.enter_context(handled(lambda signum, frame: signals.append(signum), *stop_signals()))
        recogniser = Recogniser(options.model, options.threshold)
        if not recogniser.known:
            said = f"{options.model} names no threshold: below {recogniser.threshold} it is not sure (--threshold)"
            print(said, file=sys.stderr)
        if options.video is not None:
            frames = stack.enter_context(Video(options.video)).frames(options.fps)
        if not options.headless:
            window = stack.enter_context(Window())
        holistic = stack.enter_context(Holistic(options.landmarker, options.fps))
        if options.video is None:  # last: while the others start nobody takes its frames
            frames = camera = stack.enter_context(Camera(options.camera or 0))
        try:
            stream = itertools.takewhile(going, frames)
            for recognition in recognitions(stream, holistic, recogniser, options.fps, window and window.show):
                if stopped():  # in the midst of a sign
                    break
                found.append((recognition.sign.detected - recognition.sign.end, recognition.latency_ms))
                of_camera = {"dropped": camera.dropped} if camera else {}
                if not say(json.dumps(recognition.describe() | of_camera) if options.json else str(recognition)):
                    break
            while window and not camera and not stopped():  # else what came last could not be read
                window.wait()
        except InputError:
            if not stopped():
                raise
        finally:
            print(_summary(found, seen, camera.dropped if camera else 0), file=sys.stderr)
    return 128 + signals[0] if signals else 0


def _summary(found, frames, dropped):
    """found: (delay in seconds, latency in milliseconds) of each sign."""
    text = f"{len(found)} signs, {frames} frames, {dropped} dropped"
    if found:
        delay, latency = map(statistics.median, zip(*found, strict=True))
        text += f"; median delay {delay:.2f} s, latency {latency:.0f} ms"
    return text
