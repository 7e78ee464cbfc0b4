"""signlib.gate: what training leaves out after an audit, and what it then says."""

import json
import os
import shutil

import numpy as np
import pytest

from signlib import InputError, apply_audit, audit_clips, gate, load_clips, project
from signlib.report import VERSION

GLOSSES = {f"001{i:02d}": "book" if i % 2 else "drink" for i in range(12)}


@pytest.fixture
def folder(tmp_path, write_clips, monkeypatch):
    """Twelve clips of two glosses: two short ones, one of them to be left out, an empty one, and one under two ids."""
    monkeypatch.setattr(project, "ROOT", tmp_path / "project")
    folder = write_clips(tmp_path / "clips", GLOSSES, length=20)
    for video_id, length in (("00100", 5), ("00101", 3)):
        np.save(folder / f"{video_id}.npy", np.load(folder / f"{video_id}.npy")[:length])
    np.save(folder / "00103.npy", np.zeros((20, 1629), np.float32))
    shutil.copy(folder / "00104.npy", folder / "00106.npy")
    return folder


def empty(folder, ids):
    for video_id in ids:
        np.save(folder / f"{video_id}.npy", np.zeros((20, 1629), np.float32))


@pytest.mark.parametrize("how", ["on", "warn"])
def test_what_the_audit_rejects_is_left_out_and_it_is_said_why(folder, tmp_path, ids, capsys, how):
    clips = load_clips(folder)
    kept, groups = apply_audit(clips, how, tmp_path / "run")
    assert ids(kept) == [video_id for video_id in GLOSSES if video_id != "00103"]
    assert groups == [["00104", "00106"]]
    assert (kept.fingerprint, kept.layout, kept.labels) == (clips.fingerprint, clips.layout, clips.labels)
    assert [(p.video_id, p.kind) for p in kept.problems] == [("00103", "audit")] and clips.problems == []
    assert len(clips) == 12
    said = capsys.readouterr().out
    assert "audit         1 of 12 clips are left out, 2 are to be used with care;" in said
    assert "1 groups of clips show one recording (quick: " in said
    assert "left out for empty (1: 00103): no frame in which anything was detected: extract this video again" in said
    assert "short" not in said  # it is used
    assert not (tmp_path / "project").exists()  # training leaves no report of its own there


def test_what_is_no_reason_is_not_named_as_one(folder, capsys):
    np.save(folder / "00105.npy", 640 * np.load(folder / "00105.npy").astype(np.float64))
    apply_audit(load_clips(folder))
    said = capsys.readouterr().out
    assert "left out for outside (1: 00105): " in said and "float64" not in said  # that is noted of it, too


def test_of_many_clips_the_quick_audit_is_kept_for_the_next_run(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gate, "MANY", 12)
    clips = load_clips(folder)
    first = apply_audit(clips, "on", tmp_path / "run")
    said = capsys.readouterr().out
    saved = project.audit_folder(clips) / "audit.json"
    assert json.loads(saved.read_text())["quick"] and "(quick: " in said
    monkeypatch.setattr(gate, "audit_clips", None)
    assert apply_audit(clips, "on", tmp_path / "other") == first and capsys.readouterr().out == said
    assert (tmp_path / "other" / "audit.json").read_bytes() == saved.read_bytes()


def test_the_runs_folder_holds_the_audit_that_was_used(folder, tmp_path):
    clips = load_clips(folder)
    apply_audit(clips, "on", tmp_path / "run")
    saved = json.loads((tmp_path / "run" / "audit.json").read_text())
    assert (saved["fingerprint"], saved["quick"], saved["verdicts"]["00103"]) == (clips.fingerprint, True, "leave out")
    assert (tmp_path / "run" / "audit.csv").is_file()
    apply_audit(clips)  # without a folder nothing is written
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clips", "run"]


def test_the_saved_audit_of_the_same_data_is_taken_as_it_is(folder, tmp_path, ids, capsys):
    clips = load_clips(folder)
    report = audit_clips(clips, limits="short=5,3")
    path = report.save(project.audit_folder(clips))
    kept, _ = apply_audit(clips, "on", tmp_path / "run")
    assert ids(kept) == [video_id for video_id in GLOSSES if video_id not in ("00101", "00103")]
    said = capsys.readouterr().out
    assert "2 of 12 clips are left out" in said and "(of 1_audit.ipynb)" in said
    assert "left out for short (1: 00101): see whether" in said
    assert (tmp_path / "run" / "audit.json").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("change", ["data", "middle", "other files", "checks", "damage", "verdict"])
def test_a_saved_audit_of_something_else_is_not_taken(folder, tmp_path, ids, capsys, change):
    clips = load_clips(folder)
    report = audit_clips(clips, quick=True, limits="short=5,3")
    if change == "data":
        np.save(folder / "00105.npy", np.load(folder / "00105.npy")[::-1].copy())
    path = report.save(project.audit_folder(clips))
    if change == "checks":
        path.write_text(path.read_text().replace(f'"version": {VERSION}', f'"version": {VERSION + 1}'))
    if change == "verdict":
        path.write_text(path.read_text().replace('"leave out"', '"leave-out"'))
    if change == "middle":  # of a file, which the fingerprint does not see
        frames = np.load(folder / "00105.npy")
        frames[10:12] += 1e-3
        np.save(folder / "00105.npy", frames)
        os.utime(folder / "00105.npy", ns=(1, 1))
        assert load_clips(folder).fingerprint == clips.fingerprint
    if change == "other files":
        (folder / "00999.npy").write_bytes(b"no array")
    if change == "damage":
        path.write_bytes(path.read_bytes()[:-100])
    clips = load_clips(folder)
    if change == "data":  # as if two fingerprints began alike
        project.audit_folder(clips).parent.mkdir(exist_ok=True)
        shutil.move(path.parent, project.audit_folder(clips))
    kept, _ = apply_audit(clips)
    assert ids(kept) == [video_id for video_id in GLOSSES if video_id != "00103"]
    assert "(quick: " in capsys.readouterr().out


def test_off_changes_nothing_and_reads_nothing(folder, tmp_path, capsys):
    clips = load_clips(folder)
    for path in folder.glob("*.npy"):
        path.unlink()
    kept, groups = apply_audit(clips, "off", tmp_path / "run")
    assert list(kept) == list(clips) and groups == []
    assert capsys.readouterr().out == "audit         off\n"
    assert not (tmp_path / "run").exists()


def test_unfit_data_is_refused_unless_it_is_told_to_go_on(folder, tmp_path, ids, capsys):
    empty(folder, ["00100", "00101", "00102", "00104", "00105", "00106", "00107"])
    clips = load_clips(folder)
    message = (
        r"the audit calls this data unfit to train on: 8 of 12 clips are to be left out\. Mend it as "
        r"notebooks/1_audit.ipynb says, or set AUDIT to warn \(goes on with the rest\) or off \(trains on everything\)"
    )
    with pytest.raises(InputError, match=message):
        apply_audit(clips, "on", tmp_path / "run")
    assert (tmp_path / "run" / "audit.json").is_file()  # what was found can be read
    said = capsys.readouterr().out
    assert "left out for empty (8: 00100, 00101, 00102, 00103, 00104, …): no frame" in said
    kept, _ = apply_audit(clips, "warn")
    assert ids(kept) == ["00108", "00109", "00110", "00111"]
    assert "unfit to train on (8 of 12 clips are to be left out), and yet it goes on: AUDIT = 'warn'" in capsys.readouterr().out
    assert len(apply_audit(clips, "off")[0]) == 12


def test_a_single_gloss_is_refused(folder, tmp_path, write_labels):
    write_labels(folder / "WLASL_v0.3.json", dict.fromkeys(GLOSSES, "book"))
    with pytest.raises(InputError, match="unfit to train on: 1 gloss with 2 or more usable clips, 2 are needed"):
        apply_audit(load_clips(folder))
    kept, groups = apply_audit(load_clips(folder), "warn")
    assert len(kept) == 11 and len(groups) == 1


def test_a_file_that_no_clip_uses_is_not_counted_as_left_out(folder, capsys):
    (folder / "00105.npy").write_bytes(b"")
    kept, _ = apply_audit(load_clips(folder))
    assert len(kept) == 10
    said = capsys.readouterr().out
    assert "1 of 11 clips are left out" in said and "00105" not in said  # load_clips left it out, and the log says so


def test_where_nothing_is_left_it_is_refused_even_if_it_is_told_to_go_on(folder):
    empty(folder, GLOSSES)
    for how in ("on", "warn"):
        with pytest.raises(InputError, match="unfit to train on|leaves out every clip"):
            apply_audit(load_clips(folder, layout="1629"), how)
