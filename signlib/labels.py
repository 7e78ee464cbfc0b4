"""Which clips a folder holds and what each means: by a WLASL json, or by the names of folders."""

import errno
import json
import pathlib
import re
from dataclasses import dataclass
from typing import NamedTuple

from signlib.errors import InputError
from signlib.files import is_folder
from signlib.frames import holds_files, keypoint_files, keypoint_folders, visible_folders

LABELS_NAME = "WLASL_v0.3.json"
SPLIT_NAMES = dict.fromkeys(["train", "training"], "train") | dict.fromkeys(["test", "testing"], "test")
SPLIT_NAMES |= dict.fromkeys(["val", "valid", "validation", "dev"], "val")
UNKNOWN_SIGNERS = {"", "unknown", "none", "null", "nan", "n/a", "?"}
FORMS = (
    f"expected <video_id>.npy files with a {LABELS_NAME} in or beside their folder, or a folder a gloss (<gloss>/<clip>.npy), "
    "or one frame a file (<gloss>/<sequence>/<frame>.npy)"
)


class Label(NamedTuple):
    """What the labels say of a clip. signer: a number or a name, -1 is unknown. split: "train", "val", "test", something
    else or empty. source: who recorded it, or empty. recording: (url, first frame, last frame), or empty."""

    gloss: str
    signer: int | str = -1
    split: str = ""
    source: str = ""
    recording: tuple = ()


@dataclass(frozen=True)
class Problem:
    """Something that was not used, and why, or is odd. kind: "file" (it cannot be read as keypoints), "layout" (its frames
    hold another layout than the rest), "label" (the labels give it two glosses), "unlisted" (they do not list it),
    "missing" (labelled, but no such file), "audit" (see `apply_audit`) or "listed twice" (which does not keep it from being
    used)."""

    video_id: str
    kind: str
    reason: str


def find_clips(data_dir, labels=None):
    """Returns `(folder, {video_id: path}, {video_id: Label}, problems)` of a data folder in one of three
    forms, told apart by where its .npy files lie:

    - `<video_id>.npy`, with `labels`, or else a `WLASL_v0.3.json` in the folder or beside it;
    - `<gloss>/<clip>.npy`: the id is `gloss/clip`;
    - `<gloss>/<sequence>/<frame>.npy`, one frame a file: the id is `gloss/sequence`, the path that folder.

    Where the folder holds nothing but one folder of these, that one is meant: `folder` says which. Nothing but names is
    read. Raises InputError, with what was found and what to rename, for anything else.
    """
    folder = pathlib.Path(data_dir)
    if not is_folder(folder):
        raise InputError(f"no data folder at {folder}; {FORMS}. Set DATA to yours")
    while not (files := keypoint_files(folder)) and len(parts := keypoint_folders(folder)) == 1:
        folder = parts[0]
    if files:
        entries, problems = read_labels(labels or find_labels(folder, one_gloss=folder != pathlib.Path(data_dir)))
        return folder, {path.stem: path for path in files}, entries, problems
    if not parts:
        raise InputError(f"no .npy file in {data_dir}; {FORMS}")

    named = ", ".join(part.name for part in parts[:5])
    json_file = labels or (folder / LABELS_NAME if (folder / LABELS_NAME).is_file() else None)
    if json_file:
        raise InputError(
            f"{json_file} names <video_id>.npy files, but {folder} has none: the .npy files lie in its folders {named}. "
            "Set DATA to one of these; or, if they are named after glosses, move the json away and leave LABELS empty"
        )
    if {part.name.lower() for part in parts} <= SPLIT_NAMES.keys():
        raise InputError(
            f"{folder} holds folders that are named after splits: {named}. Expected folders named after glosses: set DATA to "
            f"one of them, such as {max(parts, key=lambda part: 'train' in part.name.lower())}"
        )
    if strange := [part.name for part in parts if not part.name.isprintable()]:
        raise InputError(f"{folder} holds a folder named {strange[0]!a}; expected a printable gloss: rename it")
    inner = {part: keypoint_folders(part) for part in parts}
    flat = [part for part in parts if holds_files(part)]
    nested = [part for part in parts if inner[part]]
    if flat and nested:
        raise InputError(
            f"{folder} mixes two forms: {flat[0].name} holds .npy files, {nested[-1].name} holds folders of them; {FORMS}. "
            "Move away what is no gloss"
        )
    if deep := [path for part in nested for path in inner[part] if not holds_files(path)]:
        raise InputError(
            f"{deep[0]} holds no .npy files but folders of them, one level more than expected; {FORMS}. Set DATA to "
            f"{deep[0].parent}, if its folders are named after glosses; or move up what lies in {deep[0]}"
        )
    clips = {part: keypoint_files(part) for part in parts} if flat else inner
    paths = {f"{part.name}/{path.stem if flat else path.name}": path for part in parts for path in clips[part]}
    entries = {video_id: Label(video_id.partition("/")[0]) for video_id in paths}
    sequences = [] if flat else [f"{part.name}/{path.name}" for part in parts for path in visible_folders(part)]
    empty = [Problem(s, "missing", "its folder holds no .npy file") for s in sorted(sequences) if s not in paths]
    return folder, paths, entries, empty


def readable(text):
    """Returns a text with escapes for what is none and nothing could print: the bytes of a file name that are not UTF-8, or
    half a surrogate pair, which a json can hold."""
    return text.encode(errors="backslashreplace").decode()


def _signer(value):
    """A signer's number or name; -1 where the labels give neither. 7, 7.0 and "7" are one signer."""
    text = str(value).strip() if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    if re.fullmatch(r"-?\d{1,15}(\.0*)?", text):
        return max(int(text.partition(".")[0]), -1)
    return -1 if text.lower() in UNKNOWN_SIGNERS or isinstance(value, float) else readable(text)


def find_labels(data_dir, one_gloss=False):
    """Returns the path of `WLASL_v0.3.json` in a data folder or beside it; raises InputError where there is none, naming
    what else there is. one_gloss: the folder may be that of a gloss, the only one, which the error then says."""
    data_dir = pathlib.Path(data_dir)
    places = [data_dir, data_dir.absolute().parent]
    for place in places:
        if (place / LABELS_NAME).is_file():
            return place / LABELS_NAME
    others = [path for place in places for path in sorted(place.glob("*.json")) if not path.name.startswith(".")]
    advice = f"Set LABELS to your json, if it is {others[0]}" if len(others) == 1 else "Set LABELS to your json"
    if one_gloss:
        without = f"if {data_dir.name} is a gloss, put the folder of a second one beside it"
    elif glosses := keypoint_folders(data_dir):
        without = f"if {glosses[0].name} is a gloss, move {keypoint_files(data_dir)[0].name} out of {data_dir}"
    else:
        without = f"without one, sort the files into a folder a gloss: {data_dir}/<gloss>/<clip>.npy"
    raise InputError(
        f"no labels: neither {places[0] / LABELS_NAME} nor {places[1] / LABELS_NAME} exists. {advice}; or, {without}"
    )


def read_labels(path):
    """Returns `({video_id: Label}, problems)` of a WLASL json. An id with two glosses is a problem and has no entry; one that
    is listed twice with one gloss is both. Ids are strings; a whole number, as some tools rewrite them, gets back its leading
    zeros (five digits). Raises InputError naming the file and the place in it."""
    path = pathlib.Path(path)
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise OSError(errno.EINVAL, "not a file")  # a pipe would be waited for
        table = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read the labels {path}: {error.strerror}. Set LABELS to your json file") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not json ({error}); expected WLASL's list of {{gloss, instances}}") from None
    entries, listed = {}, {}
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
            split = str(instance.get("split") or "").strip().lower()
            label = Label(
                word["gloss"],
                _signer(instance.get("signer_id")),
                SPLIT_NAMES.get(split, split),
                instance["source"].strip() if isinstance(instance.get("source"), str) else "",
                _recording(instance),
            )
            listed.setdefault(video_id, []).append(label)
            if label.split == "test":  # listed twice: what is test anywhere is never trained on
                entries[video_id] = label
            entries.setdefault(video_id, label)
    problems = []
    for video_id, labels in sorted((v, labels) for v, labels in listed.items() if len(labels) > 1):
        glosses, splits = (sorted(set(values)) for values in ([m.gloss for m in labels], [m.split or "none" for m in labels]))
        if len(glosses) > 1:
            del entries[video_id]
            problems.append(Problem(video_id, "label", f"the labels give it {len(glosses)} glosses: {', '.join(glosses)}"))
        else:
            problems.append(Problem(video_id, "listed twice", f"{len(labels)} times, as {', '.join(splits)}"))
    return entries, problems


def _recording(instance):
    url, *span = (instance.get(name) for name in ("url", "frame_start", "frame_end"))
    known = isinstance(url, str) and "://" in url and all(re.fullmatch(r"-?\d{1,9}(\.0*)?", str(frame)) for frame in span)
    return (url.strip(), *(int(float(frame)) for frame in span)) if known else ()  # several signs may be cut from one url
