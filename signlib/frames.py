"""The frames of one clip on disk: a .npy file of many frames, or a folder of .npy files of one frame each."""

import contextlib
import pathlib
import re

import numpy as np

from signlib.errors import InputError
from signlib.files import is_folder


def keypoint_files(folder):
    """Returns the paths of a folder's .npy files, sorted by video id, without hidden ones such as macOS leaves behind."""
    return sorted(_visible(folder, "*.npy"), key=lambda path: path.stem)


def holds_files(folder):
    """Returns whether a folder itself holds such files; where there are many, sooner than `keypoint_files` does."""
    return next(_visible(folder, "*.npy"), None) is not None


def visible_folders(folder):
    """Returns the paths of the folders in `folder`, without hidden ones and those that are named as files are."""
    return [path for path in _visible(folder, "*") if path.suffix != ".npy" and path.is_dir()]


def keypoint_folders(folder, depth=4):
    """Returns the visible folders in `folder` that hold .npy files, at most `depth` levels down; sorted by name."""
    inner = visible_folders(folder)
    return sorted(path for path in inner if holds_files(path) or (depth > 1 and keypoint_folders(path, depth - 1)))


def clip_paths(folder):
    """Returns {id: path} of the clips in a folder, and in the folders in it as `folder/id`; empty where the folder is a clip
    itself, of one frame a file, holds none, or is named as a file is."""
    if pathlib.Path(folder).suffix == ".npy":
        return {}
    if files := keypoint_files(folder):
        return {} if _are_frames(files) else {path.stem: path for path in files}
    found = {}
    for inner in keypoint_folders(folder):
        clips = clip_paths(inner)
        found |= {f"{inner.name}/{name}": path for name, path in clips.items()} or {inner.name: inner}
    return found


def each_clip(path):
    """Returns the paths of the clips at `path`: those in a folder of clips, or else itself."""
    return list(clip_paths(path).values() if is_folder(path) else ()) or [pathlib.Path(path)]


def frame_files(folder):
    """Returns the paths of a folder's frames in their order, by the number that ends each name: `0.npy`, `frame_12.npy`.

    Raises InputError, naming the folder, where a name has no number, or a number is missing or there twice.
    """
    numbered = {}
    for path in keypoint_files(folder):
        number = re.search(r"\d+$", path.stem)
        if number is None:
            raise InputError(f"{folder} holds {path.name}; expected frames by their number, 0.npy, 1.npy and so on")
        if (other := numbered.setdefault(int(number[0]), path)) is not path:
            raise InputError(f"{folder} holds {other.name} and {path.name}; expected one file a frame")
    if not numbered:
        raise InputError(f"{folder} holds no .npy file; expected clips, or frames by their number, 0.npy, 1.npy and so on")
    first, last = min(numbered), max(numbered)
    if gap := next((n for n in range(first, last) if n not in numbered), None):
        raise InputError(f"{folder} lacks frame {gap} of {first} to {last}: extract this clip again, or number without gaps")
    return [numbered[n] for n in sorted(numbered)]


def open_frames(path, mmap_mode="r"):
    """Returns the frames `(T, F)`, or `(T, N, 3)` as the file has them, of a .npy file, by default mapped, not read; of a
    folder of frames, read. Never unpickles.

    Raises InputError, naming the file, where it is anything but such an array of real numbers with T > 0.
    """
    path = pathlib.Path(path)
    if is_folder(path) and path.suffix != ".npy":
        return _stack(path)
    frames = _open_array(path, mmap_mode)
    if frames.ndim == 1:
        raise InputError(
            f"{path} has shape {frames.shape}; expected (frames, values), such as (60, 1629). "
            "A clip of one frame a file is a folder of its own: MP_Data/<gloss>/<sequence>/<frame>.npy"
        )
    if frames.ndim not in (2, 3):
        raise InputError(f"{path} has shape {frames.shape}; expected (frames, values), such as (60, 1629)")
    if len(frames) == 0:
        raise InputError(f"{path} has no frames")
    return frames


def holds_one_frame(path):
    """Returns whether a .npy file is one frame, `(F,)` or `(N, 3)`, rather than a clip. Raises InputError as `open_frames`."""
    return _is_frame(_open_array(pathlib.Path(path), "r"))


def count_frames(path):
    """Returns T of a clip, from the file's header or by counting the files of its folder."""
    path = pathlib.Path(path)
    return len(frame_files(path)) if path.is_dir() else len(open_frames(path))


def file_ends(path, count):
    """Returns the first and the last `count` bytes of a clip: of its file, or of its first and its last frame's."""
    path = pathlib.Path(path)
    files = frame_files(path) if path.is_dir() else [path]
    with files[0].open("rb") as first, files[-1].open("rb") as last:
        last.seek(-min(count, files[-1].stat().st_size), 2)
        return first.read(count) + last.read()


def _stack(folder):
    for path in keypoint_files(folder)[:1]:  # a whole clip is called so before the numbers of its frames are looked at
        first = _open_array(path, "r")
        if not _is_frame(first) and first.shape[:1] != (1,):
            raise InputError(
                f"{path} holds {first.shape}; expected one frame, such as (1662,). Files that hold whole clips stand as "
                f"<gloss>/<clip>.npy: set DATA to {folder.parent}, if {folder.name} is a gloss"
            )
    frames = []
    for path in frame_files(folder):
        frame = _open_array(path, None)
        if frames and frame.shape != frames[0].shape:
            raise InputError(f"{path} has shape {frame.shape}; expected {frames[0].shape}, as the frames before it")
        frames.append(frame)
    return np.concatenate(frames) if frames[0].shape[:1] == (1,) else np.stack(frames)


def _are_frames(files):
    """Whether the files of a folder are the frames of one clip, as the first that can be read says."""
    for path in files:
        with contextlib.suppress(InputError):
            return holds_one_frame(path) or all(count_frames(end) == 1 for end in (path, files[-1]))
    return True  # reading them as a clip names what is wrong


def _visible(folder, pattern):
    return (path for path in pathlib.Path(folder).glob(pattern) if not path.name.startswith("."))


def _is_frame(array):
    return array.ndim == 1 or (array.ndim == 2 and array.shape[1] <= 4)  # a row a landmark, as (543, 3)


def _open_array(path, mmap_mode):
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path} cannot be read: not a file")  # a pipe would be waited for
        with path.open("rb") as file:
            start, size = file.read(12), file.seek(0, 2)
        if start[:6] != b"\x93NUMPY":
            raise InputError(f"{path} is not a .npy array" + (", but an .npz archive" if start[:2] == b"PK" else ""))
        with np.errstate(all="ignore"):  # a size that no number holds is refused
            array = np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except InputError:
        raise
    except Exception as error:  # NumPy's parser also lets TokenError and others through
        reason = "Python objects" if "allow_pickle" in str(error) else str(error).partition("\n")[0]
        raise InputError(f"{path} is not a .npy array of numbers ({reason})") from None
    if array.dtype.kind not in "fiu":
        raise InputError(f"{path} holds values of type {array.dtype}; expected real numbers")
    header = 10 + int.from_bytes(start[8:10], "little") if start[6] == 1 else 12 + int.from_bytes(start[8:12], "little")
    if more := size - header - array.nbytes:  # several arrays saved into one file, or a header that lies
        raise InputError(f"{path} holds {array.shape} and {more} bytes more; expected one array a file")
    return array
