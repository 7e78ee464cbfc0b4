"""signlib.audit: every fault is planted into clean clips and must be found; clean clips must not be flagged."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from signlib import InputError, audit_clips, load_clips

GLOSSES = {f"0010{i}": "book" if i % 2 else "drink" for i in range(8)}
LEFT, RIGHT, FACE = slice(1503, 1566), slice(1566, 1629), slice(99, 1503)
VICTIM = "00103"


@pytest.fixture
def folder(tmp_path, write_clips):
    return write_clips(tmp_path / "clips", GLOSSES, length=20)


def damage(folder, change, video_id=VICTIM):
    """Rewrites one clip as what `change(frames)` returns; returns the report of the folder."""
    path = folder / f"{video_id}.npy"
    np.save(path, change(np.load(path)))
    return audit_clips(load_clips(folder))


def found(report):
    return {(row.clip, row.check, row.severity) for row in report.findings.itertuples()}


def fill(where, value):
    def change(frames):
        frames[where] = value
        return frames

    return change


def scatter(share, value):
    def change(frames):
        frames[np.random.default_rng(0).random(frames.shape) < share] = value
        return frames

    return change


def test_clean_clips_are_not_flagged(folder):
    report = audit_clips(load_clips(folder))
    assert report.findings.empty
    assert list(report.findings.columns) == ["clip", "check", "severity", "value", "limit", "advice"]
    assert report.verdicts == dict.fromkeys(GLOSSES, "use")
    assert report.groups == []
    assert report.summary().startswith("Fit to train on: yes\n8 clips: 8 use, 0 use with care, 0 leave out\n2 glosses")


@pytest.mark.parametrize(
    ("change", "check", "severity"),
    [
        (lambda frames: frames[:6], "short", "warning"),
        (lambda frames: frames[:1], "short", "error"),
        (lambda frames: frames * 0, "empty", "error"),
        (lambda frames: frames * np.nan, "empty", "error"),
        (scatter(0.02, np.nan), "non-finite", "warning"),
        (scatter(0.02, -np.inf), "non-finite", "warning"),
        (scatter(0.5, np.nan), "non-finite", "error"),
        (lambda frames: scatter(0.02, 1e300)(frames.astype(float)), "non-finite", "warning"),  # infinite in float32
        (fill((slice(0, 16), slice(1503, 1629)), 0), "hands missing", "warning"),
        (fill((slice(0, 16), slice(1503, 1629)), np.nan), "hands missing", "warning"),
        (fill((slice(None), slice(1503, 1629)), 0), "hands missing", "error"),
        (lambda frames: np.repeat(frames[:1], 20, axis=0), "frozen", "error"),
        (lambda frames: np.repeat(frames[:5], 4, axis=0), "frozen", "warning"),
    ],
)
def test_a_planted_fault_is_found_in_its_clip_alone(folder, change, check, severity):
    report = damage(folder, change)
    assert found(report) == {(VICTIM, check, severity)}
    expected = {"warning": "use with care", "error": "leave out"}[severity]
    assert report.verdicts == dict.fromkeys(GLOSSES, "use") | {VICTIM: expected}
    assert report.summary().startswith("Fit to train on: with care\n")
    row = report.findings.iloc[0]
    assert row.value <= row.limit if check in ("short", "empty") else row.value >= row.limit


@pytest.mark.parametrize(
    "change",
    [
        fill((slice(None), LEFT), 0),  # a sign of one hand
        fill((slice(None), FACE), np.nan),  # some files write NaN for what was not detected
        fill((slice(0, 10), slice(1503, 1629)), 0),  # hands down at first
        fill((slice(3, 6), slice(None)), 0),  # nobody seen for a moment
        lambda frames: np.concatenate([np.zeros((15, 1629)), frames[:9]]),  # nobody seen at first: nothing stands still
        lambda frames: np.repeat(frames, 2, axis=0),  # 25 pictures a second in a video of 50
        lambda frames: np.asfortranarray(frames.astype(np.float64)),
        fill((0, 5), np.nan),  # one number of 40,000
    ],
)
def test_what_real_clips_do_is_no_fault(folder, change):
    assert damage(folder, change).findings.empty


def test_the_table_gives_the_share_of_frames_in_which_a_block_is_missing(folder):
    def change(frames):
        frames = frames[:20]
        frames[:5, LEFT] = 0
        frames[:8, RIGHT] = np.nan
        frames[:, FACE] = 0
        return frames

    row = damage(folder, change).clips.set_index("video_id").loc[VICTIM]
    assert (row.gloss, row.signer, row.split, row.frames, row.nonfinite) == ("book", 7, "train", 20, 0)
    assert (row.left_hand, row.right_hand, row.pose, row.face, row.both_hands) == (0.25, 0.4, 0, 1, 0.25)


def test_what_load_clips_left_out_is_a_finding(tmp_path, write_clips):
    labelled = {f"0020{i}": "book" if i % 2 else "drink" for i in range(8)}
    folder = write_clips(tmp_path / "clips", labelled, length=20)
    (folder / "00201.npy").write_bytes(b"no array")
    (folder / "00202.npy").rename(folder / "99999.npy")
    report = audit_clips(load_clips(folder))
    assert found(report) == {("00201", "file", "error"), ("99999", "label", "error"), ("00202", "missing", "note")}
    assert "is not a .npy array" in report.findings.value[0]
    assert report.verdicts["00201"] == report.verdicts["99999"] == "leave out"
    assert "00202" not in report.verdicts  # there is nothing to leave out
    assert report.summary().splitlines()[-1].lstrip().startswith("1 missing (note)")  # what harms no one comes last


def test_what_is_no_text_in_the_labels_is_written_as_its_escape(folder, tmp_path):
    table = json.loads((folder / "WLASL_v0.3.json").read_text())
    table[0]["instances"] += [{"video_id": "a\ud800"}]  # labelled, but there is no such file
    table[0]["instances"][0]["split"] = "x\ud800"
    (folder / "WLASL_v0.3.json").write_text(json.dumps(table))
    shutil.copyfile(folder / "00100.npy", folder / "00102.npy")  # identical, and on both sides of a split
    clips = load_clips(folder)
    assert "a\\ud800" in {problem.video_id for problem in clips.problems}
    written = audit_clips(clips).save(tmp_path).read_text(encoding="utf-8")
    assert "train, x\\ud800" in written and json.loads(written)["findings"][0]["value"] == "train, x\ud800"
    assert "train, x\\ud800" in (tmp_path / "audit.csv").read_text(encoding="utf-8")


def test_a_file_that_breaks_after_listing_is_a_finding(folder):
    clips = load_clips(folder)
    (folder / f"{VICTIM}.npy").unlink()
    (folder / "00104.npy").write_bytes((folder / "00104.npy").read_bytes()[:5000])
    np.save(folder / "00105.npy", np.zeros((20, 12)))
    report = audit_clips(clips)
    assert found(report) == {(video_id, "file", "error") for video_id in (VICTIM, "00104", "00105")}
    assert len(report.clips) == 5
    for path in folder.glob("*.npy"):
        path.unlink()
    assert audit_clips(clips).summary().startswith("Fit to train on: no: 0 glosses")


def test_identical_clips_are_grouped_and_flagged_where_they_harm(tmp_path, write_clips):
    splits = {"00107": "test"}
    folder = write_clips(tmp_path / "clips", GLOSSES, splits, length=20)
    for source, copy in (("00100", "00102"), ("00101", "00104"), ("00103", "00107")):
        shutil.copy(folder / f"{source}.npy", folder / f"{copy}.npy")
    report = audit_clips(load_clips(folder))
    assert report.groups == [["00100", "00102"], ["00101", "00104"], ["00103", "00107"]]
    assert found(report) == {
        ("00101", "two glosses", "error"),
        ("00104", "two glosses", "error"),
        ("00103", "crosses splits", "warning"),
        ("00107", "crosses splits", "warning"),
    }
    values = dict(zip(report.findings.check, report.findings.value, strict=True))
    assert values == {"two glosses": "book, drink", "crosses splits": "test, train"}


def test_empty_clips_are_no_copies_of_each_other(folder):
    for video_id in ("00102", "00103"):
        np.save(folder / f"{video_id}.npy", np.zeros((20, 1629)))
    report = audit_clips(load_clips(folder))
    assert report.groups == []
    assert found(report) == {("00102", "empty", "error"), ("00103", "empty", "error")}


def test_frequent_findings_come_first_in_the_summary(folder):
    for video_id in ("00100", "00102", "00105"):
        damage(folder, lambda frames: frames[:5], video_id)
    report = damage(folder, lambda frames: frames * 0)
    assert [line.split(":")[0].strip() for line in report.summary().splitlines()[3:]] == [
        "3 short (warning)",
        "1 empty (error)",
    ]


def test_data_that_cannot_be_learnt_from_is_called_unfit(tmp_path, write_clips):
    one_gloss = write_clips(tmp_path / "one", dict.fromkeys(GLOSSES, "book"), length=20)
    assert audit_clips(load_clips(one_gloss)).summary().startswith("Fit to train on: no: 1 gloss with 2")
    folder = write_clips(tmp_path / "empty", GLOSSES, length=20)
    for i in (0, 1, 2, 3):
        damage(folder, lambda frames: frames * 0, f"0010{i}")
    assert audit_clips(load_clips(folder)).summary().startswith("Fit to train on: with care")
    for i in (4, 5, 6):
        report = damage(folder, lambda frames: frames * 0, f"0010{i}")
    assert report.summary().startswith("Fit to train on: no: 0 glosses")


def test_the_saved_report_has_the_same_bytes_whatever_the_order(folder, tmp_path):
    shutil.copy(folder / "00101.npy", folder / "00104.npy")
    damage(folder, scatter(0.1, np.nan))
    clips = load_clips(folder)
    audit_clips(clips).save(tmp_path / "a")
    clips.reverse()
    path = audit_clips(clips).save(tmp_path / "deep" / "b")
    for name in ("audit.json", "audit.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (path.parent / name).read_bytes()
    saved = json.loads(path.read_text())
    assert saved["fingerprint"] == clips.fingerprint
    assert saved["groups"] == [["00101", "00104"]]
    assert saved["verdicts"][VICTIM] == "use with care"
    assert [finding["clip"] for finding in saved["findings"]] == ["00101", VICTIM, "00104"]
    assert len((path.parent / "audit.csv").read_text().splitlines()) == 4


def test_a_part_of_the_clips_can_be_audited(folder):
    assert list(audit_clips(load_clips(folder)[:3]).verdicts) == ["00100", "00101", "00102"]


def test_auditing_imports_no_tensorflow(folder):
    code = (
        "import sys, signlib\n"
        f"signlib.audit_clips(signlib.load_clips({str(folder)!r})).save({str(folder / 'report')!r})\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_too_many_bad_files_are_refused_before_the_audit(folder):
    for i in range(4):
        (folder / f"0010{i}.npy").write_bytes(b"")
    with pytest.raises(InputError, match="4 of 8 files"):
        load_clips(folder)
    assert len(audit_clips(load_clips(folder, max_bad_share=0.5)).findings) == 4
