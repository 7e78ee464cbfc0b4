"""Writing files so that at every moment the complete old or the complete new one is there, and no two writers mix."""

import contextlib
import fcntl
import glob
import hashlib
import json
import os
import pathlib
import secrets
import sys

import numpy as np

from signlib.locks import locked

SEAL = len("sha256 \n") + 64  # bytes of the last line of a sealed file


def is_folder(path):
    """Returns whether there is a folder at `path`; of a name that no system allows, that there is none."""
    try:
        return pathlib.Path(path).is_dir()
    except (OSError, ValueError):
        return False


@contextlib.contextmanager
def atomic_path(path):
    """Yields a temporary path in the folder of `path`, which it makes; at the end the file is flushed and takes the name.

    After an exception, an interruption included, the temporary file is gone and what stood at `path` is as it was. What a
    killed process left is removed by the next one that writes `path`. Raises BlockingIOError, naming the other process,
    while that holds the lock of `path`.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; expected a file name")
    path.parent.mkdir(parents=True, exist_ok=True)
    stem, dot, suffixes = path.name.partition(".")
    with locked(path) as alone:
        if alone:  # whoever wrote the temporary files of this path held its lock, so now they are nobody's
            eight = "[0-9a-f]" * 8
            for stale in path.parent.glob(f".{glob.escape(stem)}-{eight}-tmp{glob.escape(dot + suffixes)}"):
                stale.unlink(missing_ok=True)
        temporary = path.with_name(f".{stem}-{secrets.token_hex(4)}-tmp{dot}{suffixes}")
        try:
            yield temporary
            _flush(temporary)
            temporary.replace(path)
            with contextlib.suppress(OSError):  # some file systems flush no folder; the new file is there all the same
                _flush(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def write_json(path, value):
    """Writes `value` to `path` as json, atomically. Not-finite numbers become text, since json has none."""
    text = json.dumps(_plain(value), indent=1, ensure_ascii=False, allow_nan=False)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def sha256(path):
    """Returns the hex digest of a file's bytes."""
    with pathlib.Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def say(text):
    """Prints a command's result; nothing more once whoever reads it has read enough, as `head` does. Returns whether it was
    printed."""
    try:
        print(text, flush=True)
    except UnicodeEncodeError:  # a terminal that cannot show a sign
        print(text.encode("ascii", "backslashreplace").decode(), flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def seal(path):
    """Adds a last line `sha256 <hex>`: the digest of all bytes before it. HDF5 ignores what follows its own data."""
    with pathlib.Path(path).open("ab") as file:
        file.write(b"\n")
    with pathlib.Path(path).open("ab") as file:
        file.write(b"sha256 %s\n" % sha256(path).encode())


def read_sealed(path):
    """Returns the bytes of a sealed file without its last line. Raises ValueError, saying what was expected and found,
    where they are not what was sealed."""
    data = pathlib.Path(path).read_bytes()
    data, found = data[:-SEAL], data[-SEAL:]
    expected = b"sha256 %s\n" % hashlib.sha256(data).hexdigest().encode()
    if found != expected:
        shown = found if found.startswith(b"sha") else found[-12:]
        raise ValueError(f"damaged, cut short or not saved by signlib: expected {expected} at its end, found {shown}")
    return data


def _flush(path):
    handle = os.open(path, os.O_RDONLY)
    try:
        if hasattr(fcntl, "F_FULLFSYNC"):  # macOS: fsync alone leaves the data in the drive's own cache
            with contextlib.suppress(OSError):
                fcntl.fcntl(handle, fcntl.F_FULLFSYNC)
        os.fsync(handle)
    finally:
        os.close(handle)


def _plain(value):
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value if isinstance(value, str | int | float | None) else str(value)
