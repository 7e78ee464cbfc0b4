"""The keypoints of one video: `read_keypoints`."""

import math

import numpy as np

from signlib.landmarks import LAYOUTS, starts
from signlib.video import LAYOUT
from signlib.video.reading import Video

SAME_LENGTH = 0.1  # a file this close to as long as the json's span, as a share of it, holds nothing else
SHORT = 0.25  # seconds that a video may lack without a note: WLASL's json is that far off
LEAST_BOX = 32  # pixels; a smaller picture shows no signer


def read_keypoints(folder, source, holistic, rate, crop=False, each_frame=lambda: None):
    """Returns `(rows, facts)`: the keypoints `(T, 1629)` float32 of a `Source` in `folder`, `rate` rows a second, and what the
    table says of them.

    holistic: a `Holistic` that has seen no other video. crop: look for landmarks within the json's bounding box alone; their
    coordinates are those of the whole picture all the same. each_frame: see `Video`. Raises InputError naming the file.
    """
    rows, last = [], None
    with Video(folder / source.path, each_frame) as video:
        start, end, *notes = span(source, video)
        notes += [source.note] * bool(source.note)
        box = _box(source.bbox, video) if crop else None
        if crop and not box:
            notes.append("no bounding box within the picture: looked for landmarks in all of it")
        for _, image in video.frames(rate, start, end):
            if image is not last:
                row = _of_whole(holistic(_cut(image, box)), box, image) if box else holistic(image)
            last = image
            rows.append(row)
        wanted = video.promised if end == math.inf else end
        if video.seconds < wanted - SHORT:
            notes.append(f"frames are there to {video.seconds:.2f} s only, of {wanted:.2f} s")
    rows = np.array(rows, np.float32)
    found = shares(rows)
    if not any(found.values()):
        notes.append("nobody was found in any frame")
    facts = {
        "video_fps": round(video.rate, 3) if video.read > 1 else "",
        "width": video.width,
        "height": video.height,
        "frames": len(rows),
    }
    return rows, facts | found | {"note": "; ".join(notes)}


def span(source, video):
    """Returns (start, end) of a source's clip in seconds of its `Video`, and where it is not what the json says a third value,
    which says why: WLASL's own scripts and its mirrors leave files that are cut to the json's frames already."""
    start, end = source.seconds
    length = end - start
    ends_early = video.promised < end - SHORT and abs(video.promised - length) < SAME_LENGTH * length
    if start > 0 and video.promised and (start >= video.promised or ends_early):
        return 0.0, math.inf, f"taken as a whole: the file is {video.promised:.1f} s long, so already cut to the json's frames"
    return start, end


def shares(rows):
    """Returns {part: share of the frames `(T, 1629)` in which it was found}: pose, face, left_hand, right_hand, and hands, one
    of them or both."""
    first = starts(LAYOUTS[LAYOUT].blocks)
    seen = {
        block: rows[:, first[block][0] : first[block][0] + count * values].any(axis=1)
        for block, count, values in LAYOUTS[LAYOUT].blocks
    }
    seen["hands"] = seen["left_hand"] | seen["right_hand"]
    return {part: round(float(found.mean()), 4) for part, found in seen.items()}


def _box(bbox, video):
    """(left, top, right, bottom) within the picture; None where little of the box is in it."""
    if not bbox:
        return None
    left, top, right, bottom = max(bbox[0], 0), max(bbox[1], 0), min(bbox[2], video.width), min(bbox[3], video.height)
    return (left, top, right, bottom) if min(right - left, bottom - top) >= LEAST_BOX else None


def _cut(image, box):
    left, top, right, bottom = box
    return np.ascontiguousarray(image[top:bottom, left:right])


def _of_whole(row, box, image):
    """The row of a part of the picture in coordinates of all of it: x and z in its width, y in its height."""
    height, width = image.shape[:2]
    left, top, right, bottom = box
    points = row.reshape(-1, 3)
    size = np.array([(right - left) / width, (bottom - top) / height, (right - left) / width])
    moved = points * size + [left / width, top / height, 0]
    return np.where(points.any(axis=1, keepdims=True), moved, 0).astype(np.float32).ravel()
