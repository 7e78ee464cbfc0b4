"""At every moment a path holds the complete old or the complete new file, and nothing else is left in its folder."""

import errno
import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from signlib import files, locks
from signlib.files import SEAL, atomic_path, is_folder, read_sealed, seal, sha256, write_json

WRITE = """
import sys
from signlib.files import atomic_path
with atomic_path(sys.argv[1]) as temporary:
    temporary.write_text("half")
    print(temporary, flush=True)
    sys.stdin.read()
"""

KEEP_WRITING = """
import itertools, sys
from signlib.files import atomic_path
for letter in itertools.cycle("ab"):
    with atomic_path(sys.argv[1]) as temporary:
        temporary.write_text(letter * 3_000_000)
    print(letter, flush=True)
"""

FULL_DISK = """
import resource, sys
from signlib.files import write_json
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_json(sys.argv[1], ["x"] * 5000)
except OSError as error:
    print(error)
"""


@pytest.fixture
def start():
    """The function `start(code, path)`: a process that runs `code`, and the first line that it printed."""
    children = []

    def begin(code, path):
        command = [sys.executable, "-c", code, str(path)]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        children.append(child)
        return child, child.stdout.readline().strip()

    yield begin
    for child in children:
        child.kill()
        child.communicate()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def kill(child):
    child.kill()
    assert child.wait() == -signal.SIGKILL


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, MemoryError])
def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "x.json"
    path.write_text("old")
    with pytest.raises(error), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old" and names(tmp_path) == ["x.json"]


def test_an_interruption_at_the_last_moment_leaves_the_old_file(tmp_path, monkeypatch):
    def interrupted(handle):
        raise KeyboardInterrupt

    path = tmp_path / "x.json"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_json(path, "new")
    assert path.read_text() == "old" and names(tmp_path) == ["x.json"]


def test_a_new_folder_is_made_and_the_temporary_file_stands_in_it(tmp_path):
    path = tmp_path / "a" / "b" / "m.weights.h5"
    with atomic_path(path) as temporary:
        assert temporary.parent == path.parent and temporary.name.endswith(".weights.h5")  # Keras looks at the ending
        assert names(path.parent) == [".m.weights.h5.lock"]
        temporary.write_text("new")
    assert path.read_text() == "new" and names(path.parent) == ["m.weights.h5"]


def test_a_folder_at_the_path_is_named_and_stays(tmp_path):
    (tmp_path / "x.json" / "in it").mkdir(parents=True)
    with pytest.raises(IsADirectoryError, match=r"x\.json is a folder; expected a file name"):
        write_json(tmp_path / "x.json", 1)
    assert names(tmp_path) == ["x.json"] and names(tmp_path / "x.json") == ["in it"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, start):
    (tmp_path / "x.json").write_text("old")
    assert "File too large" in start(FULL_DISK, tmp_path / "x.json")[1]
    assert (tmp_path / "x.json").read_text() == "old" and names(tmp_path) == ["x.json"]


def test_a_kill_at_a_random_moment_leaves_a_whole_file(tmp_path, start):
    rng = np.random.default_rng(0)
    for _ in range(4):
        child, _ = start(KEEP_WRITING, tmp_path / "x.txt")
        with pytest.raises(subprocess.TimeoutExpired):  # it never ends by itself
            child.wait(rng.uniform(0, 0.05))
        kill(child)
        text = (tmp_path / "x.txt").read_text()
        assert text in ("a" * 3_000_000, "b" * 3_000_000)
    with atomic_path(tmp_path / "x.txt") as temporary:
        temporary.write_text("new")
    assert names(tmp_path) == ["x.txt"]


@pytest.mark.parametrize("apple", [False, True])
def test_the_file_is_on_the_disk_before_it_takes_the_name_and_then_the_name_is(tmp_path, monkeypatch, apple):
    path, flushed, fsync, fcntl_ = tmp_path / "x.json", [], os.fsync, fcntl.fcntl
    path.write_text("old")

    def note(handle):
        what = "folder" if os.path.samestat(os.fstat(handle), tmp_path.stat()) else "file"
        flushed.append((what, path.read_text()))

    monkeypatch.setattr(os, "fsync", lambda handle: (note(handle), fsync(handle)))
    if apple:  # where fsync alone is no promise
        monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
        monkeypatch.setattr(fcntl, "fcntl", lambda h, what, *more: note(h) if what == 51 else fcntl_(h, what, *more))
    write_json(path, "new")
    once = [("file", "old"), ("folder", '"new"\n')]
    assert flushed == ([once[0], once[0], once[1], once[1]] if apple else once)


def test_a_file_system_that_flushes_no_folder_is_written_to(tmp_path, monkeypatch):
    fsync = os.fsync

    def file_alone(handle):
        if os.path.samestat(os.fstat(handle), tmp_path.stat()):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", file_alone)
    write_json(tmp_path / "x.json", "new")
    assert (tmp_path / "x.json").read_text() == '"new"\n' and names(tmp_path) == ["x.json"]


@pytest.mark.parametrize("name", ["m.h5", "lstm [1] *.h5", "m.weights.h5", "no ending", ".hidden"])
def test_what_a_killed_process_left_is_removed_by_the_next_one(tmp_path, start, name):
    child, left = start(WRITE, tmp_path / name)
    kill(child)
    assert len(names(tmp_path)) == 2 and os.path.basename(left) in names(tmp_path)  # noqa: PTH119
    with atomic_path(tmp_path / name) as temporary:
        assert not os.path.exists(left)  # noqa: PTH110
        temporary.write_text("new")
    assert names(tmp_path) == [name]


def test_nothing_that_is_not_a_stale_temporary_file_of_this_path_is_removed(tmp_path, start):
    child, left = start(WRITE, tmp_path / "other.h5")
    kill(child)
    others = [
        ".m-0123abcd-tmp.json",  # of m.json
        ".m-0123abcd-tmp.weights.h5",  # of m.weights.h5
        ".mm-0123abcd-tmp.h5",
        ".n-0123abcd-tmp.h5",
        "m-0123abcd-tmp.h5",
        ".m-0123abcd-tmp.h5.bak",
        ".m-0123abcd.h5",
        ".m-0123abc-tmp.h5",
        ".m-0123abcde-tmp.h5",
        ".m-tmp.h5",
        ".m-fromAnna-tmp.h5",
    ]
    for name in others:
        (tmp_path / name).write_text("not ours")
    (tmp_path / ".m-4567cdef-tmp.h5").write_text("stale")
    with atomic_path(tmp_path / "m.h5") as temporary:
        temporary.write_text("new")
    assert names(tmp_path) == sorted([*others, "m.h5", os.path.basename(left), ".other.h5.lock"])  # noqa: PTH119


def test_the_temporary_file_of_a_living_process_stays_and_that_process_is_named(tmp_path, start, monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE", 0.0)
    path = tmp_path / "m.h5"
    path.write_text("old")
    child, _ = start(WRITE, path)
    with pytest.raises(BlockingIOError, match=f"process {child.pid} on .* is writing {path}"), atomic_path(path):
        pytest.fail("both write")
    assert path.read_text() == "old" and len(names(tmp_path)) == 3
    child.communicate(timeout=60)  # the end of its input: it goes on, and its file is whole
    assert path.read_text() == "half" and names(tmp_path) == ["m.h5"]


def test_without_locks_on_the_file_system_it_writes_but_removes_nothing(tmp_path, monkeypatch):
    def flock(handle, operation):
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(fcntl, "flock", flock)
    (tmp_path / ".m-0123abcd-tmp.json").write_text("perhaps of a living process")
    write_json(tmp_path / "m.json", "new")
    assert (tmp_path / "m.json").read_text() == '"new"\n'
    assert names(tmp_path) == [".m-0123abcd-tmp.json", "m.json"]


def test_json_holds_plain_values_and_every_number(tmp_path):
    value = {"f": np.float32(0.5), "i": np.int64(3), 7: (1, None, True), "lost": [np.nan, -np.inf], "path": tmp_path, "ü": "é"}
    write_json(tmp_path / "x.json", value)
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    expected = {"f": 0.5, "i": 3, "7": [1, None, True], "lost": ["nan", "-inf"], "path": str(tmp_path), "ü": "é"}
    assert json.loads(text) == expected and '"ü": "é"' in text


def test_a_seal_is_a_last_line_with_the_sha256_of_all_before_it(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"some data")
    seal(path)
    assert path.read_bytes() == b"some data\nsha256 %s\n" % hashlib.sha256(b"some data\n").hexdigest().encode()
    assert read_sealed(path) == b"some data\n" and len(path.read_bytes()) == 10 + SEAL
    assert sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_every_flipped_bit_and_every_missing_byte_breaks_the_seal(tmp_path, flip):
    path = tmp_path / "x"
    path.write_bytes(b"data")
    seal(path)
    data = path.read_bytes()
    damaged = [data[:length] for length in range(len(data))] + [data + b"\n", data[1:]]
    for bit in range(8 * len(data)):
        path.write_bytes(data)
        flip(path, bit)
        damaged.append(path.read_bytes())
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"expected b'sha256 [0-9a-f]{64}\\n' at its end, found b"):
            read_sealed(path)


def test_a_name_that_no_system_allows_is_no_folder(tmp_path):
    assert is_folder(tmp_path) and not is_folder("a\0b") and not is_folder("x" * 5000)
    assert not is_folder(files.__file__)
