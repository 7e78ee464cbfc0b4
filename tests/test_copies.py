"""Copies under other ids are found from the keypoints; repeated takes are not taken for copies."""

import functools
import subprocess
import sys

import numpy as np
import pytest

import signlib
from signlib.copies import find_copies, sketch
from signlib.landmarks import LAYOUTS, mirror_permutation
from signlib.points import resample
from signlib.project import ROOT

WORDS, TAKES = 8, 3


def smooth(rng, length, values, size):
    """Random curves `(length, values)` of a few slow waves."""
    time = np.linspace(0, 1, length)[:, None]
    return sum(rng.normal(0, size / k, values) * np.sin(np.pi * (k * time + rng.uniform(0, 2, values))) for k in (1, 2, 3))


def take(word, number, layout="258", length=60):
    """One of the takes of a word `(T, P, 3)`: the same path at another pace, never quite the same, and a detector's jitter."""
    rng = np.random.default_rng([7, word])
    blocks = blocks_of(layout)
    points = np.full((120, sum(map(len, blocks.values())), 3), np.nan)
    pose = rng.normal(0.5, 0.2, (33, 3))
    pose[[11, 12], :2] = [[0.65, 0.5], [0.35, 0.5]]
    for hand, pose_wrist in (("left_hand", 15), ("right_hand", 16)):
        wrist = 0.5 + smooth(rng, 120, 2, 0.12)[:, None]
        fingers = rng.normal(0, 0.04, (21, 2)) + smooth(rng, 120, 42, 0.02).reshape(120, 21, 2)
        points[:, blocks[hand], :2] = wrist + fingers - fingers[:, :1]
        if "pose" in blocks:
            points[:, blocks["pose"], :2] = pose[:, :2] if hand == "left_hand" else points[:, blocks["pose"], :2]
            points[:, blocks["pose"][pose_wrist], :2] = wrist[:, 0]
    points[:, :, 2] = np.where(np.isnan(points[:, :, 0]), np.nan, 0)
    rng = np.random.default_rng([8, word, number])
    pace = np.cumsum(np.append(0, rng.uniform(0.6, 1.4, 5)))
    points = resample(points, np.interp(np.linspace(0, pace[-1], length), pace, np.linspace(0, 119, 6)))
    for hand in ("left_hand", "right_hand"):
        points[:, blocks[hand], :2] += smooth(rng, length, 2, 0.015)[:, None]
    points[:, :, :2] += rng.normal(0, 0.002, (*points.shape[:2], 2))
    points[rng.random(length) < 0.1, blocks["right_hand"][0] : blocks["right_hand"][-1] + 1] = np.nan
    return points.astype(np.float32)


@functools.cache
def blocks_of(layout):
    return signlib.Preprocessor(landmarks="all", layout=layout).blocks


@functools.cache
def everything(layout="258", words=WORDS):
    return {f"{word:02d}-{number}": take(word, number, layout) for word in range(words) for number in range(TAKES)}


def sketches(clips, layout="258"):
    return {video_id: sketch(points, blocks_of(layout)) for video_id, points in clips.items()}


def mirror(points, exchange=True):
    p = signlib.Preprocessor(landmarks="all", layout="258")
    points = points[:, mirror_permutation(p.selected)] if exchange else points
    return points * np.float32([-1, 1, 1]) + np.float32([1, 0, 0])


def at_rate(points, factor):
    return resample(points, np.linspace(0, len(points) - 1, round(factor * len(points))))


def jitter(points):
    return points + np.random.default_rng(5).normal(0, 0.002, points.shape).astype(np.float32)


def zoom(points):
    return 0.5 + 0.7 * (points - 0.5)


KINDS = {
    "plain": (lambda p: p.copy(), "the same movement"),
    "float16": (lambda p: p.astype(np.float16).astype(np.float32), "the same movement"),
    "trimmed": (lambda p: p[4:-5], "9 frames shorter"),
    "trimmed by a fifth": (lambda p: p[10:-10], "20 frames shorter"),
    "smaller": (zoom, "0.70 times the size"),
    "shifted": (lambda p: p + np.float32([0.2, -0.1, 0]), "shifted"),
    "mirrored": (mirror, "mirrored"),
    "mirrored, hands kept": (lambda p: mirror(p, False), "mirrored with the hands as they were"),
    "slower": (lambda p: at_rate(p, 0.6), "0.59 times the frame rate"),
    "faster": (lambda p: at_rate(p, 1.8), "1.81 times the frame rate"),
    "every other frame": (lambda p: p[1::2], "0.50 times the frame rate"),
    "each frame twice": (lambda p: np.repeat(p, 2, axis=0), "2.00 times the frame rate"),
    "every fifth frame twice": (lambda p: p[(np.arange(72) / 1.2).astype(int)], "1.20 times the frame rate"),
    "detected again": (jitter, "the same movement"),
    "all at once": (lambda p: jitter(mirror(zoom(at_rate(p[3:-4], 0.8)))), "mirrored, 0.80 times the frame rate"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_is_found_and_said_how_it_differs_and_nothing_else_is(kind):
    change, said = KINDS[kind]
    clips = everything()
    copied = list(clips)[::5]
    pairs = find_copies(sketches(clips | {f"{video_id}-copy": change(clips[video_id]) for video_id in copied}))
    assert [(a, b) for a, b, _ in pairs] == [(video_id, f"{video_id}-copy") for video_id in copied]
    rate = said.split()[0]
    for _, _, how in pairs:
        if "rate" in said and "all" not in kind:
            found = float(how.split()[0])
            assert "frame rate" in how and abs(found / float(rate) - 1) < 0.03
        else:
            assert how.startswith(said.split(",")[0])
            assert "," not in how or kind == "all at once"


def test_repeated_takes_of_a_word_are_no_copies_and_mirrored_ones_are_found_among_them(monkeypatch):
    monkeypatch.setattr("signlib.copies.NEIGHBOURS", 3)  # of 60 takes a word, as 30 are of hundreds
    clips = {f"{n:03d}": take(n % 2, n) for n in range(120)}
    copies = {f"{n}-copy": mirror(clips[f"{n:03d}"])[2:-2] for n in range(100, 120)}
    assert [pair[:2] for pair in find_copies(sketches(clips | copies))] == [(name[:3], name) for name in copies]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_copies_are_found_in_every_layout_with_and_without_a_pose(layout):
    clips = everything(layout, 4)
    clips = clips | {"99": clips["02-1"][3:]}
    kept = sketches(clips, layout)
    assert {xy.shape[1:] for xy in kept.values()} == {(21, 2)} and {xy.dtype for xy in kept.values()} == {np.dtype("float32")}
    assert np.isnan(kept["99"][:, 14:]).all() == ("pose" not in blocks_of(layout))
    assert find_copies(kept) == [("02-1", "99", "3 frames shorter")]


def test_the_order_in_which_clips_come_changes_nothing():
    clips = everything("258", 6)
    clips = clips | {"70": at_rate(clips["01-2"], 1.4), "71": mirror(clips["03-2"]), "72": clips["01-2"][5:]}
    kept = sketches(clips)
    found = find_copies(kept)
    assert {(a, b) for a, b, _ in found} >= {("01-2", "72"), ("03-2", "71")} and found == sorted(found)
    for seed in range(3):
        names = list(kept)
        np.random.default_rng(seed).shuffle(names)
        assert find_copies({name: kept[name] for name in names}) == found


def test_a_copy_in_which_a_hand_was_never_found_is_found_by_the_other_hand():
    clips = {video_id: points.copy() for video_id, points in everything("258", 4).items()}
    for points in clips.values():
        points[:, blocks_of("258")["left_hand"]] = np.nan
    clips["99"] = mirror(clips["01-1"])[2:]  # now it is the left one alone
    assert find_copies(sketches(clips)) == [("01-1", "99", "mirrored, 2 frames shorter")]


def test_clips_in_which_nothing_moves_or_is_found_are_never_copies():
    still, lost = take(1, 1)[:1].repeat(60, axis=0), np.full_like(take(1, 1), np.nan)
    handless, jump = take(2, 1), still.copy()
    for hand in ("left_hand", "right_hand"):
        handless[4:, blocks_of("258")[hand]] = np.nan
    jump[30:] += 0.2
    trembling = still + np.random.default_rng(1).normal(0, 1e-4, still.shape).astype(np.float32)
    clips = {"still": still, "lost": lost, "handless": handless, "jump": jump, "trembling": trembling}
    clips |= {"short": take(3, 1)[:4], "one": take(3, 1)[:1], "none": take(3, 1)[:0]}
    assert find_copies(sketches(clips | {f"{name} too": points.copy() for name, points in clips.items()})) == []
    assert find_copies({}) == []


UNPACK = ROOT.parent / "shared" / "tools" / "unpack_real_data.py"


@pytest.mark.skipif(not UNPACK.exists(), reason="the real recordings (../shared) are not on this machine")
def test_among_real_takes_copies_are_found_and_takes_are_not(tmp_path):
    subprocess.run([sys.executable, UNPACK, "webcam13", tmp_path, "--layout", "258", "--limit", "20"], check=True)
    clips = signlib.load_clips(tmp_path)
    p, rng, kept, copied = signlib.Preprocessor(landmarks="all", layout=clips.layout), np.random.default_rng(2), {}, {}
    for number, clip in enumerate(clips):
        points = p.points(clip.read(), clip.layout)
        kept[clip.video_id] = sketch(points, p.blocks)
        if number % 5 == 0:
            points = at_rate(points[rng.integers(3) : -1 - rng.integers(3)], rng.uniform(0.7, 1.5))
            points = zoom(points if number % 2 else mirror(points))
            copied[f"{clip.video_id}-copy"] = sketch(points.astype(np.float16).astype(np.float32), p.blocks)
    taken = {video_id for pair in find_copies(kept) for video_id in pair[:2]}
    assert len(taken) <= 0.02 * len(clips)
    pairs = {(a, b) for a, b, _ in find_copies(kept | copied)}
    assert sum((name.removesuffix("-copy"), name) in pairs for name in copied) >= 0.9 * len(copied)
