"""Measures how well `SignFinder` finds the signs of a stream, and what a model makes of what it finds.

python benchmarks/signs.py                        the built-in sample's clips, joined with rests between: half a minute
python benchmarks/signs.py --model MODEL.onnx     how many whole clips it takes for their gloss, and how many that were found

The clips of one signer follow each other at 25 frames a second. Before each the hands rise from rest; after it they sink, or
stay where they are for up to a second and sink then ("stop"), or nobody is found ("lost"), as the sample has it. A sign counts
as found where both its begin and its end are within TOLERANCE of the truth. Ends with status 0: done, 2: bad input.
"""

import argparse
import pathlib
import sys
import tempfile

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import signlib
from signlib.errors import InputError
from signlib.sample import _GLOSSES, make_sample
from signlib.video.signs import SignFinder

FPS = 25
TOLERANCE = 0.3  # seconds
ASPECT = 4 / 3  # of the sample's pictures
RISE, SINK = 6, 8  # frames from rest to where a clip begins, and back
REST_Y = 1.45  # shoulder widths below the shoulders, as in the sample
LOST_Y = 1.0  # below it MediaPipe finds no hand: in three videos of WLASL they are found from 0.7 to 0.9 on, and to 1.1
ARMS = {"left": (15, 17, 19, 21), "right": (16, 18, 20, 22)}  # wrist and fingers of the pose
HANDS = {"left": slice(501, 522), "right": slice(522, 543)}


def join(clips, rng, noise=0.01):
    """Returns (frames `(T, 1629)`, truths): the `clips`, [(frames, how they end)], as one stream with rests between, and of
    each clip (begin, stop, end) in frames: the first in which the hands move, that from which they stay where they are at its
    last, and that in which they leave it again. A sign may end anywhere from stop to end."""
    parts, truths, at = [], [], 0
    for frames, end in clips:
        points = frames.reshape(len(frames), 543, 3)
        whole = np.flatnonzero(np.isfinite(points[:, :33]).all(axis=(1, 2)) & points[:, 11:17].any(axis=(1, 2)))
        first, last = points[whole[0]], points[whole[-1]]
        rest = [at_rest(first), at_rest(last)]
        before = [still(rest[0], rng.integers(15, 30)), between(rest[0], first, RISE)]
        held = rng.integers(0, 25) if end == "stop" else 0
        after = [still(last, held), between(last, rest[1], SINK), still(rest[1], rng.integers(10, 25))]
        for number, part in enumerate((*before, points, *(after[2:] if end == "lost" else after))):
            part = part.astype(np.float32)
            if number != 2:
                part[part != 0] += rng.normal(0, noise * 0.2, (part != 0).sum())
            parts.append(part)
            if number == 1:
                begin, stop = at, at + len(part) + stops(points)
                truths.append((begin, stop, at + len(part) + whole[-1] + 1 + held))
            at += len(part)
    return np.concatenate(parts).reshape(at, -1), truths


def stops(points):
    """The frame from which the wrists of a clip stay within a tenth of the shoulders' width of where they are at its end."""
    wrists = points[:, (15, 16), :2] * [ASPECT, 1]
    found = np.flatnonzero(np.isfinite(points[:, 11:17]).all(axis=(1, 2)) & wrists.any(axis=(1, 2)))
    width = np.nanmedian(np.hypot(*((points[found, 11] - points[found, 12])[:, :2] * [ASPECT, 1]).T))
    away = np.hypot(*np.moveaxis(wrists[found] - wrists[found[-1]], -1, 0)).max(axis=1)
    return found[np.append(-1, np.flatnonzero(away > 0.1 * width))[-1] + 1]


def at_rest(frame):
    """A frame `(543, 3)` with the arms hanging down; nobody finds the hands."""
    frame, unit = frame.copy(), frame[11] - frame[12]
    for side, sign in (("left", 1), ("right", -1)):
        wrist = ARMS[side][0]
        shift = frame[wrist - 4, :2] + [0.05 * sign * unit[0], REST_Y * unit_y(frame)] - frame[wrist, :2]
        frame[ARMS[side], :2] += shift
        frame[HANDS[side]] = 0
    return frame


def unit_y(frame):
    """The sample's shoulder width in heights of the picture, by where it has the hips."""
    return (frame[23, 1] - frame[11, 1]) / 1.6


def between(one, other, count):
    """`count` frames on the way from one to the other, without both; a hand moves with its wrist, where either shows it, and is
    found while above LOST_Y."""
    shares = (np.arange(1, count + 1) / (count + 1))[:, None, None]
    path = one * (1 - shares) + other * shares
    for side, block in HANDS.items():
        shown = one if one[block].any() else other
        if shown[block].any():
            path[:, block] = shown[block] + (path[:, [ARMS[side][0]]] - shown[ARMS[side][0]])
            path[path[:, ARMS[side][0], 1] > path[:, ARMS[side][0] - 4, 1] + LOST_Y * unit_y(one), block] = 0
    return path


def still(frame, count):
    """The same frame `count` times."""
    return np.repeat(frame[None], count, axis=0)


def find(frames, aspect=ASPECT, fps=FPS):
    """Returns the signs of a stream of frames."""
    finder, found = SignFinder(aspect), []
    for number, row in enumerate(frames):
        found.append(finder.add(number / fps, row))
    return [sign for sign in [*found, finder.finish()] if sign]


def matches(truths, signs):
    """Returns {number of a truth: its sign}, each in one pair at most: those with most time in common first."""
    pairs, taken = {}, set()
    common = [
        (min(end / FPS, sign.end) - max(begin / FPS, sign.begin), number, which)
        for number, (begin, _, end) in enumerate(truths)
        for which, sign in enumerate(signs)
    ]
    for seconds, number, which in sorted(common, reverse=True):
        if seconds > 0 and number not in pairs and which not in taken:
            pairs[number] = signs[which]
            taken.add(which)
    return pairs


def streams(seed):
    """Yields, of each signer of a sample, [(frames, how it ends, gloss)] in an order drawn at random."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        clips = signlib.load_clips(make_sample(pathlib.Path(folder, "sample"), seed=seed))
        for signer in sorted({clip.signer for clip in clips}):
            own = [clip for clip in clips if clip.signer == signer]
            own = [own[i] for i in rng.permutation(len(own))]
            yield [(clip.read().astype(np.float32), _GLOSSES[clip.gloss][-1], clip.gloss) for clip in own]


def main(arguments=None):
    """Prints the table. Returns the exit status."""
    parser = argparse.ArgumentParser(description="How well signs are found in streams of the sample's clips.")
    parser.add_argument("--model", help="an exported model of the sample, .onnx")
    parser.add_argument("--seed", type=int, default=0, help="of the sample and the rests [0]")
    options = parser.parse_args(arguments)
    try:
        recogniser = None
        if options.model:
            from signlib.video.recognise import Recogniser

            recogniser = Recogniser(options.model)
            if not set(recogniser.classes) <= set(_GLOSSES):
                raise InputError(f"{options.model} knows {recogniser.classes[0]!r}, which is no gloss of the sample")
        report(streams(options.seed), recogniser, np.random.default_rng(options.seed))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def report(streams, recogniser, rng):
    """Prints what was found of the clips of all streams."""
    hows, late, taken, count = [], [], [], 0
    for clips in streams:
        frames, truths = join([clip[:2] for clip in clips], rng)
        signs = find(frames)
        count += len(signs)
        pairs = matches(truths, signs)
        for number, ((own, how, gloss), (begin, stop, end)) in enumerate(zip(clips, truths, strict=True)):
            hows.append(how)
            sign = pairs.get(number)
            if sign:
                off = sign.end - np.clip(sign.end, stop / FPS, end / FPS)
                late.append((sign.begin - begin / FPS, off, sign.detected - sign.end))
            else:
                late.append((np.nan, np.nan, np.nan))
            if recogniser:
                of_sign = recogniser(sign.frames)[0][0][0] if sign else None
                taken.append((gloss, recogniser(own)[0][0][0], of_sign))
    hows, late = np.array(hows), np.array(late)
    near = np.abs(late[:, :2]) <= TOLERANCE
    print(f"{len(hows)} clips, {count} signs found")
    print(f"{'ends':8}{'clips':>6}{'begin':>8}{'end':>8}{'both':>8}   median |begin|, |end|, delay in seconds")
    for how in (*sorted(set(hows)), "all"):
        of = np.full(len(hows), True) if how == "all" else hows == how
        begin, end, both = *near[of].mean(axis=0), near[of].all(axis=1).mean()
        off = " ".join(f"{value:.2f}" for value in np.nanmedian(np.abs(late[of]), axis=0))
        print(f"{how:8}{of.sum():6}{begin:8.1%}{end:8.1%}{both:8.1%}   {off}")
    precision = near.all(axis=1).sum() / count
    print(f"precision: {precision:.1%} of the signs found are a clip, both ends within {TOLERANCE} s")
    print(f"delay: at most {np.nanmax(late[:, 2]):.2f} s")
    for name, sign in (("", str), (", those that differ in what follows alone as one", _sign)) if taken else ():
        whole, found = np.mean([(sign(own) == sign(g), bool(s) and sign(s) == sign(g)) for g, own, s in taken], axis=0)
        print(f"right{name}: {whole:.1%} of whole clips, {found:.1%} of those found in the stream")


def _sign(gloss):
    """A gloss without how it ends."""
    return _GLOSSES[gloss][:-1]


if __name__ == "__main__":
    sys.exit(main())
