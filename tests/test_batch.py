"""A batch: what it does, what it leaves undone, how it stops and goes on. The notebooks are small, the processes real."""

import io
import json
import pathlib
import signal
import subprocess
import sys

import psutil
import pytest

import signlib
from signlib import batch, memory, project
from signlib.audit import audit_clips
from signlib.batch import Runner
from signlib.errors import InputError
from signlib.plan import Plan, Planned, read_plan
from signlib.runs import read_state

RUN = """
import json, pathlib
folder = pathlib.Path(RESUME or RUN_DIR)
with (folder.parent / "ran.txt").open("a") as ran:
    ran.write(f"{SEED}\\n")
state = {"status": "finished", "reason": "", "parameters": {"SEED": SEED}, "warnings": ["few clips"]}
"""
WRITE = '(folder / "run.json").write_text(json.dumps(state))'
WAIT = """
(folder / "run.json").write_text(json.dumps(state | {"status": "interrupted"}))
if not RESUME:
    import time
    time.sleep(100)
"""
SCRIPT = """
import pathlib, sys
from signlib.batch import Runner
from signlib.plan import Plan, Planned
runs = {f"base__seed={seed}": Planned("base", {"SEED": seed}) for seed in range(3)}
sys.exit(Runner(Plan("mine", runs, []), pathlib.Path(sys.argv[1]), sys.argv[2]).run(2))
"""


def plan(*seeds):
    return Plan("mine", {f"base__seed={seed}": Planned("base", {"SEED": seed}) for seed in seeds}, [])


def ran(folder):
    return sorted((folder / "ran.txt").read_text().split())


def statuses(folder):
    return {path.name: (read_state(path) or {}).get("status") for path in sorted(folder.glob("base__seed=?"))}


def test_all_runs_are_done_and_started_again_none_of_them_is(notebook, tmp_path):
    path, folder, out = notebook(RUN + WRITE), tmp_path / "mine", io.StringIO()
    made = Runner(plan(0, 1, 2), folder, path)
    assert made.table().splitlines()[1].split() == ["base__seed=0", "start"]
    assert made.run(2, out=out) == 0 and ran(folder) == ["0", "1", "2"]
    assert set(statuses(folder).values()) == {"finished"}
    assert "Warning (3 runs): few clips\nof 3 runs: 3 finished\n" in out.getvalue()
    planned = json.loads((folder / "batch.json").read_text())
    one = {"setting": "base", "parameters": {"SEED": 1}, "origin": made.origins["base__seed=1"]}
    assert planned["runs"]["base__seed=1"] == one and planned["varied"] == []

    more = Runner(plan(0, 1, 2, 3), folder, path)
    assert [row.split(maxsplit=1)[1] for row in more.table().splitlines()[1:5]] == ["skip, done"] * 3 + ["start"]
    assert more.run(2, out=out) == 0 and ran(folder) == ["0", "1", "2", "3"]


@pytest.mark.slow
def test_a_run_that_fails_hinders_no_other_and_is_tried_again(notebook, tmp_path):
    fail = "import signlib\nif SEED == 1 and not RESUME:\n    raise signlib.InputError('no such clip')\n"
    diverge = "if SEED == 2:\n    state |= {'status': 'diverged', 'reason': 'the loss became nan'}\n"
    path, folder, out = notebook(RUN + fail + diverge + WRITE), tmp_path / "mine", io.StringIO()
    assert Runner(plan(0, 1, 2), folder, path).run(2, out=out) == 1
    assert "no such clip" in out.getvalue() and "the loss became nan" in out.getvalue()
    assert "of 3 runs: 1 finished, 1 failed, 1 diverged" in out.getvalue()
    assert Runner(plan(0, 1, 2), folder, path).run(2, out=out) == 1  # what diverged would do so again, bit for bit
    assert ran(folder) == ["0", "1", "1", "2"] and "of 3 runs: 2 finished, 1 diverged" in out.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_stopped_or_killed_a_batch_leaves_nothing_running_and_goes_on(notebook, tmp_path, how, until):
    path, folder = notebook(RUN + WAIT + WRITE), tmp_path / "mine"
    command = [sys.executable, "-c", SCRIPT, str(folder), str(path)]
    with subprocess.Popen(command, cwd=project.ROOT, stdout=subprocess.PIPE, text=True) as child:
        until(lambda: len(statuses(folder)) == 2 and set(statuses(folder).values()) == {"interrupted"})
        if how == signal.SIGTERM:
            with pytest.raises(InputError, match=rf"process {child.pid} on .*, and runs this batch: wait for it"):
                Runner(plan(0, 1, 2), folder, path).run(2, out=io.StringIO())
        processes = psutil.Process(child.pid).children(recursive=True)
        child.send_signal(how)
        said = child.stdout.read()
    assert psutil.wait_procs(processes, timeout=60)[1] == [] and len(processes) >= 4
    assert statuses(folder) == {"base__seed=0": "interrupted", "base__seed=1": "interrupted"}
    if how != signal.SIGKILL:
        assert child.returncode == 128 + how and "of 3 runs: 2 interrupted, 1 waiting" in said
    assert Runner(plan(0, 1), folder, path).run(2, out=io.StringIO()) == 0
    assert ran(folder) == ["0", "0", "1", "1"]


def test_data_that_changed_while_a_run_learnt_from_them_are_no_result(notebook, tmp_path):
    path, folder, out = notebook(RUN + "state['data_fingerprint'] = 'another'\n" + WRITE), tmp_path / "mine", io.StringIO()
    made = Runner(plan(0), folder, path)
    made.origins["base__seed=0"]["data"] = "as it was"
    assert made.run(1, out=out) == 1
    assert "base__seed=0 is outdated: data changed while it ran\nof 1 runs: 1 outdated\n" in out.getvalue()


def test_a_job_that_cannot_begin_is_not_told_by_what_was_before(notebook, tmp_path):
    path, folder, out = notebook(RUN + WRITE), tmp_path / "mine", io.StringIO()
    (folder / "base__seed=0").mkdir(parents=True)
    made = Runner(plan(0), folder, path)
    (folder / "base__seed=0/origin.json").write_text(json.dumps(made.origins["base__seed=0"]))
    state = {"status": "interrupted", "reason": "stopped by SIGTERM", "parameters": {"SEED": 0}}
    (folder / "base__seed=0/run.json").write_text(json.dumps(state))
    path.write_text(path.read_text().replace("few clips", "many clips"))
    assert made.run(1, out=out) == 1
    assert "stopped by SIGTERM" not in out.getvalue() and "have changed since the batch began" in out.getvalue()


def test_more_workers_than_fit_into_memory_are_refused(given, monkeypatch):
    runs = {"base": Planned("base", given)}
    monkeypatch.setattr(batch, "free_memory", lambda: 4 * 2**30)
    with pytest.raises(InputError, match=r"memory is short for 9 workers: .* 4,096 are free; expected at most 3"):
        batch._fitting(9, runs, asked=True)
    assert batch._fitting(9, runs, asked=False) == batch._fitting(3, runs, asked=True) == 3
    monkeypatch.setattr(batch, "free_memory", lambda: 2**30)
    with pytest.raises(InputError, match="not even one fits"):
        batch._fitting(2, runs, asked=False)


@pytest.mark.parametrize("architecture", memory.VALUES)
def test_a_run_takes_no_more_memory_than_is_reckoned_before_there_is_a_model(given, architecture):
    preprocessor = signlib.Preprocessor(
        50, "default", "resample", "1629", kinds="position+place+shape+distance+direction+velocity"
    )
    model = signlib.build_model(preprocessor.output_shape, 300, architecture=architecture)
    batches = type("Batches", (), {"preprocessor": preprocessor})
    for batch_size in (32, 256):
        reckoned = memory.run_memory(given | {"ARCHITECTURE": architecture, "BATCH_SIZE": batch_size, "CACHE_MB": 0})
        assert memory.step_memory(model, batches, batch_size) - memory.STEP_BYTES <= reckoned - memory.RUN_BYTES
    one, two = (memory.run_memory(given, at_once) for at_once in (1, 2))
    assert 2 * two == 2 * one - given["CACHE_MB"] * memory.MIB


@pytest.fixture
def origin(given, folder, tmp_path):
    """The function `origin(**parameters)`: what a run with these parameters on a small folder follows from."""
    (tmp_path / "split.json").write_text("{}")

    def origin(**changes):
        run = Planned("base", given | {"DATA": str(folder)} | changes)
        return batch._origins(Plan("mine", {"one": run}, []), project.NOTEBOOK)["one"]

    return origin


def test_what_a_run_follows_from(origin, folder, tmp_path, monkeypatch):
    before = origin()
    assert origin(CACHE_MB=1, RUN_DIR="elsewhere", STOP_SECONDS=5) == before != origin(EPOCHS=7)
    assert json.loads(json.dumps(before)) == before
    split = {"SPLIT": str(tmp_path / "split.json")}
    one = origin(**split)
    (tmp_path / "split.json").write_text("{ }")
    assert origin(**split) != one
    monkeypatch.setattr(project, "code_digest", lambda notebook: "another")
    assert origin() == before | {"code": "another"}
    (folder / "00123.npy").write_bytes((folder / "00456.npy").read_bytes())
    assert origin()["data"] != before["data"]


def test_an_audit_of_the_user_counts_and_one_that_a_run_made_does_not(origin, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(project, "audit_folder", lambda clips: tmp_path / "audit")
    clips, before = signlib.load_clips(folder), origin()
    audit_clips(clips, quick=True).save(tmp_path / "audit")
    assert origin() == before and before["audit"] == ""
    audit_clips(clips).save(tmp_path / "audit")
    assert origin()["audit"] != ""


def command(*arguments):
    done = [sys.executable, "-m", "signlib.batch", *map(str, arguments)]
    return subprocess.run(done, capture_output=True, text=True, cwd=project.ROOT, timeout=60)


def test_the_command_shows_what_it_would_do_and_refuses_what_it_cannot(folder, tmp_path):
    path = tmp_path / f"{tmp_path.parent.name}-plan.yaml"
    path.write_text(f"base: {{DATA: {folder}}}\ngrid: {{DROPOUT_RATE: [0.3, 0.5]}}\nrepeats: 2\n")
    shown = command(path, "--dry-run")
    assert shown.returncode == 0 and "dropout_rate=0.3__seed=43 start           0.3" in shown.stdout, shown
    assert shown.stdout.splitlines()[-1] == f"4 runs, in {project.ROOT / 'runs' / path.stem}"
    assert not (project.ROOT / "runs" / path.stem).exists()
    for arguments, message in {
        (path, "--workers", "0"): "--workers is 0; expected a number from 1 to 1000",
        (path, "--workers", "1000"): "memory is short for 1000 workers",
        (path, "--workers", "2", "--dask", "local:2"): "not allowed with argument",
        (path, "--dask", "local:none"): "expected local:N for N workers on this machine",
        (path, "--dask", ""): "--dask is empty: expected the address of a scheduler",
        (tmp_path / "no.yaml",): "cannot read the plan",
    }.items():
        refused = command(*arguments)
        assert refused.returncode == 2 and message in refused.stderr and "Traceback" not in refused.stderr, refused
    path.write_text(f"base: {{DATA: {folder}, SPLIT: {'a' * 300}.json}}\n")
    refused = command(path, "--dry-run")
    assert refused.returncode == 1 and refused.stderr.strip().endswith(": File name too long"), refused
    path.write_text(f"base: {{DATA: {tmp_path / 'nowhere'}}}\n")
    assert "DATA: no folder" in command(path, "--dry-run").stderr
    assert not (project.ROOT / "runs" / path.stem).exists()


def test_a_folder_without_locks_is_refused(notebook, tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "take_lock", lambda path, flush: False)
    with pytest.raises(InputError, match="lies on a file system without locks"):
        Runner(plan(0), tmp_path / "mine", notebook(RUN)).run(1, out=io.StringIO())


def test_the_plans_in_the_project_are_plans():
    for path in pathlib.Path(project.ROOT, "notebooks", "plans").glob("*.yaml"):
        assert read_plan(path).runs
