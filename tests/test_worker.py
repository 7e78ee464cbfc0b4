"""A run in a process of its own: written once, stopped with whoever wanted it. The notebooks are small, the processes real."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading

import psutil
import pytest

from signlib import locks, project, worker
from signlib.errors import InputError
from signlib.runs import read_state

FINISH = """
import json, os, pathlib
folder = pathlib.Path(RUN_DIR)
with (folder.parent / "ran.txt").open("a") as ran:
    ran.write(f"{RESUME and 'resumed'}\\n")
state = {"status": "finished", "reason": "", "parameters": {"SEED": SEED}, "threads": os.environ.get("OMP_NUM_THREADS")}
(folder / "run.json").write_text(json.dumps(state))
print("a line of the log")
"""
WAIT = """
import time
(__import__("pathlib").Path(RUN_DIR) / "began").write_text("")
time.sleep(100)
"""
SAVE = """
import pathlib, time
(pathlib.Path(RUN_DIR) / "began").write_text("")
try:
    time.sleep(100)
except KeyboardInterrupt:
    time.sleep(3)
    (pathlib.Path(RUN_DIR) / "saved").write_text("")
"""
ASK = """
import json, sys
from signlib.worker import run_in_process
print(run_in_process(json.loads(sys.argv[1])))
"""


@pytest.fixture
def job(tmp_path, notebook):
    """The function `job(code)`: a job that runs a notebook with that cell, whose batch is held by this process."""
    batch = tmp_path / "batch"
    batch.mkdir()
    locks.take_lock(batch)

    def job(code, name="one"):
        path = notebook(code)
        return {
            "batch": str(batch),
            "owner": f"process {os.getpid()} on {locks.socket.gethostname()}",
            "folder": str(batch / name),
            "log": str(batch / f"{name}.log"),
            "notebook": str(path),
            "parameters": {"SEED": 3},
            "origin": {"parameters": {"SEED": 3}, "code": project.code_digest(path)},
            "cores": 1,
        }

    yield job
    locks.free_lock(batch)


@pytest.fixture(autouse=True, scope="module")
def ended():
    """The workers that wait for a job end with these tests."""
    yield
    worker.end_workers()


def ran(job):
    return pathlib.Path(job["batch"], "ran.txt").read_text().splitlines()


def test_a_job_is_done_once_and_its_log_and_origin_stand_beside(job):
    one = job(FINISH)
    assert [worker.run_in_process(one) for _ in range(2)] == [0, 0]
    folder = pathlib.Path(one["folder"])
    assert ran(one) == [""] and read_state(folder)["threads"] == "1"
    assert pathlib.Path(one["log"]).read_text() == "a line of the log\n"
    assert worker.standing(folder, one["origin"]) == "done"
    other = job(FINISH, "two") | {"cores": 2}  # by the same process
    assert worker.run_in_process(other) == 0 and read_state(pathlib.Path(other["folder"]))["threads"] == "2"


def test_two_that_are_given_one_run_write_it_once(job):
    one, statuses = job("import time; time.sleep(0.5)\n" + FINISH), []
    threads = [threading.Thread(target=lambda: statuses.append(worker.run_in_process(one))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [0, 0] and ran(one) == [""]


def test_what_follows_from_something_else_is_set_aside_and_made_anew(job):
    one = job(FINISH)
    one["origin"]["data"] = "a"
    worker.run_in_process(one)
    folder = pathlib.Path(one["folder"])
    state = json.loads((folder / "run.json").read_text())
    assert worker.standing(folder, one["origin"]) == "done"
    assert worker.standing(folder, one["origin"] | {"code": "b", "parameters": {}}) == "outdated: parameters, code changed"
    (folder / "run.json").write_text(json.dumps(state | {"data_fingerprint": "b"}))
    assert worker.standing(folder, one["origin"]) == "outdated: data changed"  # while the batch ran
    (folder / "run.json").write_text("{")
    assert worker.standing(folder, one["origin"]) == "outdated: its run.json cannot be read"
    assert worker.run_in_process(one) == 0 and ran(one) == ["", ""]
    assert (folder.parent / "outdated/one-1/run.json").read_text() == "{"
    assert worker.standing(folder, one["origin"]) == "done"


def test_a_run_that_was_broken_off_is_resumed_and_one_that_diverged_is_done(job):
    one = job(FINISH)
    folder = pathlib.Path(one["folder"])
    assert worker.standing(folder, one["origin"]) == "new"
    folder.mkdir()
    (folder / worker.ORIGIN).write_text(json.dumps(one["origin"]))
    for status, how in {"failed": "resume", "interrupted": "resume", "running": "resume", "diverged": "done"}.items():
        state = {"status": status, "reason": "", "parameters": {"SEED": 3}, "pid": 2**22 + 1}
        (folder / "run.json").write_text(json.dumps(state))
        assert worker.standing(folder, one["origin"]) == how
    (folder / "run.json").write_text(json.dumps(state | {"status": "interrupted"}))
    code = FINISH.replace("folder = pathlib.Path(RUN_DIR)", "folder = pathlib.Path(RESUME)")
    one |= {"notebook": job(code)["notebook"]}
    one["origin"]["code"] = project.code_digest(one["notebook"])
    (folder / worker.ORIGIN).write_text(json.dumps(one["origin"]))
    assert worker.run_in_process(one) == 0 and ran(one) == ["resumed"]


def test_code_that_changed_since_the_batch_began_is_not_run(job):
    one = job(FINISH)
    one["origin"]["code"] = "another"
    assert worker.run_in_process(one) == worker.UNDONE
    assert "have changed since the batch began" in pathlib.Path(one["log"]).read_text()
    assert not pathlib.Path(one["folder"]).exists()


def test_a_machine_that_does_not_see_the_batch_is_named(job, tmp_path):
    with pytest.raises(InputError, match=f"elsewhere is not there on {locks.socket.gethostname()}"):
        worker.run_in_process(job(FINISH) | {"batch": str(tmp_path / "elsewhere")})


def test_a_run_stops_when_its_batch_no_longer_wants_it(job, until):
    one, statuses = job(WAIT), []
    thread = threading.Thread(target=lambda: statuses.append(worker.run_in_process(one)))
    thread.start()
    until(pathlib.Path(one["folder"], "began").exists)
    locks.free_lock(pathlib.Path(one["batch"]))
    thread.join()
    state = read_state(pathlib.Path(one["folder"]))
    assert statuses == [128 + signal.SIGTERM] and state["status"] == "interrupted"


@pytest.mark.slow
@pytest.mark.parametrize("who", ["the run alone", "all processes of the job"])
def test_a_run_that_is_told_twice_to_stop_has_its_time_to_save(job, until, who):
    one, statuses = job(SAVE), []
    thread = threading.Thread(target=lambda: statuses.append(worker.run_in_process(one)))
    thread.start()
    folder = pathlib.Path(one["folder"])
    until((folder / "began").exists)
    at, run, *_ = psutil.Process().children(recursive=True)
    for process in (run, at) if who != "the run alone" else (run,):
        process.terminate()
    locks.free_lock(pathlib.Path(one["batch"]))  # which the run hears of, too
    thread.join()
    until(lambda: not locks.lock_owner(folder))
    assert (folder / "saved").exists()


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["the one that asked", "the worker", "the run"])
def test_nothing_is_left_of_a_run_whose_processes_are_killed(job, victim, until):
    one = job(WAIT)
    with subprocess.Popen([sys.executable, "-c", ASK, json.dumps(one)], cwd=project.ROOT, stdout=subprocess.PIPE) as asked:
        until(pathlib.Path(one["folder"], "began").exists)
        processes = psutil.Process(asked.pid).children(recursive=True)  # the worker, its fork that is the run, the kernel
        at, forked = (processes[0], processes[1]) if worker.FORKS else (processes[0], processes[0])
        {"the one that asked": psutil.Process(asked.pid), "the worker": at, "the run": forked}[victim].kill()
        assert psutil.wait_procs(processes if victim != "the run" else processes[1:], timeout=60)[1] == []
        said = asked.stdout.read()
    state = read_state(pathlib.Path(one["folder"]))
    if victim == "the run":
        assert said == b"-9\n" and state is None  # it had no time to say so
    else:
        assert state["status"] == "interrupted"
    assert worker.run_in_process(one | job(FINISH)) == 0


def test_where_processes_are_not_forked_one_process_does_one_job(job):
    one = job(FINISH)
    code = "from signlib import worker; worker.FORKS = False; worker.main()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], text=True, cwd=project.ROOT, **pipes) as alone:
        print(json.dumps(one), file=alone.stdin, flush=True)
        assert alone.stdout.read() == "0\n" and ran(one) == [""]
    assert alone.returncode == 0


def test_cores_and_cache_are_shared(job):
    one = job(FINISH)
    one["parameters"]["CACHE_MB"] = 1000
    shared = worker.share(one, 4)
    assert shared["parameters"]["CACHE_MB"] == 250 and one["parameters"]["CACHE_MB"] == 1000
    assert shared["cores"] == max(1, worker.usable_cores() // 4)
