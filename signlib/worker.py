"""One run of a batch, in a process of its own: `run_in_process`, and `python -m signlib.worker`, which it starts.

Who writes a run's folder holds its lock, so that a run that is started twice is written once: the second waits, and finds it
done. A run goes on for as long as the process that started it lives and its batch holds the batch's lock.
"""

import contextlib
import importlib
import json
import os
import pathlib
import queue
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback

from signlib.errors import InputError
from signlib.files import write_json
from signlib.locks import free_lock, lock_owner, take_lock
from signlib.project import ROOT, code_digest
from signlib.runs import ORIGIN, origin_changes, read_state

UNDONE = 3  # exit status of a job of which nothing was run; its log says why
POLL = 0.5  # seconds between two looks at who is still there
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "LOKY_MAX_CPU_COUNT")
FORKS = sys.platform == "linux"  # elsewhere a forked process may not use the system's frameworks

_idle = queue.SimpleQueue()  # processes of `python -m signlib.worker` that wait for a job


def run_in_process(job):
    """Does a job in a process of its own and returns its exit status: 0 where the run is done, UNDONE where it was not begun,
    else as `Finished.exit_status` says, or minus the signal that ended the process. What came out is in the run's folder and
    in its log.

    job: what can be written as json. `folder`: of the run; `log`: its file; `notebook`, `parameters`; `origin`: what the run
    follows from; `batch`, `owner`: the run stops, as on SIGTERM, when the lock of the one is no longer held by the other;
    `cores`: how many it uses. Raises InputError where this machine has not the batch's folder.
    """
    if not pathlib.Path(job["batch"]).exists():
        raise InputError(
            f"{job['batch']} is not there on {socket.gethostname()}: workers need the project's folder at the same path as "
            "where the batch was started, on a file system that all of them share"
        )
    worker = _worker()
    with contextlib.suppress(BrokenPipeError):
        worker.stdin.write(json.dumps(job).encode() + b"\n")
        worker.stdin.flush()
    answer = worker.stdout.readline()
    if answer and FORKS:
        _idle.put(worker)
        return int(answer)
    _end(worker)
    return int(answer) if answer else worker.returncode


def _worker():
    """A process that waits for a job: one that has done others, or a new one."""
    with contextlib.suppress(queue.Empty):
        while True:
            worker = _idle.get_nowait()
            if worker.poll() is None:  # somebody may have killed it
                return worker
    quiet = os.environ | dict.fromkeys(THREADS, "1")  # it only waits; a job sets its own
    return subprocess.Popen(
        [sys.executable, "-m", "signlib.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=quiet,
        start_new_session=True,  # Ctrl-C is the batch's, which passes it on
    )


def usable_cores():
    """Returns how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share(job, at_once):
    """Returns the job with its share of a machine that does so many at once: `cores`, and CACHE_MB."""
    parameters = dict(job["parameters"])
    if "CACHE_MB" in parameters:
        parameters["CACHE_MB"] //= at_once
    return job | {"cores": max(1, usable_cores() // at_once), "parameters": parameters}


def end_workers():
    """Ends the processes that wait for a job."""
    with contextlib.suppress(queue.Empty):
        while True:
            _end(_idle.get_nowait())


def _end(worker):
    with contextlib.suppress(BrokenPipeError):
        worker.stdin.close()
    worker.wait()
    worker.stdout.close()


def standing(folder, origin):
    """Returns how a run's folder stands to what the run shall follow from: "new", "resume", "done", or "outdated: " and what
    has changed since. Raises OSError where a file that is there cannot be read."""
    state = read_state(folder)
    if state is None:
        try:
            (folder / "run.json").read_bytes()
        except FileNotFoundError:
            return "new"
        return "outdated: its run.json cannot be read"
    if changed := origin_changes(folder, state, origin):
        return f"outdated: {', '.join(changed)} changed"
    return "done" if state["status"] in ("finished", "diverged") else "resume"  # it would diverge again


def run_job(job, signals):
    """Does a job, see `run_in_process`, in this process: waits until nobody else writes the folder, then runs what is to be
    run there. Returns the exit status. signals: a list that receives those that came meanwhile."""
    from signlib.headless import run_notebook

    folder = pathlib.Path(job["folder"])
    if code_digest(job["notebook"]) != job["origin"]["code"]:
        raise InputError("the sources or the notebook have changed since the batch began: start it again")
    _when_free(folder)
    try:
        how = standing(folder, job["origin"])
        if how == "done":
            return 0
        if how.startswith("outdated"):
            _set_aside(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / ORIGIN, job["origin"])
        resume = {"RESUME": str(folder)} if how == "resume" else {}
        return run_notebook(job["notebook"], job["parameters"] | resume, "" if resume else folder, None, signals).exit_status
    finally:
        free_lock(folder)


def _when_free(folder):
    """Returns when this process holds the lock of the run, and no kernel that outlived its own process writes there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    alone = None
    while alone is None:
        with contextlib.suppress(BlockingIOError):
            alone = take_lock(folder)
    if not alone:
        raise InputError(f"{folder.parent} is on {socket.gethostname()} on a file system without locks: leave that machine out")
    while lock_owner(folder / "run.json"):
        time.sleep(POLL)


def _set_aside(folder):
    """Moves a run that is to be made anew to the batch's folder `outdated`: nothing that was learnt is deleted."""
    place = folder.parent / "outdated"
    place.mkdir(exist_ok=True)
    number = 1
    while (target := place / f"{folder.name}-{number}").exists():
        number += 1
    folder.rename(target)


def _watch(job, pipe, signals):
    """Stops this process, as SIGTERM does, when whoever gave it the job is gone, or the batch no longer wants it. Where it has
    had a signal already it is stopping: a second one would kill it, and some systems send SIGTERM to every process of a job.
    After the job it does nothing: the pipe's end then says only that no other one comes."""
    parent, strikes = os.getppid(), 0
    gone = select.poll()
    gone.register(pipe, select.POLLIN)  # the next line comes after this job, so all that can come is the end
    while True:
        # An owner that cannot be read is one that is just being written; only twice is certain.
        strikes = strikes + 1 if lock_owner(job["batch"]) != job["owner"] else 0
        if gone.poll(1000 * POLL) or os.getppid() != parent or strikes > 1:
            if not signals:
                os.kill(os.getpid(), signal.SIGTERM)
            return


def _do(job):
    """A job from its beginning to its exit status, everything that is printed in its log."""
    pipe, signals = os.dup(0), []
    try:
        with pathlib.Path(job["log"]).open("ab") as log, pathlib.Path(os.devnull).open("rb") as nothing:
            for number, file in enumerate((nothing, log, log)):
                os.dup2(file.fileno(), number)
        os.environ.update(dict.fromkeys(THREADS, str(job["cores"])))
        threading.Thread(target=_watch, args=(job, pipe, signals), daemon=True).start()
        return run_job(job, signals)
    except (InputError, OSError) as error:
        print(error, flush=True)
    except BaseException:
        traceback.print_exc()
    finally:
        signals.append(None)  # for `_watch`: it has ended, so nobody needs to stop it any more
    return UNDONE


def _fork(job):
    """The exit status of a job, done in a fork of this process."""
    child = os.fork()
    if not child:
        os._exit(_do(job))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main():
    """Does a job for each line of its standard input, and answers with its exit status. Importing papermill, and what it needs
    for its first notebook, takes two seconds: it is done once, and each job is a fork of this process."""
    for name in ("papermill", "ipykernel.kernelspec", "IPython.display", "psutil", "signlib.headless"):
        importlib.import_module(name)
    answer = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        status = _fork(json.loads(line)) if FORKS else _do(json.loads(line))
        try:
            print(status, file=answer, flush=True)
        except BrokenPipeError:  # nobody waits for it any more
            os._exit(1)
        if not FORKS:
            return


if __name__ == "__main__":
    main()
