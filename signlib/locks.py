"""Locks between processes: who writes a path. They end with their process, however that ends."""

import contextlib
import errno
import fcntl
import os
import pathlib
import socket
import time

PATIENCE = 2.0  # seconds to wait for a lock: a save takes less, a run that publishes holds it for longer

_held = {}  # {lock file: [handle or None, how many times this process has taken it]}


@contextlib.contextmanager
def locked(path):
    """Holds the lock of `path` meanwhile, see `take_lock`. Yields whether it could be held."""
    alone = take_lock(path)
    try:
        yield alone
    finally:
        free_lock(path)


def take_lock(path, flush=False):
    """Takes the lock of `path`, whether that exists or not; one process may take it several times. It ends with the process.
    flush: other machines that share the file system see at once who holds it.

    Returns False where the file system knows no locks, else True. Raises BlockingIOError, naming it, where another process
    holds the lock.
    """
    lock = _lock_file(path)
    if lock in _held:
        _held[lock][1] += 1
        return _held[lock][0] is not None
    deadline = time.monotonic() + PATIENCE
    while True:
        handle = _open(lock)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle), lock.stat()):
                break
        except BlockingIOError:
            if time.monotonic() > deadline:
                owner = _owner(handle)
                os.close(handle)
                raise BlockingIOError(errno.EWOULDBLOCK, f"{owner} is writing {path}") from None
            time.sleep(0.02)
        except FileNotFoundError:
            pass  # its holder removed it after we had opened it
        except OSError as error:
            os.close(handle)
            if error.errno == errno.EBADF:  # a network file system that locks only what may be written
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(lock)) from None
            lock.unlink(missing_ok=True)
            _held[lock] = [None, 1]
            return False
        os.close(handle)
    _held[lock] = [handle, 1]
    with contextlib.suppress(OSError):  # a full disk: then nobody can say who holds it
        os.truncate(handle, 0)
        os.write(handle, this_process().encode())
        if flush:
            os.fsync(handle)
    return True


def free_lock(path):
    """Gives the lock back, if this process holds it."""
    lock = _lock_file(path)
    if lock not in _held:
        return
    _held[lock][1] -= 1
    if not _held[lock][1]:
        handle, _ = _held.pop(lock)
        if handle is not None:
            with contextlib.suppress(OSError):  # another user's
                lock.unlink()  # while it is held: whoever waits for it then looks for a new one
            os.close(handle)


def this_process():
    """Returns this process in words, as `lock_owner` names it to others."""
    return f"process {os.getpid()} on {socket.gethostname()}"


def lock_owner(path):
    """Returns which other process holds the lock of `path`, in words, or "" where none does."""
    lock = _lock_file(path)
    if lock in _held:
        return ""
    try:
        handle = os.open(lock, os.O_RDONLY)
    except OSError:
        return ""
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return ""
    except BlockingIOError:
        return _owner(handle)
    except OSError:
        return ""
    finally:
        os.close(handle)


def _lock_file(path):
    path = pathlib.Path(path)
    return pathlib.Path(os.path.realpath(path.parent)) / f".{path.name}.lock"


def _open(lock):
    try:
        return os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:
        if not lock.exists():
            raise
        return os.open(lock, os.O_RDONLY)  # what another user left: to lock it, reading is enough


def _owner(handle):
    return os.pread(handle, 200, 0).decode(errors="replace") or "another process"
