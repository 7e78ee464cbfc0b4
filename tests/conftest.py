"""What the tests share: plausible keypoint frames and folders of clips in the seed's layout."""

import json

import numpy as np
import pytest

from signlib.preprocess import Preprocessor


def _make_frames(length=12, seed=0):
    """`(T, 1629)` float64: a body that walks at random, all landmarks found, shoulders about 0.2 apart."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(0.3, 0.7, (1, 543, 3)) + np.cumsum(rng.normal(0, 0.005, (length, 543, 3)), axis=0)
    points[:, 11, :2] += [0.6, 0.5] - points[:1, 11, :2]
    points[:, 12, :2] += [0.4, 0.5] - points[:1, 12, :2]
    return points.reshape(length, 1629)


def _write_labels(path, glosses, splits=None):
    """Writes a WLASL json of `{video_id: gloss}` and, where given, `{video_id: split}`."""
    table = {}
    for video_id, gloss in glosses.items():
        instance = {"video_id": video_id, "signer_id": 7, "split": (splits or {}).get(video_id, "train")}
        table.setdefault(gloss, []).append(instance)
    path.write_text(json.dumps([{"gloss": gloss, "instances": instances} for gloss, instances in table.items()]))
    return path


def _write_clips(folder, glosses, splits=None, length=6):
    """Writes a float32 file for each of `{video_id: gloss}`, and the labels, into `folder`; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, video_id in enumerate(sorted(glosses)):
        np.save(folder / f"{video_id}.npy", _make_frames(length + seed % 5, seed).astype(np.float32))
    _write_labels(folder / "WLASL_v0.3.json", glosses, splits)
    return folder


@pytest.fixture(scope="session")
def make_frames():
    """The function `make_frames(length=12, seed=0)`."""
    return _make_frames


@pytest.fixture(scope="session")
def write_labels():
    """The function `write_labels(path, {video_id: gloss}, {video_id: split})`."""
    return _write_labels


@pytest.fixture(scope="session")
def write_clips():
    """The function `write_clips(folder, {video_id: gloss}, {video_id: split}, length=6)`."""
    return _write_clips


@pytest.fixture(scope="session")
def damaged_points(make_frames):
    """The function `damaged_points(length=12, seed=0, landmarks="default")`: points with a fifth of them missing."""

    def damaged(length=12, seed=0, landmarks="default"):
        points = Preprocessor(landmarks=landmarks).points(make_frames(length, seed), "1629")
        points[np.random.default_rng(seed).random(points.shape[:2]) < 0.2] = np.nan
        return points

    return damaged
