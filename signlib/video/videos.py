"""Which videos a folder holds, and which seconds of them a WLASL json means: `find_videos`."""

import json
import os
import pathlib
import re
from dataclasses import dataclass

from signlib.errors import InputError
from signlib.files import is_folder
from signlib.labels import LABELS_NAME, read_labels
from signlib.video.reading import EXTENSIONS, RATE


@dataclass(frozen=True)
class Source:
    """Where the frames of a clip are. path: of the video, relative to its folder. span: its first and last frame as the json
    counts them, from 1, the last one included and -1 to the end. json_fps: frames a second that they are counted at. bbox: of
    the signer, (left, top, right, bottom) in pixels, or empty. note: what of the json could not be used, or empty."""

    video_id: str
    path: str
    span: tuple = (1, -1)
    json_fps: float = RATE
    bbox: tuple = ()
    note: str = ""

    @property
    def seconds(self):
        """(start, end) of the span in seconds of the file; end is infinite where the span goes to the end of it."""
        first, last = self.span
        return (first - 1) / self.json_fps, last / self.json_fps if last > 0 else float("inf")


def find_videos(folder, labels=None):
    """Returns `([Source], {path or id: why it is not used}, labelled ids without a video)` of the videos in a folder and the
    folders in it, sorted.

    With labels, a WLASL json, a clip is named after its video id: the video of that name, or, as WLASL's raw downloads are, of
    the id in the url of a YouTube video, of which several clips may be cut. A video that the json does not list is a clip as a
    whole. Without labels a clip is named as its video is, within its folder if that has one, such as `book/00123`.

    Raises InputError where there is no folder, no video, or the json cannot be used.
    """
    folder = pathlib.Path(folder)
    if not is_folder(folder):
        raise InputError(f"no folder of videos at {folder}")
    videos, problems = _walk(folder)
    if not videos and not problems:
        raise InputError(f"no video in {folder}; expected files that end in {', '.join(sorted(EXTENSIONS))}")
    named = {}
    for path in videos:
        name = path.stem if labels else path.with_suffix("").as_posix()
        if name in named:
            problems[path.as_posix()] = f"{named[name]} has the same name: rename one of them, or move it away"
        named.setdefault(name, path.as_posix())
    if not labels:
        return [Source(name, path) for name, path in named.items()], problems, []
    read_labels(labels)  # it says what is wrong with the json
    sources, missing = {}, []
    for instance in (i for word in json.loads(pathlib.Path(labels).read_bytes()) for i in word["instances"]):
        video_id = instance["video_id"]
        video_id = f"{video_id:05d}" if isinstance(video_id, int) else video_id
        path = named.get(video_id) or named.get(_youtube(instance.get("url")))
        if path and (not video_id or pathlib.Path(video_id).name != video_id or video_id.startswith(".")):
            problems[video_id] = f"{labels} names a clip {video_id!r}, which is no name of a file"
        elif path:
            sources.setdefault(video_id, Source(video_id, path, **_places(instance)))
        else:
            missing.append(video_id)
    used = {source.path for source in sources.values()}
    sources |= {name: Source(name, path) for name, path in named.items() if path not in used}
    return [sources[name] for name in sorted(sources)], problems, sorted(set(missing))


def find_json(folder):
    """Returns the `WLASL_v0.3.json` in a folder of videos or beside it; None where there is none."""
    folder = pathlib.Path(folder)
    return next((path for p in (folder, folder.absolute().parent) if (path := p / LABELS_NAME).is_file()), None)


def _walk(folder):
    """(paths of the videos, relative to the folder and sorted; {path: why it cannot be used}). No folder is entered twice."""
    found, problems, seen = [], {}, set()

    def unreadable(error):
        problems[os.path.relpath(error.filename, folder)] = f"cannot be read: {error.strerror}"

    for place, folders, files in os.walk(folder, onerror=unreadable, followlinks=True):
        seen.add(os.path.realpath(place))
        inner = [name for name in folders if not name.startswith(".")]
        folders[:] = [name for name in inner if os.path.realpath(pathlib.Path(place, name)) not in seen]
        for name in files:
            path = pathlib.Path(place, name).relative_to(folder)
            if path.suffix.lower() not in EXTENSIONS or name.startswith("."):
                continue
            try:
                (folder / path).stat()
                if any(ord(letter) < ord(" ") for letter in path.as_posix().encode().decode()):
                    problems[ascii(path.as_posix())] = "its name holds a line break or the like: rename it"
                    continue
                found.append(path)
            except OSError as error:
                problems[path.as_posix()] = f"cannot be read: {error.strerror}"
            except UnicodeEncodeError:
                problems[ascii(path.as_posix())] = "its name is not UTF-8: rename it"
    return sorted(found), problems


def _youtube(url):
    """The id of a YouTube video, by which WLASL's downloads of whole videos are named."""
    found = re.search(r"(?:youtube\.com/.*v=|youtu\.be/)([\w-]{11})", url) if isinstance(url, str) else None
    return found and found[1]


def _places(instance):
    """{field of a `Source`: value} that an instance names; what it names and cannot be meant is left out, with a note."""
    found, notes = {}, []
    span = [_number(instance.get(name, default)) for name, default in (("frame_start", 1), ("frame_end", -1))]
    if None not in span and span[0] >= 1 and (span[1] == -1 or span[1] >= span[0]):
        found["span"] = int(span[0]), int(span[1])
    else:
        given = f"{instance.get('frame_start')!r} to {instance.get('frame_end')!r}"
        notes.append(f"the json's frames {given} are none that count from 1: taken as a whole")
    rate = _number(instance.get("fps", RATE))
    if rate is not None and 1 <= rate <= 240:
        found["json_fps"] = rate
    else:
        notes.append(f"the json's fps {instance['fps']!r} is none: taken for {RATE:g}")
    bbox = instance.get("bbox")
    bbox = [_number(value) for value in bbox] if isinstance(bbox, list) and len(bbox) == 4 else [None]
    if None not in bbox and bbox[2] > bbox[0] and bbox[3] > bbox[1]:
        found["bbox"] = tuple(int(value) for value in bbox)
    return found | {"note": "; ".join(notes)}


def _number(value):
    """A number, also where it is written as text; None for anything else."""
    try:
        number = None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None
    return number if number is not None and abs(number) < 1e9 else None
