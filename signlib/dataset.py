"""Which clips there are and what they hold: `load_clips`, `choose_glosses`, `class_names`, `describe`."""

import copy
import difflib
import hashlib
import json
import pathlib
import re
import statistics
from collections import Counter
from dataclasses import dataclass

import numpy as np

from signlib.agreement import check_layout
from signlib.errors import InputError
from signlib.files import is_folder
from signlib.frames import file_ends, keypoint_files, open_frames
from signlib.labels import Problem, find_clips, readable
from signlib.landmarks import LAYOUTS, detect_layout

FINGERPRINT_BYTES = 4096  # of the start and of the end of a clip: a new recording differs there, and 20 GB stay unread
CHECKED_CLIPS, CHECKED_FRAMES = 30, 300  # are looked at to see whether the layout is right; all of them stay in memory


@dataclass(frozen=True)
class Clip:
    """One video's keypoints: a file, or a folder of one file a frame, and what the labels say of it: see `labels.Label`.
    num_frames: T, when it was listed."""

    video_id: str
    path: pathlib.Path
    gloss: str
    signer: int | str
    split: str
    layout: str
    recording: tuple = ()
    num_frames: int = 0

    def read(self):
        """Returns the frames `(T, F)` in the file's own dtype. Never unpickles. Raises InputError naming the file."""
        frames = open_frames(self.path, mmap_mode=None)
        if not LAYOUTS[self.layout].fits(frames.shape[1:]):
            raise InputError(f"{self.path} holds frames of shape {frames.shape[1:]}; they were {self.layout} when listed")
        return frames.reshape(len(frames), -1)


class Clips(list):
    """The usable clips, sorted by video id. `.folder` holds them, `.layout` is what their frames hold, `.problems` lists
    what was not used, `.fingerprint` identifies the data, `.labels` is {video_id: Label} of all that the labels list, `.paths`
    {video_id: path} of all files."""

    def __init__(self, clips, folder, layout, problems, fingerprint, labels=None, paths=None):
        super().__init__(clips)
        self.folder, self.layout, self.problems, self.fingerprint = folder, layout, problems, fingerprint
        self.labels, self.paths = labels or {}, paths or {}

    def keep(self, wanted, problems=()):
        """Returns the `Clips` for which `wanted(clip)` is true, and `problems` more; everything else as it is."""
        kept = copy.copy(self)
        kept[:] = filter(wanted, self)
        kept.problems = [*self.problems, *problems]
        return kept

    @property
    def stamp(self):
        """A digest of sizes and times of all files and of what is wrong with them: other than the fingerprint, which is of the
        ends of the usable ones, it changes with every change of a file."""
        files = [
            path for place in self.paths.values() for path in (place, *(keypoint_files(place) if is_folder(place) else ()))
        ]
        digest = hashlib.sha256(json.dumps(sorted([p.video_id, p.kind] for p in self.problems)).encode())
        for path in sorted(files):
            if path.exists():
                digest.update(f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}".encode(errors="backslashreplace"))
        return digest.hexdigest()

    def find(self, video_id):
        """Returns the clip of an id; raises InputError where no usable clip has it."""
        for clip in self:
            if clip.video_id == video_id:
                return clip
        why = next((p.reason for p in self.problems if p.video_id == video_id), f"ids look like {self[0].video_id}")
        raise InputError(f"no usable clip {video_id!r}: {why}")


def load_clips(data_dir, labels=None, layout="auto", max_bad_share=0.2):
    """Returns the `Clips` of a folder in any form that `labels.find_clips` knows.

    labels: the json of a flat folder; by default `WLASL_v0.3.json` in it or beside it.
    layout: the name of a layout, or "auto": what the frames of most files hold, by their shape. Either is held against
    some of the clips: see `agreement.check_layout`.
    max_bad_share: the largest share of files that may be unreadable, empty or of another layout; each one is left out and
    listed in `.problems` with its reason.

    Of a file only the header and a few KiB are read, one frame a file is read whole. Raises InputError, naming file and
    expectation, when the folder, the labels, the layout or too many files are unusable.
    """
    if layout != "auto" and layout not in LAYOUTS:
        raise InputError(f"layout is {layout!r}; expected 'auto' or one of {', '.join(LAYOUTS)}")
    folder, paths, entries, problems = find_clips(data_dir, labels)
    bad, read = [], {}
    for video_id, path in sorted(paths.items()):
        kind = "file"
        try:
            if readable(video_id) != video_id:
                raise InputError(f"{path} has a name that is not UTF-8; rename it")
            frames, kind = open_frames(path), "layout"
            read[video_id] = frames.shape, str(frames.dtype), detect_layout(frames.shape[1:])
        except InputError as error:
            bad.append(Problem(video_id, kind, str(error).replace(f"{path} ", "").replace(f"{path}/", "")))
    guessed = layout == "auto"
    if guessed and read:
        layout = Counter(found for _, _, found in read.values()).most_common(1)[0][0]

    clips, digest = [], hashlib.sha256()
    for video_id, (shape, dtype, found) in read.items():
        if found != layout if guessed else not LAYOUTS[layout].fits(shape[1:]):
            which = f"most files hold {layout}" if guessed else f"LAYOUT is {layout}"
            bad.append(Problem(video_id, "layout", f"frames of shape {shape[1:]}, which is layout {found}; {which}"))
        elif video_id in entries:
            label = entries[video_id]
            clips.append(Clip(video_id, paths[video_id], *label[:3], layout, label.recording, shape[0]))
            digest.update(json.dumps([video_id, label, layout, shape, dtype]).encode())
            digest.update(file_ends(paths[video_id], FINGERPRINT_BYTES))
        elif not any(p.video_id == video_id for p in problems):
            problems.append(Problem(video_id, "unlisted", "the labels do not list this id"))
    problems = bad + problems
    problems += [Problem(v, "missing", "labelled, but there is no such file") for v in sorted(set(entries) - set(paths))]
    problems = [Problem(readable(p.video_id), p.kind, readable(p.reason)) for p in problems]

    if len(bad) > max_bad_share * len(paths) or len(bad) == len(paths):
        kinds = {re.sub(r"\d", "", p.reason): p for p in reversed(bad)}
        examples = "; ".join(f"{p.video_id}: {p.reason}" for p in list(kinds.values())[:-4:-1])
        if len(bad) == len(paths):
            hint = f". If {folder.name} is a gloss, put a second one beside it" if folder != pathlib.Path(data_dir) else ""
            raise InputError(f"none of the {len(paths)} clips in {folder} can be used ({examples}){hint}")
        raise InputError(
            f"{len(bad)} of {len(paths)} files in {folder} cannot be used ({examples}). Expected at most a share of "
            f"{max_bad_share:g}: mend the files, or raise MAX_BAD_SHARE to train on the rest"
        )
    if not clips:
        raise InputError(
            f"none of the {len(paths)} files in {folder} has a label, {next(iter(paths.values())).name} for one; "
            f"the labels list {', '.join(list(entries)[:3]) or 'no id'}. Set LABELS to the json of these files"
        )
    looked_at = {clip.video_id: clip.read()[:CHECKED_FRAMES].copy() for clip in clips[:: -(-len(clips) // CHECKED_CLIPS)]}
    check_layout(looked_at, layout, guessed, max_bad_share)
    return Clips(clips, folder, layout, problems, digest.hexdigest(), entries, paths)


def choose_glosses(clips, glosses="", max_glosses=0, min_clips=1, strict=True):
    """Returns the `Clips` of some glosses only, everything else as it was.

    glosses: their names, separated by commas; empty: all. min_clips: leave out glosses with fewer usable clips, test ones
    included. max_glosses: of the rest the N with most clips, ties by name; 0: all. Raises InputError for a gloss without
    a usable clip, and where none remains, or, if `strict`, one alone.
    """
    counts = Counter(clip.gloss for clip in clips)
    named = [name.strip() for name in glosses.split(",") if name.strip()] or list(counts)
    if unknown := [name for name in named if name not in counts]:
        lower = {name.lower(): name for name in counts}
        close = [lower[name] for name in difflib.get_close_matches(unknown[0].lower(), lower, 3)] or list(counts)[:3]
        raise InputError(f"GLOSSES: no usable clip of {unknown[0]!r}; there are such of {', '.join(close)}")
    enough = sorted((name for name in set(named) if counts[name] >= min_clips), key=lambda name: (-counts[name], name))
    chosen = set(enough[: max_glosses or None])
    if len(chosen) < 1 + strict:
        raise InputError(
            f"{len(chosen)} of {len(counts)} glosses chosen by GLOSSES = {glosses!r}, MIN_CLIPS = {min_clips} and MAX_GLOSSES "
            f"= {max_glosses}; expected {'two' if strict else 'one'} or more. The glosses have {min(counts.values())} to "
            f"{max(counts.values())} clips"
        )
    return clips.keep(lambda clip: clip.gloss in chosen)


def gloss_counts(clips, numbers=(5, 10, 25, 50, 100, 200, 300, 500, 1000, 2000)):
    """Returns a DataFrame, a row for each of `numbers` that there are glosses for, and one for all of them: `glosses`, those
    with most clips as MAX_GLOSSES takes them; `clips` of them together; `fewest`, `median` and `most` clips a gloss."""
    import pandas as pd

    counts = sorted(Counter(clip.gloss for clip in clips).values(), reverse=True)
    chosen = [counts[:n] for n in sorted({*numbers, len(counts)}) if 0 < n <= len(counts)]
    rows = [(len(some), sum(some), some[-1], statistics.median(some), some[0]) for some in chosen]
    return pd.DataFrame(rows, columns=["glosses", "clips", "fewest", "median", "most"])


def class_names(clips):
    """Returns the glosses of `clips` (the training clips), sorted: the order of the labels."""
    return sorted({clip.gloss for clip in clips})


def describe(clips, train, val, test, preprocessor):
    """Returns a few lines on the data for the log: clips, glosses, clips a gloss, lengths, missing parts, what was not
    used and why. Missing parts are looked up in 200 training clips at most, evenly spaced."""
    kinds = ("file", "layout"), ("label", "unlisted"), ("missing",), ("audit",)
    files, labels, missing_files, audited = ([p for p in clips.problems if p.kind in some] for some in kinds)
    per_gloss = Counter(clip.gloss for clip in train)
    lengths = sorted(clip.num_frames for clip in train)
    lost = Counter()
    looked = train[:: max(1, len(train) // 200)][:200]
    for clip in looked:
        points = preprocessor.points(clip.read(), clip.layout)
        for block, indices in preprocessor.blocks.items():
            lost[block] += np.isnan(points[:, indices, 0]).all(axis=1).mean() / len(looked)
    parts = ", ".join(f"{block} {len(indices)}" for block, indices in preprocessor.blocks.items()).replace("_", " ")
    missing = ", ".join(f"{block} {100 * lost[block]:.0f} %" for block in preprocessor.blocks).replace("_", " ")
    long = sum(length > preprocessor.sequence_length for length in lengths)
    lines = [
        f"{len(clips)} clips of {len({clip.gloss for clip in clips})} glosses, in {clips.folder}",
        f"layout        {clips.layout}; {len(preprocessor.selected)} landmarks a frame are used: {parts}",
        f"split         {len(train)} train, {len(val)} validation, {len(test)} test (set aside)",
        f"clips a gloss {min(per_gloss.values())} to {max(per_gloss.values())} for training, {len(per_gloss)} glosses",
        f"frames a clip {lengths[0]} to {lengths[-1]}, median {lengths[len(lengths) // 2]}; {long} training clips have more "
        f"than {preprocessor.sequence_length} ({preprocessor.long_clips})",
        f"missing parts {missing} of frames",
        f"not used      {len(files)} files, {len(labels)} without a usable label, {len(audited)} that the audit left out; "
        f"{len(missing_files)} labelled clips have no file",
    ]
    lines += [f"              {p.video_id}: {p.reason}" for p in (files + labels)[:10]]
    seen = {clip.signer for clip in train} - {-1}
    for name, side in (("validation", val), ("test", test)):
        if shared := sum(clip.signer in seen for clip in side):
            lines.append(f"leak          {shared} of {len(side)} {name} clips show a signer who is also in training: expect")
            lines.append("              less on new people")
    if unknown := sum(clip.signer == -1 for clip in train + val):
        lines.append(
            f"leak          unknown: {unknown} of {len(train) + len(val)} clips name no signer, so nobody can say whether"
        )
        lines.append("              those who judge show people who are also in training: expect less on new ones")
    return "\n".join(lines)
