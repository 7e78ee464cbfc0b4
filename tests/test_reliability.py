"""benchmarks/reliability.py counts what survives, and says what does not."""

import importlib
import pathlib

import pytest

from signlib import project, safe_save


@pytest.fixture
def reliability(monkeypatch):
    """The module benchmarks/reliability.py."""
    monkeypatch.syspath_prepend(project.ROOT / "benchmarks")
    return importlib.import_module("reliability")


def save_in_place(path, room, said):
    """What many tools do on a full disk: the old file is gone, and so is the message."""
    pathlib.Path(path).write_bytes(pathlib.Path(path).read_bytes()[:room])
    said.send("no")


def read_without_a_look(path):
    return path.read_bytes()[: -len("sha256 \n") - 64]


def test_a_full_disk_is_survived_and_a_save_that_does_not_survive_it_is_reported(reliability, monkeypatch):
    assert reliability.disks(1, 0) == (1, [])
    monkeypatch.setattr(reliability, "replace_model", save_in_place)
    tries, (failure,) = reliability.disks(1, 0)
    assert tries == 1 and "said: no;" in failure and "the old file is no longer there" in failure


def test_the_table_counts_what_survived_and_names_what_did_not(reliability, monkeypatch, capsys):
    monkeypatch.setattr(reliability, "FAULTS", {"flips": (reliability.flips, "one flipped bit", 200, 3)})
    assert reliability.main(["--small"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == ["one", "flipped", "bit", "3", "3"]
    monkeypatch.setattr(safe_save, "read_sealed", read_without_a_look)
    assert reliability.main(["--small", "--only", "flips"]) == 1
    table, reasons = capsys.readouterr().out.split("did not survive")
    assert table.split()[-2:] == ["3", "0"]
    assert all(line.startswith(f"flips, try {n}: bit ") for n, line in enumerate(reasons.strip().splitlines()))
    assert len(reasons.strip().splitlines()) == 3
