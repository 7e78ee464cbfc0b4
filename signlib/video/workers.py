"""Processes that each take one video after another: `Workers`."""

import contextlib
import errno
import multiprocessing
import pathlib
import signal
import sys
from multiprocessing.connection import wait

import numpy as np

from signlib.errors import InputError
from signlib.files import atomic_path
from signlib.frames import open_frames
from signlib.video.holistic import Holistic
from signlib.video.keypoints import read_keypoints

RENEW = 200  # videos, after which another process takes its place, with what MediaPipe has not freed
PATIENCE = 10  # seconds that a process has to end by itself: a frame takes a tenth of one, a file that hangs a decoder for ever
LOOK = 0.5  # seconds, after which `results` yields even where nothing is done


class Workers:
    """`count` processes that write the keypoints of videos in `folder` to `out`; what else they are told is as `read_keypoints`
    and `Holistic` take it. One that ends, as on a damaged video that makes a decoder crash, is replaced by another."""

    def __init__(self, count, folder, out, rate, crop, landmarker):
        self.count, self.settings = count, (pathlib.Path(folder), pathlib.Path(out), rate, crop, landmarker)
        self.processes = {}  # {pipe: (process, source it is at, videos it has had)}

    def results(self, sources):
        """Yields (source, facts) of each of the sources [(Source, whether keypoints of it may be replaced)] as it is done, and
        None now and then. Of a video that cannot be used facts are {"failed": why}. Raises OSError where keypoints cannot be
        written. The processes end with this generator."""
        waiting = list(reversed(sources))
        try:
            while waiting or self.processes:
                while waiting and len(self.processes) < self.count:
                    self._give(waiting.pop(), *self._start())
                for pipe in wait(list(self.processes), LOOK):
                    process, source, done = self.processes[pipe]
                    try:
                        facts = pipe.recv()
                    except (EOFError, ConnectionError):
                        process.join()
                        facts = {"failed": f"the process that read it ended with status {process.exitcode}"}
                    if isinstance(facts, OSError):
                        raise facts
                    if waiting and process.is_alive() and done < RENEW:
                        self._give(waiting.pop(), pipe, process, done)
                    else:
                        self._end(pipe)
                    yield source, facts
                yield None
        finally:
            for pipe in list(self.processes):
                self._end(pipe)

    def _start(self):
        """(pipe, process) of a new process."""
        context = multiprocessing.get_context("spawn")  # forked, MediaPipe's threads would be missing
        pipe, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, *self.settings), daemon=True)
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # Ctrl-C is for this process alone
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        theirs.close()
        return pipe, process

    def _give(self, job, pipe, process, done=0):
        self.processes[pipe] = process, job[0], done + 1
        with contextlib.suppress(ConnectionError):  # it has ended: `results` will see
            pipe.send(job)

    def _end(self, pipe):
        process, _, _ = self.processes.pop(pipe)
        pipe.close()  # which it sees at its next frame
        process.join(PATIENCE)
        process.kill()
        process.join()


class _LeftError(Exception):
    """Nobody waits for this video any more."""


def _serve(pipe, folder, out, rate, crop, landmarker):
    """Does what comes through the pipe until it is closed."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def look():
        if pipe.poll():  # closed, or its other end has died: while a video is read nothing else comes
            raise _LeftError

    with contextlib.suppress(EOFError, ConnectionError, _LeftError):
        while True:
            source, replace = pipe.recv()
            try:
                with Holistic(landmarker, rate) as holistic:
                    rows, facts = read_keypoints(folder, source, holistic, rate, crop, look)
                facts |= _write(out / f"{source.video_id}.npy", rows, replace)
            except InputError as error:
                facts = {"failed": str(error)}
            except OSError as error:
                too_long = error.errno == errno.ENAMETOOLONG
                facts = {"failed": f"its name is too long for {out}: rename it"} if too_long else error
            except (MemoryError, RuntimeError, ValueError) as error:  # what MediaPipe and OpenCV make of odd pictures
                facts = {"failed": f"{type(error).__name__}: {error}"}
            pipe.send(facts)
    sys.exit(0)


def _write(path, rows, replace):
    """Writes the rows; {"failed": why} where other keypoints are there that this extraction does not know."""
    if not replace and path.exists():
        with contextlib.suppress(InputError):
            there = open_frames(path)
            if (there.dtype, there.shape) == (rows.dtype, rows.shape) and there.tobytes() == rows.tobytes():
                return {}  # an extraction was killed before it could say so
        return {"failed": f"{path} is there already, with other keypoints: move it away, or extract into another folder"}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        try:
            np.save(file, rows)
        except OSError as error:  # which neither names the file nor always says why
            raise OSError(f"cannot write {path}, perhaps for want of space: {error}") from None
    return {}
