"""The points of clips on disk, so that no run but the first reads whole frames: `cache_points`.

python -m signlib.point_cache             lists what there is
python -m signlib.point_cache --delete    removes it, which no run notices
"""

import argparse
import contextlib
import hashlib
import json
import mmap
import os
import pathlib
import shutil
import struct
import sys
import time
import warnings
import zlib

import numpy as np

from signlib.files import atomic_path
from signlib.locks import lock_owner, locked
from signlib.project import project_path

FOLDER, SUFFIX, KEY = "runs/points", ".points", 24  # characters
CODE = ("frames.py", "landmarks.py", "preprocess.py")  # what points follow from: with another version of it they are made anew
MAPPED_BYTES = 256 << 20  # of the file count as this process's memory at most, before they are given back
SHOW_SECONDS = 5  # between two lines of progress


class PointCache:
    """`cache[video_id]` is the points `(T, P, 3)` of a clip, mapped from the file at `path`, not to be written to; each is
    checked when it is first asked for. KeyError where they are damaged, or not in it. `size`: of the file, in bytes.

    As with every mapped file, cutting it short while it is in use ends the process; deleting it does not, except from another
    machine on a network file system.
    """

    def __init__(self, path):
        self.path, self._checked, self._touched = path, set(), 0
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.size = len(self._map)  # bytes
        start, crc = struct.unpack("<QI", self._map[-12:])
        index = self._map[start:-12]
        if zlib.crc32(index) != crc:
            raise ValueError(f"{path} is damaged")
        self._landmarks, self._clips = json.loads(index)  # video_id: first byte, frames, crc32

    def __getitem__(self, video_id):
        start, frames, crc = self._clips[video_id]
        points = np.frombuffer(self._map, np.float32, frames * self._landmarks * 3, start).reshape(frames, -1, 3)
        if video_id not in self._checked:
            if zlib.crc32(points) != crc:
                del self._clips[video_id]
                warnings.warn(f"{self.path} is damaged where {video_id} stands: it is read from its own file", stacklevel=3)
                raise KeyError(video_id)
            self._checked.add(video_id)
        self._touched += points.nbytes
        if self._touched > MAPPED_BYTES and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)  # the system keeps them; they no longer count as this process's memory
            self._touched = 0
            _touch(self.path)  # it is in use: what makes room takes another
        return points


def cache_points(clips, chosen, preprocessor, limit):
    """Returns the `PointCache` of the clips `chosen` of `Clips`: from disk, where they were cached before, else made now. None
    where that is not possible, or limit is 0, and then says why.

    What is on disk is used for exactly these files, by their `stamp` and fingerprint, these clips, landmarks, and this version
    of the code. limit: bytes that all of it on disk takes at most; what was not used for longest makes room. It also leaves
    half of what is free on the disk. One process makes it, others that need the same wait for it.
    """
    if not limit:
        return None
    chosen = sorted(chosen, key=lambda clip: clip.video_id)
    path = project_path(FOLDER) / f"{_key(clips, chosen, preprocessor)}{SUFFIX}"
    size = sum(clip.num_frames for clip in chosen) * len(preprocessor.selected) * 12
    waiting = False
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with locked(path):
                cache = _open(path)
                if cache is None:
                    if why := _no_room(path.parent, size, limit):
                        print(f"points        read again in each run: on disk they take {size / 2**20:,.0f} MiB; {why}")
                        return None
                    _write(path, chosen, preprocessor)
                    cache = PointCache(path)
                _touch(path)
            break
        except BlockingIOError as error:
            if not waiting:
                print(f"points        {error.strerror}: waiting", flush=True)
            waiting = True
        except OSError as error:
            warnings.warn(f"points are not kept on disk ({error.strerror or error}): files are read again", stacklevel=2)
            return None
    print(f"points        {cache.size / 2**20:,.0f} MiB on disk, in {path}")
    return cache


def _touch(path):
    with contextlib.suppress(OSError):  # another user's, or just deleted
        os.utime(path)


def _open(path):
    """The `PointCache` at `path`, or None where there is none, or none that is whole."""
    try:
        return PointCache(path)
    except FileNotFoundError:
        return None
    except (ValueError, struct.error):
        warnings.warn(f"{path} was damaged: it is made anew", stacklevel=3)
        return None


def _key(clips, chosen, preprocessor):
    digest = hashlib.sha256(clips.stamp.encode())
    about = [preprocessor.selected, preprocessor.trim, preprocessor.aspect, clips.layout, sys.byteorder]
    digest.update(json.dumps([clips.fingerprint, [clip.video_id for clip in chosen], *about]).encode())
    for name in CODE:
        digest.update(pathlib.Path(__file__).with_name(name).read_bytes())
    return digest.hexdigest()[:KEY]


def _write(path, clips, preprocessor):
    index, start, shown = {}, 0, time.monotonic()
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        for number, clip in enumerate(clips, 1):
            points = np.ascontiguousarray(preprocessor.points(clip.read(), clip.layout))
            index[clip.video_id] = start, len(points), zlib.crc32(points)
            file.write(points)
            start += points.nbytes
            if time.monotonic() - shown > SHOW_SECONDS:
                shown = time.monotonic()
                print(f"points        {number:,} of {len(clips):,} clips read", flush=True)
        text = json.dumps([len(preprocessor.selected), index]).encode()
        file.write(text + struct.pack("<QI", start, zlib.crc32(text)))


def _no_room(folder, size, limit):
    """Removes what was not used for longest, until `size` bytes more fit within the limit. Returns why they do not, or ""."""
    if size > limit:
        return f"DISK_CACHE_MB allows {limit / 2**20:,.0f}"
    if size > (free := shutil.disk_usage(folder).free) / 2:
        return f"{free / 2**20:,.0f} are free on the disk"
    room = limit - size
    for path, stat in _files(folder):
        room -= stat.st_size
        if room < 0 or path.name.startswith("."):  # the latter is what a killed process left
            path.unlink(missing_ok=True)  # a run that has it mapped keeps it
    return ""


def _files(folder):
    """[(path, stat)] of what is on disk, last used first, with what a killed process left, without what is being made."""
    found = []
    for path in folder.glob(f"*{SUFFIX}"):
        if not lock_owner(folder / f"{path.name.strip('.')[:KEY]}{SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):  # another process removes them, too
                found.append((path, path.stat()))
    return sorted(found, key=lambda file: file[1].st_mtime, reverse=True)


def main(arguments):
    """Lists or removes what is on disk. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--delete", action="store_true", help="remove all of it")
    delete = parser.parse_args(arguments).delete
    files = _files(project_path(FOLDER))
    for path, stat in files:
        print(f"{path.name}  {stat.st_size / 2**20:8,.0f} MiB, used {time.strftime('%Y-%m-%d', time.localtime(stat.st_mtime))}")
        if delete:
            path.unlink(missing_ok=True)
    print(f"{len(files)} files{' removed' * delete} in {project_path(FOLDER)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
