"""signlib.report: what a report says first, and that a saved one is read again only where it may be."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from signlib.checks import LIMITS
from signlib.report import ADVICE, FINDING, VERSION, AuditReport, read_report

DATA = "f" * 64


def make(findings=(), verdicts=None, sizes=None, groups=(), quick=False):
    """A report of findings [(clip, check, severity)]."""
    rows = [(clip, check, severity, "3", 2, ADVICE[check]) for clip, check, severity in findings]
    return AuditReport(
        findings=pd.DataFrame(rows, columns=FINDING, dtype=object),
        groups=list(groups),
        verdicts={f"{i:05d}": "use" for i in range(8)} if verdicts is None else verdicts,
        limits=pd.DataFrame([("short", 7.0, 2.0, "why"), ("jumps", 1.0, np.inf, "why")],
                            columns=["check", "care", "leave_out", "reason"]),
        fingerprint=DATA,
        quick=quick,
        sizes={"book": 4, "drink": 4} if sizes is None else sizes,
    )  # fmt: skip


MANY = [
    *((f"{i:05d}", "copy", "note") for i in range(8)),
    *((f"{i:05d}", "short", "warning") for i in range(7)),
    *((f"{i:05d}", "jumps", "warning") for i in range(3)),
    ("", "few clips", "warning"),
    ("00003", "frozen", "error"),
    ("00004", "file", "error"),
    ("00005", "file", "error"),
]

# The first screen


@pytest.mark.parametrize(
    ("arguments", "fit"),
    [
        ({}, "yes"),
        ({"findings": [("00001", "copy", "note"), ("", "similar glosses", "note")]}, "yes"),
        ({"findings": [("00001", "short", "warning")]}, "with care"),
        ({"findings": [("00001", "short", "error")], "verdicts": {"a": "use", "b": "leave out"}}, "with care"),
        ({"verdicts": {"a": "use", "b": "leave out", "c": "leave out"}}, "no: 2 of 3 clips are to be left out"),
        ({"sizes": {"book": 2, "drink": 2}}, "yes"),
        ({"sizes": {"book": 9, "drink": 1}}, "no: 1 gloss with 2 or more usable clips, 2 are needed"),
        ({"sizes": {}}, "no: 0 glosses with 2 or more usable clips, 2 are needed"),
    ],
)
def test_whether_data_is_fit_is_said_in_plain_words_on_the_first_line(arguments, fit):
    report = make(**arguments)
    assert report.fit == fit
    assert report.summary().splitlines()[0] == f"Fit to train on: {fit}"


def test_the_summary_names_three_things_to_mend_first_and_then_counts():
    verdicts = {f"{i:05d}": "use with care" if i < 7 else "use" for i in range(8)} | dict.fromkeys(
        ["00003", "00004", "00005"], "leave out"
    )
    report = make(MANY, verdicts, {"book": 4, "drink": 1}, [["00001", "00002"]])
    assert report.summary().splitlines() == [
        "Fit to train on: no: 1 gloss with 2 or more usable clips, 2 are needed",
        "Mend first:",
        "  1. file: 2 (00004, 00005). Extract this video again, or delete the file",
        "  2. frozen: 1 (00003). Frames repeat: see whether the video plays",
        f"  3. short: 7 (00000, 00001, 00002, 00003, 00004, …). {ADVICE['short'][0].upper()}{ADVICE['short'][1:]}",
        "8 clips: 1 use, 4 use with care, 3 leave out",
        "2 glosses, 1 of them with fewer than 2 usable clips; 1 groups of clips of one recording",
        f"      2 file (error): {ADVICE['file']}",
        f"      1 frozen (error): {ADVICE['frozen']}",
        f"      7 short (warning): {ADVICE['short']}",
        f"      3 jumps (warning): {ADVICE['jumps']}",
        f"      1 few clips (warning): {ADVICE['few clips']}",
        f"      8 copy (note): {ADVICE['copy']}",
    ]
    assert "groups of clips of one recording (identical, or one url and frames)" in make(quick=True).summary()


def test_what_is_only_noted_is_nothing_to_mend():
    lines = make([("00001", "copy", "note")]).summary().splitlines()
    assert "Mend first:" not in lines and lines[1].startswith("8 clips") and lines[-1].startswith("      1 copy (note)")
    lines = make([("00001", "short", "warning")]).summary().splitlines()
    assert lines[1:3] == ["Mend first:", f"  1. short: 1 (00001). See{ADVICE['short'][3:]}"]
    assert not lines[3].startswith("  2.")


def test_a_check_is_named_once_among_the_things_to_mend_first():
    found = [("00001", "short", "error"), ("00002", "short", "warning"), ("00003", "jumps", "warning")]
    lines = make(found).summary().splitlines()
    assert [line[:12] for line in lines[2:4]] == ["  1. short: ", "  2. jumps: "] and lines[4].startswith("8 clips")


def test_kinds_are_a_row_each_with_the_worst_on_top():
    kinds = make(MANY).kinds()
    assert kinds.check.tolist() == ["file", "frozen", "short", "jumps", "few clips", "copy"]
    assert kinds["count"].tolist() == [2, 1, 7, 3, 1, 8]
    assert kinds.severity.tolist() == ["error"] * 2 + ["warning"] * 3 + ["note"]
    assert kinds.examples.tolist()[4] == "3"  # of the data as a whole: its value
    assert kinds.advice.tolist() == [ADVICE[check] for check in kinds.check]
    both = make([("00001", "short", "error"), ("00002", "short", "warning")]).kinds()
    assert both[["check", "severity", "count"]].to_numpy().tolist() == [["short", "error", 1], ["short", "warning", 1]]
    assert make().kinds().empty


def test_every_check_with_a_limit_says_what_to_do():
    assert set(LIMITS) <= set(ADVICE)
    assert all(len(advice) > 10 for advice in ADVICE.values())


# Saved and read again


def test_a_saved_report_gives_back_what_training_needs(tmp_path):
    report = make(MANY, {"00001": "leave out", "00002": "use"}, {"book": 1, "drink": 0}, [["00001", "00002"]])
    path = report.save(tmp_path / "deep" / "report")
    assert path == tmp_path / "deep/report/audit.json"
    again = read_report(path.parent, DATA)
    for name in ("groups", "verdicts", "sizes", "fingerprint", "quick"):
        assert getattr(again, name) == getattr(report, name)
    assert again.fit == report.fit and again.summary() == report.summary()
    pd.testing.assert_frame_equal(again.findings, report.findings)
    assert again.save(tmp_path / "again").read_bytes() == path.read_bytes()
    assert sorted(p.name for p in path.parent.iterdir()) == ["audit.csv", "audit.json"]


def test_a_report_without_findings_is_read_again(tmp_path):
    again = read_report(make().save(tmp_path).parent, DATA)
    assert again.findings.empty and list(again.findings.columns) == FINDING and again.fit == "yes"


def test_the_json_is_strict_and_the_csv_has_a_line_a_finding(tmp_path):
    def no_constant(name):
        raise AssertionError(f"{name} is no json")

    saved = json.loads(make(MANY).save(tmp_path).read_text(encoding="utf-8"), parse_constant=no_constant)
    assert saved["version"] == VERSION and saved["summary"] == make(MANY).summary().splitlines()
    assert saved["limits"][1] == {"check": "jumps", "care": "1.0", "leave_out": "inf", "reason": "why"}
    table = pd.read_csv(tmp_path / "audit.csv", dtype=str, keep_default_na=False)
    assert list(table.columns) == FINDING and list(zip(table["clip"], table.check, table.severity, strict=True)) == MANY


def change(**values):
    return lambda text: json.dumps(json.loads(text) | values)


DAMAGE = {
    "of other data": change(fingerprint="e" * 64),
    "of other checks": change(version=VERSION + 1),
    "without a version": lambda text: text.replace('"version"', '"v"'),
    "cut short": lambda text: text[: len(text) // 2],
    "empty": lambda text: "",
    "a list": lambda text: "[1]",
    "a number": lambda text: "3",
    "null": lambda text: "null",
    "nested without end": lambda text: "[" * 200_000,
    "no text": lambda text: b"\xff\xfe\x00audit",
    "without groups": lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != "groups"}),
    "without findings": lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != "findings"}),
    "with something else": change(more=1),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_report_that_is_damaged_or_of_something_else_is_not_taken(tmp_path, damage):
    path = make(MANY).save(tmp_path)
    assert read_report(tmp_path, DATA) is not None
    content = DAMAGE[damage](path.read_text(encoding="utf-8"))
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert read_report(tmp_path, DATA) is None


def test_where_no_report_is_there_is_none(tmp_path):
    assert read_report(tmp_path / "nowhere", DATA) is None
    (tmp_path / "audit.json").mkdir()
    assert read_report(tmp_path, DATA) is None
    (tmp_path / "file").touch()
    assert read_report(tmp_path / "file", DATA) is None


def test_a_save_that_fails_leaves_the_report_of_before(tmp_path, monkeypatch):
    before = make(MANY).save(tmp_path).read_bytes()
    table = (tmp_path / "audit.csv").read_bytes()

    def fail(source, target):
        raise OSError(28, "no space left", str(target))

    # The disk is full when the new file shall take its name.
    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(OSError, match="no space left"):
        make([("00001", "short", "error")]).save(tmp_path)
    monkeypatch.undo()
    assert (tmp_path / "audit.json").read_bytes() == before and (tmp_path / "audit.csv").read_bytes() == table
    assert sorted(p.name for p in tmp_path.iterdir()) == ["audit.csv", "audit.json"]


def test_values_that_no_json_holds_do_not_stop_the_save(tmp_path):
    report = make([("00001", "short", "warning")])
    report.findings["limit"] = report.findings["limit"].astype(object)
    report.findings.loc[0, "limit"] = float("inf")  # LIMITS can name it
    text = report.save(tmp_path).read_text(encoding="utf-8")
    assert not re.search(r"(?<!\")\bInfinity\b", text) and read_report(tmp_path, DATA) is not None
