"""Writing files so that at every moment the complete old or the complete new one is there."""

import contextlib
import hashlib
import json
import os
import pathlib
import secrets

import numpy as np


def is_folder(path):
    """Returns whether there is a folder at `path`; of a name that no system allows, that there is none."""
    try:
        return pathlib.Path(path).is_dir()
    except (OSError, ValueError):
        return False


@contextlib.contextmanager
def atomic_path(path):
    """Yields a temporary path in the folder of `path`, which it makes; at the end the file is flushed and takes the name.

    After an exception, an interruption included, the temporary file is gone and what stood at `path` is as it was.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; expected a file name")
    path.parent.mkdir(parents=True, exist_ok=True)
    stem, dot, suffixes = path.name.partition(".")
    temporary = path.with_name(f".{stem}-{secrets.token_hex(4)}-tmp{dot}{suffixes}")
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(path)
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


def _flush(path):
    handle = os.open(path, os.O_RDONLY)
    try:
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
