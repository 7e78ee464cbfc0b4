"""What a batch survives, and what it costs.

python benchmarks/batch.py kills         2 x 2 settings of 3 seeds on the sample, two workers: killed, and started again
python benchmarks/batch.py dask          the same on a Dask cluster of two workers, which are killed
python benchmarks/batch.py overhead      200 runs of a trivial notebook, beside papermill alone
Options: --small, as continuous integration runs them; --seed draws other moments.

Prints a row for each, and what did not hold. Works in runs/benchmark-…, which it removes. Ends with status 0: all held, 1:
something did not, 130: interrupted.
"""

import argparse
import contextlib
import functools
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import nbformat
import numpy as np
import psutil
import yaml
from reliability import arrays

from signlib import project
from signlib.batch import Runner
from signlib.plan import Plan, Planned
from signlib.runs import read_state

WORKERS, KILLS = 2, 3
HANGS = 900  # seconds after which what should have ended hangs
PLAN = {
    "base": {"SAMPLE": True, "EPOCHS": 12, "PATIENCE": 12},
    "grid": {"LEARNING_RATE": [1e-3, 3e-4], "DROPOUT_RATE": [0.3, 0.5]},
    "repeats": 3,
}
SMALL = {"base": {"SAMPLE": True, "EPOCHS": 10, "MAX_GLOSSES": 2}, "grid": {"DROPOUT_RATE": [0.3, 0.5]}}
TRIVIAL = """
import json, pathlib
(pathlib.Path(RUN_DIR) / "run.json").write_text(json.dumps({"status": "finished", "reason": "", "parameters": {"SEED": SEED}}))
"""


class Running:
    """`python -m signlib.batch` in a process of its own; `folder`: the batch's."""

    def __init__(self, plan, *options):
        self.folder = project.ROOT / "runs" / plan.stem
        self.log = plan.with_suffix(".log")
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "signlib.batch", str(plan), *options]
            self.child = subprocess.Popen(command, cwd=project.ROOT, stdout=log, stderr=log, start_new_session=True)

    def processes(self):
        """Returns all processes that descend from it just now."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.child.pid).children(recursive=True)
        return []

    def wait(self):
        """Returns its exit status."""
        return self.child.wait(HANGS)


def left(processes):
    """Returns the command lines of those that are still there after the time that a run has to stop, but for the one by which
    Python's multiprocessing watches over this process."""
    found = []
    for process in psutil.wait_procs(processes, timeout=70)[1]:
        with contextlib.suppress(psutil.Error):
            found.append(" ".join(process.cmdline()))
    return [line for line in found if line and "multiprocessing.resource_tracker" not in line]


@contextlib.contextmanager
def plans(plan, *names):
    """Yields the files of the plan under these names; at the end they and the folders of their batches are gone."""
    with tempfile.TemporaryDirectory() as folder:
        token = pathlib.Path(folder).name[-6:]
        paths = [pathlib.Path(folder, f"benchmark-{name}-{token}.yaml") for name in names]
        for path in paths:
            path.write_text(yaml.safe_dump(plan))
        try:
            yield paths
        finally:
            for path in paths:
                shutil.rmtree(project.ROOT / "runs" / path.stem, ignore_errors=True)


@contextlib.contextmanager
def undisturbed(small):
    """Yields a function that runs the plan, once, and returns (the batch's folder, the seconds that it took)."""
    with plans(SMALL if small else PLAN, "whole") as (plan,):

        @functools.cache
        def whole():
            began = time.monotonic()
            batch = Running(plan, "--workers", str(WORKERS))
            if batch.wait():
                raise RuntimeError(f"a batch that nobody disturbed failed: {batch.log.read_text()[-2000:]}")
            return batch.folder, time.monotonic() - began

        yield whole


def differences(folder, whole):
    """Yields in what the runs of a batch differ from those of one that nobody disturbed."""
    names = sorted(path.name for path in whole.iterdir() if (path / "run.json").exists())
    for name in names:
        state = read_state(folder / name) or {"status": "not there"}
        if state["status"] != "finished":
            yield f"{name} is {state['status']}: {state.get('reason')}"
            continue
        if state["history"] != read_state(whole / name)["history"]:
            yield f"{name}: the histories differ"
        for file in ("model.h5", "state.h5"):
            one, other = arrays(folder / name / file), arrays(whole / name / file)
            if one != other:
                yield f"{name}: {file} differs"
        ends = [path for path in (folder / name).glob("2_train*.ipynb") if said_finished(path)]
        if len(ends) != 1:
            yield f"{name} was finished {len(ends)} times"
    if (folder / "outdated").exists():
        yield "runs were set aside"


def said_finished(notebook):
    """Whether the last cell of an executed notebook wrote the result."""
    outputs = [output for cell in nbformat.read(notebook, 4).cells[-1:] for output in cell.get("outputs", [])]
    return any("finished: " in output.get("text", "") for output in outputs)


def kills(small, seed, undisturbed):
    """SIGKILL of the batch's process alone, three times, each time started again at once; and of every process of it. Held:
    all runs are finished, once each, bit for bit as undisturbed; and no process is left."""
    rng = np.random.default_rng(seed)
    with plans(SMALL if small else PLAN, "alone", "all") as disturbed:
        whole, seconds = undisturbed()
        for plan in disturbed:
            every, moments, seen = plan.stem.split("-")[1] == "all", [], []
            for _ in range(1 if small or every else KILLS):
                batch = Running(plan, "--workers", str(WORKERS))
                moments.append(rng.uniform(0.1, 0.7) * seconds / (1 if every or small else KILLS))
                time.sleep(moments[-1])
                seen += batch.processes()
                if batch.child.poll() is not None:
                    yield f"{plan.stem}: a kill came too late"
                for process in seen if every else []:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
                batch.child.kill()
                batch.wait()
            batch = Running(plan, "--workers", str(WORKERS))
            if batch.wait():
                yield f"{plan.stem}: the last start ended badly: {batch.log.read_text()[-2000:]}"
            if processes := left(seen):
                yield f"{plan.stem}: left: {processes}"
            yield from (f"{plan.stem}: {reason}" for reason in differences(batch.folder, whole))
            print(f"{plan.stem}: killed after {', '.join(f'{moment:.0f}' for moment in moments)} s", flush=True)


def dask(small, seed, undisturbed):
    """A Dask cluster of two workers runs the plan. At random moments a worker is killed, or loses its connection to the
    scheduler, by turns. Held: as for `kills`; the batch itself ends with status 0."""
    from distributed import Client, LocalCluster

    rng, faults = np.random.default_rng(seed), []
    with plans(SMALL if small else PLAN, "dask") as (plan,), contextlib.ExitStack() as stack:
        whole, seconds = undisturbed()
        cluster = stack.enter_context(LocalCluster(WORKERS, threads_per_worker=1, dashboard_address=None))
        client, seen = stack.enter_context(Client(cluster)), set()
        batch = Running(plan, "--dask", cluster.scheduler_address)
        for number in range(2 if small else 2 * KILLS):
            try:
                batch.child.wait(rng.uniform(0.5, 1) * seconds / (3 if small else 2 * KILLS))
                yield f"the batch had ended before fault {number + 1}"
            except subprocess.TimeoutExpired:
                seen.update(psutil.Process().children(recursive=True))
                client.wait_for_workers(1)  # both may just be starting anew
                pids = client.run(os.getpid, on_error="ignore")
                address = sorted(pids)[rng.integers(len(pids))]
                faults.append("lost connection" if number % 2 else "kill")
                if number % 2:
                    client.run(lose_connection, workers=[address])  # it ends then, and a queue would start another
                    stack.enter_context(one_more_worker(cluster.scheduler_address))
                else:
                    os.kill(pids[address], signal.SIGKILL)
        if batch.wait():
            yield f"the batch ended badly: {batch.log.read_text()[-2000:]}"
        seen.update(psutil.Process().children(recursive=True))
        stack.pop_all().close()
        if processes := left(list(seen)):
            yield f"left: {processes}"
        yield from differences(batch.folder, whole)
        print(f"dask: {len(faults)} faults: {', '.join(faults)}", flush=True)


@contextlib.contextmanager
def one_more_worker(address):
    """A worker that joins the cluster."""
    command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as worker:
        try:
            yield
        finally:
            worker.terminate()


def lose_connection(dask_worker):
    """In a worker: its connection to the scheduler breaks, once it has answered."""
    dask_worker.loop.add_timeout(dask_worker.loop.time() + 0.5, dask_worker.batched_stream.comm.abort)


class Memory:
    """Takes what a batch prints, a line for each run that has ended, and notes this process's memory each time, in bytes."""

    def __init__(self):
        self.bytes = []

    def write(self, text):
        self.bytes.append(psutil.Process().memory_info().rss)

    def flush(self):
        """Nothing is kept."""

    def isatty(self):
        """No terminal."""
        return False


def overhead(small, seed, undisturbed):
    """Runs of a trivial notebook by a batch with one worker, and by papermill, half of them before and half after, in one
    process that has imported it. Held: a run of the batch takes at most a tenth longer; from the first tenth of the runs on,
    the batch's memory grows by less than a tenth."""
    count = 10 if small else 200
    with tempfile.TemporaryDirectory() as place:
        notebook = pathlib.Path(place, "trivial.ipynb")
        cells = [nbformat.v4.new_code_cell('RUN_DIR = ""\nSEED = 0', metadata={"tags": ["parameters"]})]
        written = nbformat.v4.new_notebook(cells=[*cells, nbformat.v4.new_code_cell(TRIVIAL)])
        written.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(written, notebook)
        alone = papermill_seconds(notebook, pathlib.Path(place, "before"), range(count // 2))
        planned = {f"seed={i}": Planned("base", {"SEED": i}) for i in range(count)}
        memory, began = Memory(), time.monotonic()
        status = Runner(Plan("trivial", planned, []), pathlib.Path(place, "batch"), notebook).run(workers=1, out=memory)
        batch = time.monotonic() - began
        alone += papermill_seconds(notebook, pathlib.Path(place, "after"), range(count // 2))
    ratio, grown = batch / alone, max(memory.bytes) / memory.bytes[len(memory.bytes) // 10]
    print(f"overhead: {count} runs, each {ratio:.3f} times as long as by papermill alone, {alone / count:.2f} s")
    print(
        f"overhead: the batch's memory is {memory.bytes[0] / 2**20:.0f} MiB, at most {grown:.3f} times what it is after a tenth"
    )
    if status:
        yield f"the batch ended with {status}"
    if not small and ratio > 1.1:
        yield f"the overhead is {ratio - 1:.0%}"
    if grown > 1.1:
        yield "the batch's memory grows"


PAPERMILL = """
import sys, papermill, pathlib, time
notebook, folder, *seeds = sys.argv[1:]
began = time.monotonic()
for seed in seeds:
    run = pathlib.Path(folder, seed)
    run.mkdir(parents=True)
    parameters = {"SEED": int(seed), "RUN_DIR": str(run)}
    papermill.execute_notebook(notebook, str(run / "out.ipynb"), parameters=parameters, progress_bar=False)
print(time.monotonic() - began)
"""


def papermill_seconds(notebook, folder, seeds):
    """Seconds that papermill takes for these runs, in one process that has imported it before."""
    command = [sys.executable, "-c", PAPERMILL, notebook, folder, *seeds]
    return float(subprocess.run(map(str, command), capture_output=True, text=True, check=True).stdout)


def main(arguments):
    """Runs what the options name. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", nargs="*", choices=[[], *PARTS], help="[all]")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    failed = False
    with undisturbed(given.small) as whole:
        for name in given.which or PARTS:
            began = time.monotonic()
            reasons = list(PARTS[name](given.small, given.seed, whole))
            said = f"{name:10} {'DID NOT HOLD' if reasons else 'held'}, {time.monotonic() - began:.0f} s"
            print(said, *reasons, sep="\n  ", flush=True)
            failed |= bool(reasons)
    return int(failed)


PARTS = {"kills": kills, "dask": dask, "overhead": overhead}

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
