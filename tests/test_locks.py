"""One process at a time writes a path; the other is told which, and no lock outlives its process."""

import errno
import fcntl
import os
import socket
import subprocess
import sys

import pytest

from signlib import locks
from signlib.locks import free_lock, lock_owner, locked, take_lock

HOLD = """
import resource, sys
from signlib.locks import take_lock
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
take_lock(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""

COUNT = """
import pathlib, sys
from signlib import locks
locks.PATIENCE = 60
counter = pathlib.Path(sys.argv[1])
for _ in range(200):
    with locks.locked(counter):
        number = int(counter.read_text())
        counter.write_text(str(number + 1))
"""


@pytest.fixture
def hold():
    """The function `hold(path, disk=4096)`: a process that holds the lock of `path` and can write files of `disk` bytes."""
    children = []

    def begin(path, disk=4096):
        command = [sys.executable, "-c", HOLD, str(path), str(disk)]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        children.append(child)
        assert child.stdout.readline() == "held\n"
        return child

    yield begin
    for child in children:
        child.kill()
        child.communicate()


@pytest.fixture
def impatient(monkeypatch):
    """A busy lock is not waited for."""
    monkeypatch.setattr(locks, "PATIENCE", 0.0)


def is_held(lock):
    """Whether anybody, this process included, holds the lock file."""
    with lock.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_a_busy_lock_names_the_process_that_holds_it(tmp_path, hold, impatient):
    path = tmp_path / "m.h5"
    owner = f"process {hold(path).pid} on {socket.gethostname()}"
    with pytest.raises(BlockingIOError, match=rf"{owner} is writing {path}"):
        take_lock(path)
    assert lock_owner(path) == owner
    assert lock_owner(tmp_path / "other.h5") == "" and take_lock(tmp_path / "other.h5")
    free_lock(tmp_path / "other.h5")
    assert os.listdir(tmp_path) == [".m.h5.lock"]  # noqa: PTH208


def test_a_lock_that_is_soon_free_is_waited_for(tmp_path, hold, monkeypatch):
    child = hold(tmp_path / "m.h5")
    monkeypatch.setattr(locks.time, "sleep", lambda _: (child.kill(), child.wait()))
    with locked(tmp_path / "m.h5") as alone:
        assert alone


def test_the_lock_of_a_killed_process_is_free(tmp_path, hold, impatient):
    path, lock = tmp_path / "m.h5", tmp_path / ".m.h5.lock"
    child = hold(path)
    child.kill()
    child.wait()
    assert lock.exists() and lock_owner(path) == ""
    lock.write_text("process 123456789 on a machine with a long name")
    with locked(path) as alone:
        assert alone and is_held(lock)
        assert lock.read_text() == f"process {os.getpid()} on {socket.gethostname()}"
    assert not list(tmp_path.iterdir())


def test_a_lock_is_free_when_it_was_given_back_as_often_as_taken(tmp_path):
    path, lock = tmp_path / "m.h5", tmp_path / ".m.h5.lock"
    take_lock(path)
    with pytest.raises(KeyboardInterrupt), locked(path):
        raise KeyboardInterrupt
    assert is_held(lock) and lock_owner(path) == ""
    free_lock(path)
    assert not lock.exists()
    free_lock(path)  # once too often harms nobody
    with locked(path):
        assert is_held(lock)


def test_a_full_disk_hinders_no_lock_only_its_owners_name(tmp_path, hold, impatient):
    hold(tmp_path / "m.h5", disk=0)
    with pytest.raises(BlockingIOError, match="another process is writing"):
        take_lock(tmp_path / "m.h5")


def test_a_folder_that_has_two_names_has_one_lock(tmp_path, monkeypatch, hold, impatient):
    folder = tmp_path / "models"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(folder)
    hold(folder / "m.h5")
    for name in (tmp_path / "link" / "m.h5", "m.h5", tmp_path / "link" / ".." / "models" / "m.h5"):
        with pytest.raises(BlockingIOError):
            take_lock(name)
    with locked(folder / "other.h5"), locked("other.h5"), locked(tmp_path / "link" / "other.h5"):
        assert is_held(folder / ".other.h5.lock")


@pytest.mark.parametrize("taken", [False, True])
def test_a_lock_file_that_is_removed_while_it_is_waited_for_locks_nothing(tmp_path, monkeypatch, hold, impatient, taken):
    # Its holder removes it between our opening it and our locking it; `taken`: and a third process has made a new one.
    path, lock, flock = tmp_path / "m.h5", tmp_path / ".m.h5.lock", fcntl.flock

    def too_late(*arguments):
        monkeypatch.setattr(fcntl, "flock", flock)
        lock.unlink()
        if taken:
            hold(path)
        flock(*arguments)

    monkeypatch.setattr(fcntl, "flock", too_late)
    if taken:
        with pytest.raises(BlockingIOError):
            take_lock(path)
    else:
        with locked(path):
            assert is_held(lock)


@pytest.fixture
def read_only(monkeypatch):
    """Lock files can be read alone, as those of another user in a shared folder; root could write them after all."""
    opened = os.open

    def open_(path, flags, *mode):
        if str(path).endswith(".lock") and flags & os.O_ACCMODE != os.O_RDONLY:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return opened(path, flags, *mode)

    monkeypatch.setattr(os, "open", open_)


def test_a_lock_file_that_another_user_left_hinders_nobody(tmp_path, read_only, monkeypatch, impatient):
    path, lock = tmp_path / "m.h5", tmp_path / ".m.h5.lock"
    with pytest.raises(PermissionError, match="lock"):
        take_lock(path)
    lock.write_text("process 7 of another user")
    with locked(path) as alone:
        assert alone and is_held(lock)
    assert not lock.exists()
    lock.write_text("process 7 of another user")
    with monkeypatch.context() as sticky:  # a folder in which nobody removes what is another's
        sticky.setattr(type(lock), "unlink", lambda *_, **__: opened_by_another())
        with locked(path) as alone:
            assert alone and is_held(lock)
    assert lock.exists() and not is_held(lock)


def opened_by_another():
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


def test_a_lock_that_another_user_holds_is_seen_and_stays(tmp_path, hold, read_only, monkeypatch, impatient):
    path, lock = tmp_path / "m.h5", tmp_path / ".m.h5.lock"
    owner = f"process {hold(path).pid} on {socket.gethostname()}"
    assert lock_owner(path) == owner
    with pytest.raises(BlockingIOError, match=owner):
        take_lock(path)

    def flock(handle, operation):  # on a network file system, where a lock takes the right to write
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(PermissionError, match="lock"):
        take_lock(path)
    assert lock.exists()


def test_two_processes_that_count_in_one_file_lose_no_number(tmp_path):
    counter = tmp_path / "counter"
    counter.write_text("0")
    children = [subprocess.Popen([sys.executable, "-c", COUNT, str(counter)]) for _ in range(3)]
    assert [child.wait(120) for child in children] == [0, 0, 0]
    assert counter.read_text() == "600" and list(tmp_path.iterdir()) == [counter]


def test_where_the_file_system_knows_no_locks_it_says_so_and_leaves_nothing(tmp_path, monkeypatch):
    def flock(handle, operation):
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(fcntl, "flock", flock)
    path = tmp_path / "m.h5"
    with locked(path) as alone:
        assert not alone and not take_lock(path)
        free_lock(path)
        assert not list(tmp_path.iterdir())
        (tmp_path / ".m.h5.lock").touch()  # of another process on this file system
        assert lock_owner(path) == ""
    assert lock_owner(path) == ""
