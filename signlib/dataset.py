"""Which clips there are, what they mean, and who learns from them: `load_clips`, `split_clips`, `class_names`."""

import hashlib
import json
import pathlib
import warnings
from collections import Counter
from dataclasses import dataclass

import numpy as np

from signlib.errors import InputError
from signlib.landmarks import LAYOUTS, detect_layout

LABELS_NAME = "WLASL_v0.3.json"
FINGERPRINT_BYTES = 4096  # of the start and of the end of a file: a new recording differs there, and 20 GB stay unread


@dataclass(frozen=True)
class Clip:
    """One video's keypoints: a file and what the labels say of it. `signer` -1 is unknown; `split` may be empty."""

    video_id: str
    path: pathlib.Path
    gloss: str
    signer: int
    split: str
    layout: str

    def read(self):
        """Returns the frames `(T, F)` in the file's own dtype. Never unpickles. Raises InputError naming the file."""
        frames = open_frames(self.path, mmap_mode=None)
        if frames.shape[1] != LAYOUTS[self.layout].width:
            raise InputError(f"{self.path} holds {frames.shape[1]} values a frame; it was {self.layout} when listed")
        return frames

    @property
    def num_frames(self):
        """T, read from the file's header."""
        return len(open_frames(self.path))


@dataclass(frozen=True)
class Problem:
    """Something that was not used, and why. kind: "file" (it cannot be read as keypoints), "label" (its label is
    missing or contradicts itself) or "missing" (labelled, but no such file)."""

    video_id: str
    kind: str
    reason: str


class Clips(list):
    """The usable clips, sorted by video id. `.problems` lists what was not used, `.fingerprint` identifies the data."""

    def __init__(self, clips, problems, fingerprint):
        super().__init__(clips)
        self.problems, self.fingerprint = problems, fingerprint

    def find(self, video_id):
        """Returns the clip of an id; raises InputError where no usable clip has it."""
        for clip in self:
            if clip.video_id == video_id:
                return clip
        why = next((p.reason for p in self.problems if p.video_id == video_id), f"ids look like {self[0].video_id}")
        raise InputError(f"no usable clip {video_id!r}: {why}")


def load_clips(data_dir, labels=None, layout="auto", max_bad_share=0.2):
    """Returns the `Clips` of a folder of `<video_id>.npy` files and a WLASL json.

    data_dir: the folder. labels: the json; by default `WLASL_v0.3.json` in the folder or beside it.
    layout: the name of a layout, or "auto": what the frames' width says.
    max_bad_share: the largest share of files that may be unreadable, empty or of a wrong width; each one is left out and
    listed in `.problems` with its reason.

    Only headers and a few KiB of each file are read. Raises InputError, naming file and expectation, when the folder, the
    labels or too many files are unusable.
    """
    data_dir = pathlib.Path(data_dir)
    if not data_dir.is_dir():
        raise InputError(f"no data folder at {data_dir}; expected a folder of <video_id>.npy files. Set DATA to yours")
    if layout != "auto" and layout not in LAYOUTS:
        raise InputError(f"layout is {layout!r}; expected 'auto' or one of {', '.join(LAYOUTS)}")
    paths = keypoint_files(data_dir)
    if not paths:
        raise InputError(f"no .npy file in {data_dir}; expected one <video_id>.npy a video, each of shape (frames, 1629)")
    entries, problems = read_labels(labels or find_labels(data_dir))

    clips, bad, digest = [], [], hashlib.sha256()
    on_disk = set()
    for path in paths:
        video_id = path.stem
        on_disk.add(video_id)
        try:
            frames = open_frames(path)
            found = detect_layout(frames.shape[1])
            if layout not in ("auto", found):
                raise InputError(f"a frame holds {frames.shape[1]} values; layout {layout} has {LAYOUTS[layout].width}")
        except InputError as error:
            bad.append(Problem(video_id, "file", str(error).replace(f"{path} ", "")))
            continue
        if video_id not in entries:
            if not any(p.video_id == video_id for p in problems):
                problems.append(Problem(video_id, "label", "the labels do not list this id"))
            continue
        gloss, signer, split = entries[video_id]
        clips.append(Clip(video_id, path, gloss, signer, split, found))
        digest.update(json.dumps([video_id, gloss, signer, split, frames.shape, str(frames.dtype)]).encode())
        digest.update(_ends(path))
    problems = bad + problems
    problems += [Problem(v, "missing", "labelled, but there is no such file") for v in sorted(set(entries) - on_disk)]

    if len(bad) > max_bad_share * len(paths):
        examples = "; ".join(f"{p.video_id}.npy: {p.reason}" for p in bad[:3])
        raise InputError(
            f"{len(bad)} of {len(paths)} files in {data_dir} cannot be used ({examples}). Expected at most a share of "
            f"{max_bad_share:g}: mend the files, or raise MAX_BAD_SHARE to train on the rest"
        )
    if not clips:
        raise InputError(
            f"none of the {len(paths)} files in {data_dir} has a label, {paths[0].name} for one; "
            f"the labels list {', '.join(list(entries)[:3]) or 'no id'}. Set LABELS to the json of these files"
        )
    return Clips(clips, problems, digest.hexdigest())


def find_labels(data_dir):
    """Returns the path of `WLASL_v0.3.json` in a data folder or beside it; raises InputError where there is none."""
    data_dir = pathlib.Path(data_dir)
    candidates = [data_dir / LABELS_NAME, data_dir.absolute().parent / LABELS_NAME]
    for path in candidates:
        if path.is_file():
            return path
    raise InputError(f"no labels: neither {candidates[0]} nor {candidates[1]} exists. Set LABELS to your json file")


def read_labels(path):
    """Returns `({video_id: (gloss, signer, split)}, problems)` of a WLASL json. An id with two glosses is a problem and
    has no entry. Ids are strings; a whole number, as some tools rewrite them, gets back its leading zeros (five digits).
    Raises InputError naming the file and the place in it."""
    path = pathlib.Path(path)
    try:
        table = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read the labels {path}: {error.strerror}. Set LABELS to your json file") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not json ({error}); expected WLASL's list of {{gloss, instances}}") from None
    entries, conflicts = {}, {}
    if not isinstance(table, list):
        raise InputError(f"{path} holds a {type(table).__name__}; expected WLASL's list of {{gloss, instances}}")
    for row, word in enumerate(table):
        if not (isinstance(word, dict) and isinstance(word.get("gloss"), str) and isinstance(word.get("instances"), list)):
            raise InputError(f"{path}: entry {row} is not {{gloss: text, instances: list}}")
        if not word["gloss"].strip() or not word["gloss"].isprintable():
            raise InputError(f"{path}: entry {row} has the gloss {word['gloss']!r}; expected a printable text")
        for instance in word["instances"]:
            video_id = instance.get("video_id") if isinstance(instance, dict) else None
            if isinstance(video_id, bool) or not isinstance(video_id, str | int):
                raise InputError(f"{path}: an instance of gloss {word['gloss']!r} has no video_id; found {instance!r:.80}")
            video_id = f"{video_id:05d}" if isinstance(video_id, int) else video_id
            signer = str(instance.get("signer_id"))
            entry = word["gloss"], int(signer) if signer.isdecimal() else -1, str(instance.get("split") or "")
            if entries.setdefault(video_id, entry)[0] != entry[0]:
                conflicts.setdefault(video_id, {entries[video_id][0]}).add(entry[0])
            elif entry[2] == "test":  # listed twice: what is test anywhere is never trained on
                entries[video_id] = entry
    for video_id in conflicts:
        del entries[video_id]
    return entries, [
        Problem(video_id, "label", f"the labels give it {len(glosses)} glosses: {', '.join(sorted(glosses))}")
        for video_id, glosses in sorted(conflicts.items())
    ]


def split_clips(clips, strategy="stratified", validation_split=0.2, groups=None, seed=42):
    """Returns `(train, val, test)`, lists of clips. Clips that the labels mark `test` are the test set whatever the
    strategy, never trained on. Depends on the clips and the seed alone, not on their order.

    "stratified": of each gloss a share of `validation_split`, but at least one clip where it has two, and never all.
    "official": the labels' own train and val; clips of glosses without a training clip leave val.

    Warns of a setting that the strategy ignores. Raises InputError when a side would be empty.
    """
    if groups is not None:
        raise InputError("split_clips: groups are not supported yet; leave groups at None")
    clips = sorted(clips, key=lambda clip: clip.video_id)
    test = [clip for clip in clips if clip.split == "test"]
    rest = [clip for clip in clips if clip.split != "test"]
    if strategy == "stratified":
        train, val = _stratified(rest, validation_split, seed)
    elif strategy == "official":
        warnings.warn(
            f"SPLIT = 'official' takes validation clips from the labels: VALIDATION_SPLIT = {validation_split:g} "
            "is not used, nor is SEED for the split",
            stacklevel=2,
        )
        train, val = ([clip for clip in rest if clip.split == name] for name in ("train", "val"))
        if neither := len(rest) - len(train) - len(val):
            warnings.warn(f"{neither} clips are marked neither train, val nor test and are not used", stacklevel=2)
        learnt = set(class_names(train))
        if strange := [clip for clip in val if clip.gloss not in learnt]:
            glosses = ", ".join(sorted({clip.gloss for clip in strange})[:5])
            warnings.warn(f"{len(strange)} validation clips leave: no training clip of {glosses}", stacklevel=2)
            val = [clip for clip in val if clip.gloss in learnt]
    else:
        raise InputError(f"split strategy is {strategy!r}; expected 'stratified' or 'official'")
    for name, side in (("training", train), ("validation", val)):
        if not side:
            raise InputError(
                f"the {strategy} split leaves no {name} clip of {len(clips)} ({len(test)} are marked test). "
                + ("Set SPLIT to stratified" if strategy == "official" else "Bring two or more clips a gloss")
            )
    return train, val, test


def _stratified(clips, share, seed):
    by_gloss, train, val = {}, [], []
    for clip in clips:
        by_gloss.setdefault(clip.gloss, []).append(clip)
    rng = np.random.default_rng(seed)
    for gloss in sorted(by_gloss):
        members = by_gloss[gloss]
        order = rng.permutation(len(members))
        count = min(max(1, round(share * len(members))), len(members) - 1)
        val += [members[i] for i in order[:count]]
        train += [members[i] for i in order[count:]]
    return sorted(train, key=lambda c: c.video_id), sorted(val, key=lambda c: c.video_id)


def class_names(clips):
    """Returns the glosses of `clips` (the training clips), sorted: the order of the labels."""
    return sorted({clip.gloss for clip in clips})


def describe(clips, train, val, test, preprocessor):
    """Returns a few lines on the data for the log: clips, glosses, clips a gloss, lengths, missing parts, what was not
    used and why. Missing parts are looked up in 200 training clips at most, evenly spaced."""
    kinds = {kind: [p for p in clips.problems if p.kind == kind] for kind in ("file", "label", "missing")}
    per_gloss = Counter(clip.gloss for clip in train)
    lengths = sorted(clip.num_frames for clip in train)
    lost = Counter()
    looked = train[:: max(1, len(train) // 200)][:200]
    for clip in looked:
        points = preprocessor.points(clip.read(), clip.layout)
        for block, indices in preprocessor.blocks.items():
            lost[block] += np.isnan(points[:, indices, 0]).all(axis=1).mean() / len(looked)
    long = sum(length > preprocessor.sequence_length for length in lengths)
    lines = [
        f"{len(clips)} clips of {len({clip.gloss for clip in clips})} glosses, in {clips[0].path.parent}",
        f"split         {len(train)} train, {len(val)} validation, {len(test)} test (set aside)",
        f"clips a gloss {min(per_gloss.values())} to {max(per_gloss.values())} for training, {len(per_gloss)} glosses",
        f"frames a clip {lengths[0]} to {lengths[-1]}, median {lengths[len(lengths) // 2]}; {long} training clips have more "
        f"than {preprocessor.sequence_length} ({preprocessor.long_clips})",
        "missing parts " + ", ".join(f"{block} {100 * lost[block]:.0f} %" for block in preprocessor.blocks) + " of frames",
        f"not used      {len(kinds['file'])} files, {len(kinds['label'])} without a usable label; "
        f"{len(kinds['missing'])} labelled clips have no file",
    ]
    lines += [f"              {p.video_id}: {p.reason}" for p in (kinds["file"] + kinds["label"])[:10]]
    seen = {clip.signer for clip in train} - {-1}
    if shared := sum(clip.signer in seen for clip in val):
        lines.append(f"leak          {shared} of {len(val)} validation clips show a signer who is also in training: expect")
        lines.append("              less on new people")
    return "\n".join(lines)


def keypoint_files(folder):
    """Returns the paths of a folder's .npy files, sorted by video id, without hidden ones such as macOS leaves behind."""
    visible = (path for path in pathlib.Path(folder).glob("*.npy") if not path.name.startswith("."))
    return sorted(visible, key=lambda path: path.stem)


def open_frames(path, mmap_mode="r"):
    """Returns the frames `(T, F)` of a .npy file, by default mapped, not read. Never unpickles.

    Raises InputError, naming the file, where it is anything but a real (T, F) array with T > 0.
    """
    path = pathlib.Path(path)
    if path.exists() and not path.is_file():
        raise InputError(f"{path} cannot be read: not a file")  # a pipe would be waited for
    try:
        with path.open("rb") as file:
            magic = file.read(6)
        if magic != b"\x93NUMPY":
            raise InputError(f"{path} is not a .npy array" + (", but an .npz archive" if magic[:2] == b"PK" else ""))
        frames = np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except InputError:
        raise
    except Exception as error:  # NumPy's parser also lets TokenError and others through
        raise InputError(f"{path} is not a .npy array of numbers ({str(error).partition(chr(10))[0]})") from None
    if frames.dtype.kind not in "fiu":
        raise InputError(f"{path} holds values of type {frames.dtype}; expected real numbers")
    if frames.ndim != 2:
        raise InputError(f"{path} has shape {frames.shape}; expected (frames, values), such as (60, 1629)")
    if len(frames) == 0:
        raise InputError(f"{path} has no frames")
    return frames


def _ends(path):
    with path.open("rb") as file:
        start = file.read(FINGERPRINT_BYTES)
        file.seek(-min(FINGERPRINT_BYTES, path.stat().st_size), 2)
        return start + file.read()
