"""A plain reading of keypoint files, labels and parameters, which `damage.py` holds signlib's against."""

import json
import math

import numpy as np

from signlib.landmarks import LAYOUTS, LEFT_SHOULDER, RIGHT_SHOULDER

FARTHEST = 1e9  # a coordinate beyond it counts as missing


def read_labels(path):
    """Returns {id: the set of its glosses} of a list in json; of anything else None."""
    try:
        table = json.loads(path.read_bytes()) if path.is_file() else None
    except (ValueError, RecursionError):
        return None
    found = {}
    for word in table if isinstance(table, list) else []:
        for instance in word["instances"] if isinstance(word, dict) and isinstance(word.get("instances"), list) else []:
            video_id = instance.get("video_id") if isinstance(instance, dict) else None
            video_id = str(video_id).zfill(5) if isinstance(video_id, int) else str(video_id)
            found.setdefault(video_id, set()).add(str(word.get("gloss")))
    return found if isinstance(table, list) else None


def read_array(path):
    """Returns the array of a .npy file of real numbers whose size is what its header says; of any other None."""
    try:
        with np.errstate(all="ignore"):
            array = np.load(path, mmap_mode="r", allow_pickle=False) if path.is_file() else None
        return array if array.dtype.kind in "fiu" and array.offset + array.nbytes == path.stat().st_size else None
    except Exception:
        return None


def read_clip(path, layout):
    """Returns (can it be predicted, its frames `(T, F)` where it can be used among clips of a layout, or else None)."""
    if path.is_dir() and path.suffix != ".npy":
        frames = [read_array(path / f"{number}.npy") for number in range(len(list(path.iterdir())))]
        if any(frame is None or frame.shape != frames[0].shape for frame in frames):
            return False, None
        frames = np.stack(frames)
    else:
        frames = read_array(path)
    if frames is None or frames.ndim not in (2, 3) or not len(frames):
        return False, None
    shape, width = frames.shape[1:], LAYOUTS[layout].width
    fits = shape == (width,) or (shape == (width // 3, 3) and layout in ("126", "225"))
    return True, frames.reshape(len(frames), -1) if fits else None


def make_features(frames, layout, preprocessor):
    """Returns (features `(L, D)`, how far off rounding may be), in double precision and as plainly as can be."""
    first, column = {}, 0
    for block, count, values in LAYOUTS[layout].blocks:
        first |= {(block, i): column + i * values for i in range(count)}
        column += count * values
    selected, length = preprocessor.selected, preprocessor.sequence_length
    with np.errstate(all="ignore"):
        xyz = np.stack([frames[:, first[point] : first[point] + 3] for point in selected], axis=1).astype(np.float32)
        xyz = np.where((np.abs(xyz) <= FARTHEST).all(axis=2, keepdims=True), xyz, np.nan)
    blocks = [np.array([block == b for b, _ in selected]) for block in dict.fromkeys(b for b, _ in selected)]
    for mine in blocks:
        xyz[np.ix_(~np.nan_to_num(xyz[:, mine]).any(axis=(1, 2)), mine)] = np.nan
    xy = xyz[:, :, :2].astype(float)
    seen = xy[~np.isnan(xy[:, :, 0])]
    centre, scale = np.zeros(2), 1.0
    if len(seen):
        centre = seen.mean(axis=0)
        scale = math.sqrt(((seen - centre) ** 2).sum(axis=1).mean())
    if LEFT_SHOULDER in selected:
        left, right = xy[:, selected.index(LEFT_SHOULDER)], xy[:, selected.index(RIGHT_SHOULDER)]
        if (both := ~np.isnan(left + right).any(axis=1)).any():
            centre = np.median((left + right)[both] / 2, axis=0)
            scale = np.median(np.hypot(*(left - right)[both].T))
    scale = max(scale, 1e-3)
    features = np.zeros(preprocessor.output_shape)
    moments = np.arange(len(xy)) if len(xy) <= length else np.linspace(0, len(xy) - 1, length)
    for row, moment in zip(features, moments, strict=False):
        a, b, share = xy[math.floor(moment)], xy[math.ceil(moment)], moment % 1
        mixed = np.where(np.isnan(a), b, np.where(np.isnan(b), a, a * (1 - share) + b * share))
        row[: mixed.size] = np.nan_to_num(np.clip((mixed - centre) / scale, -10, 10)).ravel()
        row[mixed.size :] = [*(not np.isnan(mixed[mine]).all() for mine in blocks), 1]
    return features, 1e-3 + 1e-6 * np.abs(seen).max(initial=0) / scale


def is_allowed(spec, value):
    """Whether a table's line allows a value."""
    fits = type(value) is spec.kind or (spec.kind is float and type(value) is int)
    return fits and (value in spec.choices or not spec.choices) and (spec.kind in (str, bool) or spec.low <= value <= spec.high)
