"""Keypoints of all videos in a folder: `extract_videos`, and `python -m signlib.video extract VIDEO_DIR --out FOLDER`.

Ends with status 0, also where some videos cannot be used; 1: none could, or keypoints cannot be written; 2: bad input; 130, 143
or 129: interrupted, with all keypoints of whole videos kept.
"""

import argparse
import contextlib
import pathlib
import shutil
import signal
import sys

from tqdm import tqdm

from signlib.errors import InputError, Interrupted
from signlib.files import atomic_path, say
from signlib.frames import keypoint_files
from signlib.headless import Log
from signlib.labels import LABELS_NAME
from signlib.locks import locked
from signlib.signals import handled, stop_signals
from signlib.video.holistic import LANDMARKER_HELP, Holistic
from signlib.video.reading import RATE
from signlib.video.table import NAME, ORIGIN, SETTINGS, Table
from signlib.video.videos import find_json, find_videos
from signlib.video.workers import Workers
from signlib.worker import usable_cores

FEW_HANDS = 1 / 3  # of the frames; the three WLASL videos that this was measured on have 0.48 to 0.59
SHOWN = 10  # notes and failures, of many


def extract_videos(folder, out, labels=None, rate=RATE, crop=False, workers=None, landmarker=None, signals=None):
    """Writes the keypoints of each video in `folder` to `<video_id>.npy` in `out`, `(T, 1629)` float32, and `extraction.csv`
    beside them; returns that as a DataFrame.

    labels: a WLASL json, by default the one in `folder` or beside it: see `find_videos`; it is copied to where training reads
    it. rate: rows a second. crop: look within the json's bounding boxes. workers: processes, by default one a core.
    landmarker: see `Holistic`. signals: a list that receives the signals that stopped it.

    What is done already is not done again; what failed is tried again. A script that calls this needs the guard `if __name__ ==
    "__main__"`, since it starts processes. Raises InputError where nothing can be extracted, BlockingIOError where another
    process does it just now, OSError where keypoints cannot be written, Interrupted after a signal; what is done is kept.
    """
    if not 1 <= rate <= 240 or (workers is not None and workers < 1):
        raise InputError(f"{rate:g} frames a second by {workers} workers; expected 1 to 240, and one or more")
    folder, out, signals, log = pathlib.Path(folder), pathlib.Path(out), [] if signals is None else signals, Log(sys.stderr)
    with handled(lambda signum, frame: signals.append(signum), *stop_signals()):
        labels = labels or find_json(folder)
        sources, problems, missing = find_videos(folder, labels)
        with Holistic(landmarker, rate) as holistic:  # where it cannot be used, none of the processes needs to be started
            settings = {"fps": f"{rate:g}", "cropped": str(bool(crop)), "mediapipe": holistic.version}
        out.mkdir(parents=True, exist_ok=True)
        with locked(out / NAME):
            table = Table(out)
            _check(table, settings, out)
            origins = {source.video_id: _origin(folder, source) for source in sources}
            todo = _to_do(table, sources, origins, out)
            table.write()
            if labels:
                _copy_labels(labels, out, log)
            ours = {source.video_id for source, replace in todo if replace}
            results = Workers(workers or usable_cores(), folder, out, rate, crop, landmarker).results(todo)
            bar = {"total": len(sources), "initial": len(sources) - len(todo), "unit": "video", "desc": "extract"}
            with contextlib.closing(results), tqdm(file=log, smoothing=0.05, **bar) as progress:
                for result in results:
                    if signals:
                        break
                    if result is None:
                        continue
                    source, facts = result
                    row = {"video_id": source.video_id, "status": "failed" if "failed" in facts else "done"}
                    if "failed" in facts:
                        progress.write(f"{source.video_id}: {facts['failed']}", file=log)
                        if source.video_id in ours:  # of what the video was before
                            (out / f"{source.video_id}.npy").unlink(missing_ok=True)
                        facts = {"note": facts["failed"]}
                    table.add(row | origins[source.video_id] | settings | facts)
                    progress.update()
            table.write()
    for path, problem in problems.items():
        log.write(f"{path}: {problem}\n")
    if missing:
        log.write(f"{len(missing)} ids of {labels} have no video, such as {', '.join(missing[:5])}\n")
    if signals:
        raise Interrupted(f"stopped by {signal.Signals(signals[0]).name}; started again, it goes on")
    return table.frame()


def summary(table, out):
    """Returns in words what a DataFrame of `extract_videos` says: how many videos, what failed, how often hands were found."""
    done, failed = (table[table.status == status] for status in ("done", "failed"))
    lines = [f"{len(done)} of {len(table)} videos are in {out}, {int(done.frames.sum())} frames"]
    if len(done):
        few = done[done.hands < FEW_HANDS]
        lines += [f"hands were found in {done.hands.median():.0%} of a video's frames (median)"]
        lines += [f"{len(few)} videos have them in fewer than a third, such as {', '.join(few.video_id[:5])}"] * bool(len(few))
        noted = done[done.note != ""]
        lines += [f"{video_id}: {note}" for video_id, note in zip(noted.video_id[:SHOWN], noted.note, strict=False)]
        lines += [f"... and {len(noted) - SHOWN} more with a note in {NAME}"] * (len(noted) > SHOWN)
    lines += [f"{len(failed)} could not be used:"] * bool(len(failed))
    lines += [f"  {video_id}: {note}" for video_id, note in zip(failed.video_id[:SHOWN], failed.note, strict=False)]
    lines += [f"  ... and {len(failed) - SHOWN} more in {NAME}"] * (len(failed) > SHOWN)
    return "\n".join(lines)


def _origin(folder, source):
    """What the keypoints of a source follow from, as the table holds it."""
    first, last = source.span
    size = (folder / source.path).stat().st_size
    bbox = " ".join(map(str, source.bbox))
    return dict(zip(ORIGIN, map(str, (source.path, size, first, last, f"{source.json_fps:g}", bbox)), strict=True))


def _check(table, settings, out):
    """Raises InputError where the folder holds keypoints of other settings, or of another tool."""
    for row in table.rows.values():
        for name in SETTINGS:
            if row["status"] != "failed" and row[name] != settings[name]:
                raise InputError(
                    f"{out} was extracted with {name} {row[name]}, not {settings[name]}; clips of both would not be alike. "
                    "Extract into another folder, or as before"
                )
    if not table.exists and (found := keypoint_files(out)):
        raise InputError(f"{out} holds keypoints of another tool, such as {found[0].name}; extract into another folder")


def _to_do(table, sources, origins, out):
    """[(source, whether keypoints of it may be replaced)] of what is not done. A row of another video, or of other frames of
    it, becomes outdated, so that it is known what its keypoints are even if this process is killed."""
    todo = []
    for source in sources:
        row = table.rows.get(source.video_id)
        alike = row and all(row[name] == origins[source.video_id][name] for name in ORIGIN)
        if row and row["status"] == "done" and not alike:
            row["status"] = "outdated"
        if not (alike and row["status"] == "done" and (out / f"{source.video_id}.npy").is_file()):
            todo.append((source, bool(row) and row["status"] != "failed"))
    return todo


def _copy_labels(labels, out, log):
    """The json where training looks for it: beside the keypoints' folder, or where another one is there, in it."""
    beside, inside = out.absolute().parent / LABELS_NAME, out / LABELS_NAME
    there = next((path for path in (inside, beside) if path.exists()), None)
    if there and there.read_bytes() == pathlib.Path(labels).read_bytes():
        return
    if there == inside:
        log.write(f"{inside} is another json than {labels}, and training reads that one: copy yours there, if it is right\n")
        return
    with atomic_path(inside if there else beside) as temporary:
        shutil.copyfile(labels, temporary)


def main(arguments=None):
    """`python -m signlib.video extract`. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m signlib.video extract", description="The keypoints of a folder of videos.")
    parser.add_argument("videos", metavar="VIDEO_DIR", help="the folder of the videos")
    parser.add_argument("--out", required=True, help="the folder to write <video_id>.npy to")
    parser.add_argument("--labels", help=f"WLASL's json [{LABELS_NAME} in VIDEO_DIR or beside it, if there is one]")
    parser.add_argument("--workers", type=int, help="processes at once [one a core]")
    parser.add_argument("--fps", type=float, default=RATE, help=f"frames a second that the keypoints have [{RATE:g}]")
    parser.add_argument("--bbox", action="store_true", help="look for landmarks within the json's bounding boxes alone")
    parser.add_argument("--landmarker", metavar="FILE", help=LANDMARKER_HELP)
    options = parser.parse_args(arguments)
    if options.workers is not None and not 1 <= options.workers <= 1000:
        parser.error(f"--workers is {options.workers}; expected a number from 1 to 1000")
    if not 1 <= options.fps <= 240:
        parser.error(f"--fps is {options.fps:g}; expected a number from 1 to 240")
    signals = []
    try:
        table = extract_videos(
            options.videos, options.out, options.labels, options.fps, options.bbox, options.workers, options.landmarker, signals
        )
        say(summary(table, options.out))
        return 0 if (table.status == "done").any() else 1
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Interrupted as error:
        print(error, file=sys.stderr)
        return 128 + signals[0]
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        return 1
