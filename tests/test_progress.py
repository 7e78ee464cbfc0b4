"""What is shown of a batch while it runs."""

import io

import pytest

from signlib import progress
from signlib.plan import Planned
from signlib.progress import Progress

HISTORY = {"val_accuracy": [0.5, 0.75, 0.7]}
STATE = {"epoch": 3, "best_epoch": 2, "best_value": 0.8, "monitor": "val_loss", "seconds": 6.0, "history": HISTORY}


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """The function `shown(out)`: a Progress of three runs of ten epochs, two of them held; the first has run three."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a/state.h5").write_bytes(b"")
    monkeypatch.setattr(progress, "read_progress", lambda path: STATE)
    monkeypatch.setattr(progress, "lock_owner", lambda path: "process 1" if path.name in "ab" else "")
    runs = {name: Planned("base", {"EPOCHS": 10}) for name in "abc"}
    return lambda out: Progress(runs, tmp_path, out, before=4)


def test_the_table_has_epoch_best_metric_and_time_left_of_each_run(shown):
    out = io.StringIO()
    shown(out).show()
    head, first, second, summary = out.getvalue().splitlines()
    assert head.split() == ["run", "epoch", "best", "val", "accuracy", "ETA", "<="]
    assert first.split() == ["running", "a", "3/10", "val_loss", "0.8000", "75.0", "%", "14.0", "s"]
    assert second.split() == ["running", "b", "0/10"] and summary == "4 of 7 runs done, 2 running, 1 waiting"
    assert len({len(line) for line in (head, first, second)}) == 1


def test_of_a_long_name_the_end_is_shown_where_the_terminal_is_narrow(tmp_path, monkeypatch):
    monkeypatch.setattr(progress.shutil, "get_terminal_size", lambda: progress.shutil.os.terminal_size((100, 20)))
    monkeypatch.setattr(progress, "lock_owner", lambda path: "process 1")
    out, name = Terminal(), f"learning_rate=0.001__{'dropout_rate=0.3' * 9}__seed=42"
    Progress({name: Planned("base", {"EPOCHS": 10})}, tmp_path, out).show()
    head, row, _ = out.getvalue().splitlines()
    assert head.endswith("ETA <=") and len(head) < 100 and "…" in row and "_seed=42 " in row


def test_on_a_terminal_the_table_takes_its_own_place_and_what_has_ended_stays_above(shown, monkeypatch):
    monkeypatch.setattr(progress.shutil, "get_terminal_size", lambda: progress.shutil.os.terminal_size((40, 20)))
    out = Terminal()
    table = shown(out)
    table.show()
    before = len(out.getvalue())
    table.end("a", "failed", "memory ran out")
    added = out.getvalue()[before:]
    assert added.startswith("\x1b[4F\x1b[J") and "failed       a" in added and "memory ran out\n" in added
    assert "5 of 7 runs done, 1 running, 1 waiting;" in added and "running      a" not in added
    assert all(len(line) < 40 for line in added.splitlines()[2:])


def test_elsewhere_it_is_written_seldom(shown):
    out = io.StringIO()
    table = shown(out)
    for _ in range(3):
        table.show()
    assert out.getvalue().count("running,") == 1
