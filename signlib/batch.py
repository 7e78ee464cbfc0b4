"""Many runs of the training notebook: `python -m signlib.batch PLAN.yaml`.

Each run is papermill in a process of its own, in runs/<batch>/<run>/; the batch is named after the plan's file. Started again,
it goes on: what is done is not run again, what was broken off is resumed. Ends with status 0: all runs finished, 2: bad input,
130, 143 or 129: interrupted (each run keeps its best model), 1: anything else.
"""

import argparse
import concurrent.futures
import contextlib
import pathlib
import sys
import time
from collections import Counter

from signlib import project
from signlib.cluster import cluster, workers_of
from signlib.dataset import load_clips
from signlib.errors import InputError
from signlib.files import sha256, write_json
from signlib.locks import free_lock, lock_owner, take_lock, this_process
from signlib.memory import MIB, free_memory, run_memory
from signlib.parameters import NOT_OF_THE_MODEL
from signlib.plan import read_plan
from signlib.progress import Progress
from signlib.report import read_report
from signlib.runs import read_state
from signlib.signals import handled, stop_signals
from signlib.worker import UNDONE, end_workers, run_in_process, share, standing, usable_cores

LOOK = 1.0  # seconds between two looks at the runs
LOST = 10  # times a run that a cluster lost is given to it again
NOT_OF_THE_RESULT = NOT_OF_THE_MODEL - {"EVALUATE_TEST"}
WOULD = {"new": "start", "resume": "resume", "done": "skip, done"}


def main(arguments=None):
    """Runs a plan. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m signlib.batch", description="Many runs of the training notebook.")
    parser.add_argument("plan", help="a yaml file: base, grid, runs, repeats")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--workers", type=int, help="runs at once, which share cores and CACHE_MB [one a core, as memory allows]"
    )
    where.add_argument("--dask", metavar="ADDRESS", help="of a Dask scheduler, or local:N: N workers on this machine")
    parser.add_argument("--dry-run", action="store_true", help="print the table of runs, and start none")
    options = parser.parse_args(arguments)
    if options.workers is not None and not 1 <= options.workers <= 1000:
        parser.error(f"--workers is {options.workers}; expected a number from 1 to 1000")
    try:
        plan = read_plan(options.plan)
        batch = Runner(plan, project.project_path("runs") / plan.name)
        if options.dry_run:
            print(batch.table())
            return 0
        return batch.run(options.workers, options.dask)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # before a run was started
        return 130


class Runner:
    """The runs of a `Plan`, each in its folder in `folder`. Raises InputError where their data cannot be used."""

    def __init__(self, plan, folder, notebook=project.NOTEBOOK):
        self.plan, self.folder, self.notebook = plan, folder, str(notebook)
        self.origins = _origins(plan, notebook)

    def table(self):
        """Returns a row a run as text: what would be done with it, and the parameters that differ."""
        import pandas as pd

        rows = []
        for name, origin in self.origins.items():
            how = standing(self.folder / name, origin)
            of_run = self.plan.runs[name].parameters
            rows.append({"run": name, "would": WOULD.get(how, how.replace("outdated", "run anew"))})
            rows[-1] |= {parameter: of_run[parameter] for parameter in self.plan.varied}
        return f"{pd.DataFrame(rows).to_string(index=False)}\n{len(rows)} runs, in {self.folder}"

    def run(self, workers=None, dask=None, out=None):
        """Does what is to be done and shows its progress. Returns the exit status. workers: runs at once on this machine, or
        dask: the cluster, as `cluster.cluster` takes it. Raises InputError where that cannot be, or another process runs this
        batch."""
        to_do = {n: run for n, run in self.plan.runs.items() if standing(self.folder / n, self.origins[n]) != "done"}
        on_machine = workers or min(usable_cores(), max(len(to_do), 1)) if dask is None else workers_of(dask)
        if on_machine and to_do:
            on_machine = _fitting(on_machine, to_do, asked=workers or dask)
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            alone = take_lock(self.folder, flush=True)
        except BlockingIOError as error:
            raise InputError(f"{error.strerror}, and runs this batch: wait for it, or stop it") from None
        try:
            if not alone:
                raise InputError(
                    f"{self.folder} lies on a file system without locks, where nobody can tell who writes a run: move the "
                    "project to another, or run one after the other with train.py"
                )
            planned = {
                name: {"setting": run.setting, "parameters": run.parameters, "origin": self.origins[name]}
                for name, run in self.plan.runs.items()
            }
            write_json(self.folder / "batch.json", {"plan": self.plan.name, "varied": self.plan.varied, "runs": planned})
            progress = Progress(to_do, self.folder, out or sys.stdout, len(self.plan.runs) - len(to_do))
            signals = []
            place = _local(on_machine) if dask is None else cluster(dask)
            with handled(lambda signum, frame: signals.append(signum), *stop_signals()), place as submit:
                self._run(to_do, submit, 0 if dask is None else LOST, progress, signals)
            return self._sum_up(progress, signals)
        finally:
            free_lock(self.folder)

    def _run(self, to_do, submit, lost_times, progress, signals):
        """Returns when all runs have ended, or after a signal when those have that had begun. A run whose worker was lost is
        submitted again, so many times without a new epoch."""
        tries, stopping = Counter(), False
        try:
            futures = {submit(self._job(name)): name for name in to_do}
            while futures:
                if signals and not stopping:
                    stopping = True
                    free_lock(self.folder)  # at which all look that run
                    progress.say("stopping: each run saves its best model, which takes at most STOP_SECONDS")
                    for future in futures:
                        future.cancel()
                for future in concurrent.futures.wait(futures, LOOK, concurrent.futures.FIRST_COMPLETED).done:
                    name = futures.pop(future)
                    status, reason, lost = self._outcome(name, future)
                    tries[name, progress.epoch(name)] += 1
                    if lost and tries[name, progress.epoch(name)] <= lost_times and not stopping:
                        futures[submit(self._job(name))] = name
                    elif status:
                        progress.end(name, status, reason)
                progress.show()
        finally:
            free_lock(self.folder)
            for name in to_do:  # a worker that was lost need not have taken its run with it
                while lock_owner(self.folder / name) and not lock_owner(self.folder):  # else another batch has taken over
                    time.sleep(LOOK / 4)

    def _job(self, name):
        return {
            "batch": str(self.folder),
            "owner": this_process(),
            "folder": str(self.folder / name),
            "log": str(self.folder / f"{name}.log"),
            "notebook": self.notebook,
            "parameters": self.plan.runs[name].parameters,
            "origin": self.origins[name],
        }

    def _outcome(self, name, future):
        """(status, reason, whether its worker was lost) of a run whose job has ended, by what stands in its folder."""
        try:
            exit_status = future.result()
        except concurrent.futures.CancelledError:
            return "", "", True
        except InputError:  # a machine that cannot do any of the runs
            raise
        except Exception as error:  # whatever a cluster says of a worker that is gone
            return "died", f"{type(error).__name__}: {error}", True
        if exit_status == UNDONE:
            return "failed", _last_line(self.folder / f"{name}.log"), False
        state = read_state(self.folder / name) or {}
        status, reason = state.get("status", "failed"), state.get("reason", "")
        if exit_status and status == "finished":  # told before its end
            status = "failed"
        if exit_status and not reason:
            reason = _last_line(self.folder / f"{name}.log")
        return status, reason, exit_status < 0 or status in ("died", "interrupted")

    def _sum_up(self, progress, signals):
        """Says what came out, as it stands on disk; returns the exit status."""
        statuses, warnings = [], Counter()
        for name, origin in self.origins.items():
            state = read_state(self.folder / name) or {}
            how = standing(self.folder / name, origin)
            began, ended = how in ("done", "resume"), progress.ended.get(name, "waiting")
            if not began and ended in ("finished", "diverged"):
                ended = "outdated"
                progress.say(f"{name} is {how} while it ran")
            statuses.append(state["status"] if began else ended)
            warnings.update(state.get("warnings", ()) if began else ())
        for message, count in warnings.items():
            progress.say(f"Warning ({count} runs): {message}")
        counts, whole = Counter(statuses), all(status == "finished" for status in statuses)
        progress.say(f"of {len(statuses)} runs: {', '.join(f'{count} {status}' for status, count in counts.items())}")
        compare = f"compare them: notebooks/4_compare.ipynb with BATCH = {self.folder.name!r}"
        progress.say(compare if whole else "the same command goes on with what is left")
        progress.say(str(self.folder))
        return 128 + signals[0] if signals else int(not whole)


def _fitting(workers, runs, asked):
    """The number of workers whose runs fit into memory, at most `workers`. Raises InputError where so many were `asked` for and
    do not, or where not even one does."""
    needed = [n * max(run_memory(run.parameters, n) for run in runs.values()) for n in range(1, workers + 1)]
    free = free_memory()
    fits = sum(size <= free for size in needed)
    if fits < (workers if asked else 1):
        advice = f"expected at most {fits}" if fits else "not even one fits: end other programs, or set CACHE_MB to less"
        raise InputError(
            f"memory is short for {workers} workers: their runs need about {needed[-1] / MIB:,.0f} MiB, {free / MIB:,.0f} are "
            f"free; {advice}"
        )
    return fits


@contextlib.contextmanager
def _local(workers):
    """Yields `submit(job)`, as `cluster.cluster` does, for so many workers on this machine."""
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        try:
            yield lambda job: pool.submit(run_in_process, share(job, workers))
        finally:
            end_workers()


def _origins(plan, notebook):
    """{run: what it follows from}: the parameters that matter, the data with the audit that was saved of it, the file of a
    split, the code."""
    code, of_data, found = project.code_digest(notebook), {}, {}
    for name, run in plan.runs.items():
        parameters = run.parameters
        kept = {key: value for key, value in parameters.items() if key not in NOT_OF_THE_RESULT}
        found[name] = {"parameters": kept, "code": code}
        if "DATA" in parameters:
            where = tuple(parameters[key] for key in ("DATA", "LABELS", "SAMPLE", "LAYOUT", "MAX_BAD_SHARE"))
            if where not in of_data:
                data, labels, _ = project.open_data(parameters)
                clips = load_clips(data, labels, parameters["LAYOUT"], parameters["MAX_BAD_SHARE"])
                of_data[where] = {"data": clips.fingerprint, "audit": _audit(clips)}
            split = project.project_path(parameters["SPLIT"])
            found[name] |= of_data[where] | {"split": sha256(split) if split.is_file() else ""}
    return found


def _audit(clips):
    """The digest of the audit that a user saved of these clips; of the quick one, which a run makes of them by itself, none."""
    folder = project.audit_folder(clips)
    report = read_report(folder, clips.fingerprint)
    return sha256(folder / "audit.json") if report and not report.quick else ""


def _last_line(log):
    try:
        lines = pathlib.Path(log).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return f"there is no log {log}"
    return f"{lines[-1] if lines else 'nothing was said'} (see {log})"


if __name__ == "__main__":
    sys.exit(main())
