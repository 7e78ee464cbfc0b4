"""Which videos a folder holds, and which seconds of them a WLASL json means: `find_videos`."""

import json
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
    the signer, (left, top, right, bottom) in pixels, or empty."""

    video_id: str
    path: str
    span: tuple = (1, -1)
    json_fps: float = RATE
    bbox: tuple = ()

    @property
    def seconds(self):
        """(start, end) of the span in seconds of the file; end is infinite where the span goes to the end of it."""
        first, last = self.span
        return (first - 1) / self.json_fps, last / self.json_fps if last > 0 else float("inf")


def find_videos(folder, labels=None):
    """Returns `([Source], {video_id or path: why it is not used}, labelled ids without a video)` of the videos in a folder and
    the folders in it, sorted.

    With labels, a WLASL json, a clip is named after its video id: the video of that name, or, as WLASL's raw downloads are, of
    the id in the url of a YouTube video, of which several clips may be cut. A video that the json does not list is a clip as a
    whole. Without labels a clip is named as its video is, within its folder if that has one, such as `book/00123`.

    Raises InputError where there is no folder, no video, or the json cannot be used.
    """
    folder = pathlib.Path(folder)
    if not is_folder(folder):
        raise InputError(f"no folder of videos at {folder}")
    paths = (path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS and path.is_file())
    videos = sorted(path.relative_to(folder) for path in paths)
    videos = [path for path in videos if not any(part.startswith(".") for part in path.parts)]
    if not videos:
        raise InputError(f"no video in {folder}; expected files that end in {', '.join(sorted(EXTENSIONS))}")
    named, problems = {}, {}
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
        if path := named.get(video_id) or named.get(_youtube(instance.get("url"))):
            sources.setdefault(video_id, Source(video_id, path, *_span(instance), _bbox(instance)))
        else:
            missing.append(video_id)
    used = {source.path for source in sources.values()}
    sources |= {name: Source(name, path) for name, path in named.items() if path not in used}
    return [sources[name] for name in sorted(sources)], problems, sorted(set(missing))


def find_json(folder):
    """Returns the `WLASL_v0.3.json` in a folder of videos or beside it; None where there is none."""
    folder = pathlib.Path(folder)
    return next((path for p in (folder, folder.absolute().parent) if (path := p / LABELS_NAME).is_file()), None)


def _youtube(url):
    """The id of a YouTube video, by which WLASL's downloads of whole videos are named."""
    found = re.search(r"(?:youtube\.com/.*v=|youtu\.be/)([\w-]{11})", url) if isinstance(url, str) else None
    return found and found[1]


def _numbers(values):
    """The numbers of a list; None where one is no finite number."""
    fit = all(isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < 1e9 for v in values)
    return [float(v) for v in values] if fit else None


def _span(instance):
    """((first, last), rate) of an instance; of one that names no usable frames, the whole video."""
    span = _numbers([instance.get("frame_start", 1), instance.get("frame_end", -1)])
    rate = _numbers([instance.get("fps", RATE)])
    first, last = (int(v) for v in span) if span else (1, -1)
    if first < 1 or 0 < last < first:
        first, last = 1, -1
    return (first, last if last > 0 else -1), rate[0] if rate and 1 <= rate[0] <= 240 else RATE


def _bbox(instance):
    bbox = instance.get("bbox")
    bbox = _numbers(bbox) if isinstance(bbox, list) and len(bbox) == 4 else None
    return tuple(int(v) for v in bbox) if bbox and bbox[2] > bbox[0] and bbox[3] > bbox[1] else ()
