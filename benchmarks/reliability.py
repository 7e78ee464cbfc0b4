"""Injects faults into saving, stopping, resuming and reading, at random moments and places, and counts what survives.

python benchmarks/reliability.py                 the full counts, about a quarter of an hour on two cores
python benchmarks/reliability.py --small         a few of each fault, as continuous integration runs them
python benchmarks/reliability.py --only kills    one fault; --seed draws other moments and places

Prints where it was measured, then one row a fault: how often it was injected, and how often all held that must hold; below
the table, what did not. What is injected and what must hold is said at each fault, in this file. Everything is written in
temporary folders. Ends with status 0: all survived, 1: something did not, 130: interrupted.
"""

import argparse
import contextlib
import functools
import itertools
import json
import multiprocessing
import os
import pathlib
import platform
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np

import signlib
from signlib.errors import InputError, SaveError
from signlib.preprocess import Preprocessor
from signlib.project import MODEL_NAME, ROOT
from signlib.runs import read_state
from signlib.state import read_progress, save_state

EPOCHS = 20  # of a run that is signalled or killed; they take a third of it, the rest is starting and ending
BREAKS = 5  # kills of one chain
HANGS = 240  # seconds after which what should have ended hangs
_children = set()  # running, for Ctrl-C to end


def main(arguments):
    """Injects the faults that the options name and prints the table. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a few tries of each fault")
    parser.add_argument("--only", choices=FAULTS, help="this fault alone")
    parser.add_argument("--seed", type=int, default=0, help="other numbers draw other moments and places [0]")
    given = parser.parse_args(arguments)
    width = max(len(title) for _, title, _, _ in FAULTS.values())
    print(
        f"machine   {os.cpu_count()} cores, {platform.system()} {platform.machine()}, load {os.getloadavg()[0]:.1f} before\n"
        f"versions  Python {platform.python_version()}, NumPy {np.__version__}, {signlib.use_device()}\n"
        f"seed      {given.seed}\n\n{'fault':{width}}  {'tries':>6}  {'survived':>8}",
        flush=True,
    )
    reasons = []
    for name, (fault, title, full, small) in FAULTS.items():
        if given.only in (None, name):
            print(f"{name} ", end="", file=sys.stderr, flush=True)
            try:
                tries, failures = fault(small if given.small else full, given.seed)
            finally:
                print(file=sys.stderr, flush=True)
            print(f"{title:{width}}  {tries:6,}  {tries - len(failures):8,}", flush=True)
            reasons += [f"{name}, {failure}" for failure in failures]
    if reasons:
        print("\ndid not survive", *reasons, sep="\n")
    return 1 if reasons else 0


def count(attempt, tries, seed, at_once=1):
    """Calls `attempt(number, rng, folder)`, which yields what did not hold, `tries` times, each with random numbers and an
    empty folder of its own. Returns (tries, failures): one text for each try of which something did not hold."""

    def one(number):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            try:
                reasons = list(attempt(number, np.random.default_rng([seed, number]), pathlib.Path(folder)))
            except Exception as error:
                reasons = [f"{type(error).__name__}: {error}"]
        print("F" if reasons else ".", end="", file=sys.stderr, flush=True)
        return reasons and f"try {number}: {'; '.join(reasons)}"

    with ThreadPoolExecutor(at_once) as pool:
        try:
            return tries, [failure for failure in pool.map(one, range(tries)) if failure]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in list(_children):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
            raise


# Saving and loading


def kills(tries, seed):
    """SIGKILL, at a random moment, of a process that saves one model after the other to one path.

    Survived: the file loads; it is wholly the last model of which the process had said that it is saved, or wholly the
    next one; the next save leaves nothing beside it but its readable copy.
    """

    def attempt(number, rng, folder):
        path = save_number(folder / "model.h5", 0)
        child, said = start(save_one_after_another, path)
        said.recv()
        time.sleep(rng.uniform(0, 0.2))  # a save takes 12 to 40 ms
        child.kill()
        last = 0
        with contextlib.suppress(EOFError):
            while True:
                last = said.recv()
        child.join()
        loaded = signlib.load_model(path)
        found = loaded.record["number"]
        if found not in (last, last + 1):
            yield f"model {found} is there; the last that had been saved was {last}"
        if any((array != found).any() for array in loaded.model.get_weights()):
            yield f"the record is that of model {found}, not all weights are"
        save_number(path, 0)
        yield from strangers(path)

    return count(attempt, tries, seed)


def flips(tries, seed):
    """One bit, at a random place, is another one in a copy of a model's file.

    Survived: loading it is refused, in a message that names the file and the checksums expected and found.
    """

    def attempt(number, rng, folder):
        copy, bit = folder / "copy.h5", int(rng.integers(8 * len(data)))
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        copy.write_bytes(damaged)
        try:
            signlib.load_model(copy)
        except InputError as error:
            if missing := [part for part in (str(copy), "expected", "found") if part not in str(error)]:
                yield f"bit {bit} of {8 * len(data)}: the message lacks {', '.join(missing)}: {error}"
        else:
            yield f"bit {bit} of {8 * len(data)}: the file was loaded"

    with tempfile.TemporaryDirectory() as shared:
        path = save_number(pathlib.Path(shared, "model.h5"), 1)
        signlib.load_model(path)
        data = path.read_bytes()
        return count(attempt, tries, seed)


def disks(tries, seed):
    """A disk that is full after so many bytes, few more often than many, while a process replaces a model, and while one
    replaces the state to resume from (RLIMIT_FSIZE; what a real full disk does differs in the number of the error alone).

    Survived: an error says why, of the model also which file; the old file is there byte for byte; beside it is nothing
    but the model's readable copy. Where there was room for the weights alone, they may be there too, and the error says so.
    """

    def attempt(number, rng, folder):
        for name, save, replace in (("model.h5", save_number, replace_model), ("state.h5", save_state_number, replace_state)):
            path = folder / name.partition(".")[0] / name
            path.parent.mkdir()
            before = save(path, 1).read_bytes()
            room = int(len(before) * rng.random() ** 3)
            child, said = start(replace, path, room)
            message = "nothing"
            with contextlib.suppress(EOFError):
                message = said.recv()
            child.join()
            if child.exitcode or "File too large" not in message or (replace is replace_model and str(path) not in message):
                yield f"{name}, room for {room} bytes: it ended with status {child.exitcode} and said: {message}"
            if path.read_bytes() != before:
                yield f"{name}, room for {room} bytes: the old file is no longer there"
            yield from strangers(path, "model.weights.h5" if "weights alone" in message else "")

    return count(attempt, tries, seed)


def save_one_after_another(path, said):
    """Saves models 1, 2, ... to `path` until it is killed; says 0 once it begins and the number of each that is saved."""
    model = make_model()
    said.send(0)
    for number in itertools.count(1):
        save_number(path, number, model)
        said.send(number)


def replace_model(path, room, said):
    """Saves model 2 to `path` where no file can hold more than `room` bytes; says what is said of it."""
    model, record = make_model(), make_record(2)
    fill_disk(room)
    try:
        said.send(signlib.save_model(model, path, record).message)
    except SaveError as error:
        said.send(str(error))


def replace_state(path, room, said):
    """As `replace_model`, the state of a training."""
    model = make_model()
    fill_disk(room)
    try:
        save_state_number(path, 2, model)
    except Exception as error:
        said.send(f"{type(error).__name__}: {error}")
        if not isinstance(error, OSError):
            raise


def fill_disk(room):
    """From now on, a write past the first `room` bytes of a file fails, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # HDF5 complains of what it could not close


@functools.cache
def _processes():
    """Makes processes by forking one that has imported TensorFlow and not started it: each is ready in 0.2 seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["signlib.safe_save"])
    return context


def start(function, *arguments):
    """Returns (a process that calls the function, the end of a pipe where one hears what that says with its last argument)."""
    said, saying = _processes().Pipe(duplex=False)
    child = _processes().Process(target=function, args=(*arguments, saying), daemon=True)
    child.start()
    saying.close()  # so that the pipe ends with the child
    return child, said


def make_model():
    """Returns a model of three glosses, as large as that of the notebook."""
    return signlib.build_model(Preprocessor().output_shape, 3)


def make_record(number):
    """Returns the record of model `number`."""
    record = signlib.make_record(["a", "b", "c"], Preprocessor(), "1629", {"architecture": "lstm"})
    return record | {"number": number}


def save_number(path, number, model=None):
    """Saves model `number`, all of whose weights are that number; returns its path."""
    model = model or make_model()
    model.set_weights([np.full_like(array, number) for array in model.get_weights()])
    return signlib.save_model(model, path, make_record(number)).path


def save_state_number(path, number, model=None):
    """Saves the state of a training whose best weights are model `number`; returns its path."""
    model = model or make_model()
    model.optimizer.build(model.trainable_variables)
    save_state(path, model, [np.full_like(array, number) for array in model.get_weights()], make_record(number), {})
    return path


def strangers(path, more=""):
    """Yields what lies in the folder of a model and is neither it, nor its readable copy, nor `more`."""
    if found := {p.name for p in path.parent.iterdir()} - {path.name, path.with_suffix(".json").name, more}:
        yield f"beside the model there is {', '.join(sorted(found))}"


# Stopping and resuming


class HeadlessRun:
    """A run of `python train.py` in `folder`, new or, where there is one, resumed. `how` it is started: "process", as a
    "background" job of a shell that is not interactive, or in a "pipeline", as `python train.py 2>&1 | tee log`. As a context
    it leaves no process behind."""

    def __init__(self, folder, data, how="process"):
        self.folder, self.how, self.path = folder, how, folder / "run"
        (folder / "tmp").mkdir(parents=True, exist_ok=True)
        self.earlier = len(self._notebooks())
        self.log = folder / f"{self.earlier}.log"
        command = [sys.executable, str(ROOT / "train.py")]
        if self.path.exists():
            command += ["--resume", str(self.path)]
        else:
            options = {"data": data, "run-dir": self.path, "models-dir": folder / "models", "fallback-dir": folder / "fallback"}
            options |= {"epochs": EPOCHS, "patience": EPOCHS, "batch-size": 4}
            command += [f"--{name}={value}" for name, value in options.items()]
        if how == "background":
            command = ["sh", "-c", '"$@" & echo $! > "$0"; wait $!', str(folder / "pid"), *command]
        options = {"stderr": subprocess.STDOUT, "process_group": 0}
        options["env"] = os.environ | {"TMPDIR": str(folder / "tmp")}  # a kernel is then known by its connection file
        with self.log.open("w") as log:
            if how == "pipeline":
                self.child = subprocess.Popen(command, stdout=subprocess.PIPE, **options)
                with self.child.stdout as pipe:
                    self.reader = subprocess.Popen(["cat"], stdin=pipe, stdout=log, process_group=self.child.pid)
            else:
                self.child = subprocess.Popen(command, stdout=log, **options)
        _children.add(self.child)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.child.kill()
        self.child.wait()
        if self.how == "pipeline":
            self.reader.wait()
        _children.discard(self.child)

    def until(self, condition):
        """Waits until `condition()`. Returns whether that came before the run's end; raises TimeoutError where neither does."""
        deadline = time.monotonic() + HANGS
        while not condition():
            if self.child.poll() is not None:
                return False
            if time.monotonic() > deadline:
                raise TimeoutError(f"the run hangs; its log ends with {self.log.read_text()[-300:]!r}")
            time.sleep(0.01)
        return True

    def has_started(self):
        """Returns whether its notebook has."""
        return len(self._notebooks()) > self.earlier

    def signal(self, signum):
        """Sends a signal to train.py, in a pipeline to all processes."""
        if self.how == "pipeline":
            os.killpg(self.child.pid, signum)
        else:
            os.kill(self.child.pid if self.how == "process" else int((self.folder / "pid").read_text()), signum)

    def end(self):
        """Waits for its end and that of its kernel. Returns (exit status as a shell has it, whether the kernel ended)."""
        self.until(lambda: False)
        status, deadline = self.child.returncode, time.monotonic() + 20
        # A process that ends is off the list a moment before it gives back its locks, by which a run is running.
        while left := self.processes() or (read_state(self.path) or {}).get("status") == "running":
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        return status if status >= 0 else 128 - status, not left

    def epoch(self):
        """Returns the last epoch in its log."""
        return max(map(int, re.findall(rf"^ *(\d+)/{EPOCHS} ", self.log.read_text(), re.M)), default=0)

    def processes(self, word=""):
        """Returns the ids of the processes whose command line holds the folder and `word`."""
        if pathlib.Path("/proc/self/cmdline").exists():
            lines = {}
            for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    lines[path.parent.name] = path.read_bytes().decode(errors="replace")
        else:
            shown = subprocess.run(["ps", "-A", "-ww", "-o", "pid=,args="], capture_output=True, text=True, check=True).stdout
            lines = dict(line.split(maxsplit=1) for line in shown.splitlines())
        return [int(pid) for pid, line in lines.items() if f"{self.folder}/" in line and word in line]

    def _notebooks(self):
        return sorted(self.path.glob("2_train*.ipynb"))


def signals(signum, tries, seed):
    """A signal to `python train.py` at a random moment between the start of its notebook and its end: to its process, to a
    background job, to a whole pipeline. The moments are spread over that time.

    Survived: the exit status is 128 and the signal's number, run.json and the notebook say interrupted (run.json: or
    finished); or all was done, and it is 0. The training does not go on. No kernel and no temporary file is left. Once an
    epoch is finished, the run's model, the checkpoint and the published model load and are the same, of the epoch that
    run.json calls best, and the state to resume from is that of the last epoch.
    """

    def attempt(number, rng, folder):
        how = ("process", "background", "pipeline")[number % 3]
        for again in itertools.count():  # a run that ended before its signal proves nothing
            moment = life * (rng.random() if again else (number + rng.random()) / tries)
            with HeadlessRun(folder / str(again), data, how) as run:
                run.until(run.has_started)
                time.sleep(moment)
                if run.child.poll() is None:
                    epoch = run.epoch()
                    run.signal(signum)
                    reasons = stopped(run, signum, epoch)
                    yield from (f"{how}, after {moment:.1f} of {life:.1f} s: {reason}" for reason in reasons)
                    break

    with tempfile.TemporaryDirectory() as shared:
        data, life = signlib.make_sample(pathlib.Path(shared), 2, 10), _lifetime()
        return count(attempt, tries, seed, at_once=2)


def stopped(run, signum, epoch):
    """Yields what does not hold after a run was sent a signal when `epoch` was the last in its log, see `signals`."""
    status, alone = run.end()
    if not alone:
        yield "a process is left"
    state = read_state(run.path) or {"status": "nothing"}
    if (status, state["status"]) not in [(128 + signum, "interrupted"), (128 + signum, "finished"), (0, "finished")]:
        yield f"exit status {status}, run.json says {state['status']}, the log ends with {run.log.read_text()[-300:]!r}"
    notebook = json.loads((run.path / "2_train.ipynb").read_bytes())
    said = notebook["metadata"]["papermill"].get("status")
    if state["status"] == "interrupted" and said != "interrupted":
        yield f"exit status {status}, the notebook says {said}"
    if found := sorted(path.name for path in run.folder.rglob("*-tmp*")):
        yield f"a temporary file is left: {', '.join(found)}"
    epochs = max(run.epoch(), len(state.get("history", {}).get("loss", ())))
    if epochs == EPOCHS > epoch + 5:
        yield f"after the signal at epoch {epoch} it trained to the end"
    if epochs:
        models = [run.path / "model.h5", run.folder / "models" / "lstm_model_checkpoint.h5", run.folder / "models" / MODEL_NAME]
        records = []
        for path in models:
            try:
                records.append(signlib.load_model(path).record)
            except InputError as error:
                yield str(error)
        if any(record["epoch"] != state.get("best_epoch") or record != records[0] for record in records):
            yield f"models of the epochs {[record['epoch'] for record in records]}, best is {state.get('best_epoch')}"
        if (last := read_progress(run.path / "state.h5").get("epoch")) != epochs:
            yield f"the state is that of epoch {last}, the last was {epochs}"


def chains(tries, seed):
    """A run whose kernel and whose `python train.py` are killed in turns (SIGKILL), five times at random moments, once of
    them while it starts, and which is resumed each time, to its end.

    Survived: after each kill no process is left and run.json reads as failed, naming the kill of the kernel, or as died;
    and at the end the run cannot be told from one of the same parameters that was never interrupted: the same best
    model, weights, optimizer, history, figures and predictions, bit for bit.
    """

    def attempt(number, rng, folder):
        epochs = np.sort(rng.integers(1, EPOCHS, BREAKS))
        starting = rng.integers(BREAKS)
        for kill, epoch in enumerate(epochs):
            before = read_state(folder / "run")
            with HeadlessRun(folder, data) as run:
                run.until(lambda: run.has_started() and (run.path / "run.json").exists() and run.processes("ipykernel"))
                if kill == starting:
                    time.sleep(rng.uniform(0, 4))
                else:
                    run.until(lambda epoch=epoch: run.epoch() >= epoch or "─ Saving" in run.log.read_text())
                    time.sleep(rng.uniform(0, 0.3))
                of_kernel = (number + kill) % 2 == 0
                if run.child.poll() is not None or not (kernels := run.processes("ipykernel")):
                    yield f"kill {kill + 1} came too late, at epoch {run.epoch()}"
                    break
                os.kill(kernels[0] if of_kernel else run.child.pid, signal.SIGKILL)
                yield from (f"kill {kill + 1}, at epoch {run.epoch()}: {reason}" for reason in killed(run, of_kernel, before))
        with HeadlessRun(folder, data) as run:
            status, _ = run.end()
            if status:
                yield f"resumed, it ended with {status}: {run.log.read_text()[-300:]!r}"
        yield from differences(run.folder, whole)

    with tempfile.TemporaryDirectory() as shared:
        data, whole = signlib.make_sample(pathlib.Path(shared, "data"), 2, 10), pathlib.Path(shared)
        undisturbed(whole, data)
        return count(attempt, tries, seed, at_once=2)


def killed(run, of_kernel, before):
    """Yields what does not hold after a SIGKILL of a run's kernel, or else of train.py, see `chains`. Killed while it starts, a
    resumed run may leave its run.json as it stood `before`."""
    status, alone = run.end()
    if not alone:
        yield "a process is left"
    state = read_state(run.path)
    reason = state.get("reason", "")
    found = status, state["status"], "SIGKILL" in reason
    if found != ((1, "failed", True) if of_kernel else (137, "died", False)) and (status, state) != (137, before):
        yield f"exit status {status}, run.json reads {state['status']}: {reason}"


def differences(folder, whole):
    """Yields in what the run in `folder` and the one in `whole` differ."""
    states = [read_state(path / "run") for path in (folder, whole)]
    names = ("status", "history", "best_epoch", "best_value", "start_loss", "metrics")
    if unlike := [name for name in names if states[0].get(name) != states[1].get(name)]:
        yield f"run.json: {', '.join(unlike)} differ"
    one, other = (read_progress(path / "run" / "state.h5") for path in (folder, whole))
    if unlike := [name for name in one.keys() | other.keys() if name != "seconds" and one.get(name) != other.get(name)]:
        yield f"state.h5: {', '.join(unlike)} differ"
    for name in ("run/model.h5", "run/state.h5", f"models/{MODEL_NAME}"):
        one, other = (arrays(path / name) for path in (folder, whole))
        if unlike := sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key)):
            yield f"{name}: {len(unlike)} of {len(other)} arrays differ, such as {unlike[0]}"
    with np.load(folder / "run/predictions.npz") as one, np.load(whole / "run/predictions.npz") as other:
        if one["probabilities"].tobytes() != other["probabilities"].tobytes():
            yield "predictions.npz: the probabilities differ"


def arrays(path):
    """{name: bytes} of the arrays of a model or a state, without their texts, which name folders and times."""
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()].tobytes()}) if isinstance(item, h5py.Dataset) else None)
    return {name: value for name, value in found.items() if name not in ("signlib_record", "state")}


@functools.cache
def _lifetime():
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:  # two at once, as those that are signalled
        data = signlib.make_sample(pathlib.Path(folder, "data"), 2, 10)
        return max(pool.map(lambda number: undisturbed(pathlib.Path(folder, number), data), "01"))


def undisturbed(folder, data):
    """Lets a run in `folder` reach its end; returns the seconds from the start of its notebook."""
    with HeadlessRun(folder, data) as run:
        run.until(run.has_started)
        began = time.monotonic()
        status, alone = run.end()
    if status or not alone:
        raise RuntimeError(f"a run that nobody disturbed ended with {status}: {run.log.read_text()}")
    return time.monotonic() - began


# Reading


def inputs(tries, seed):
    """Damaged keypoint files, labels and parameters: damage.py, beside this file, says which and what must hold."""
    from damage import survive

    return survive(tries, seed)


FAULTS = {  # name: (fault, title, how many tries, how many with --small)
    "kills": (kills, "SIGKILL during a save", 100, 4),
    "flips": (flips, "one flipped bit in a model's file", 200, 20),
    "disks": (disks, "full disk during a save", 20, 2),
    "sigint": (functools.partial(signals, signal.SIGINT), "SIGINT to a headless run", 20, 2),
    "sigterm": (functools.partial(signals, signal.SIGTERM), "SIGTERM to a headless run", 20, 2),
    "chains": (chains, f"{BREAKS} SIGKILLs of one run, resumed each time, bit for bit", 5, 1),
    "inputs": (inputs, "damaged keypoints, labels and parameters", 2000, 100),
}


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start with it ignored, and pass it on
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
