"""signlib.controls and signlib.reopen: a finished run, its data again, and the two controls, with faults planted."""

import json

import numpy as np
import pytest

import signlib
from signlib import InputError, controls
from signlib.reopen import reopen
from signlib.sample import make_sample

pytestmark = pytest.mark.filterwarnings("ignore:SPLIT:UserWarning")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(folder, run.json) of a run over the sample, which is not trained: the controls train models of their own."""
    data, folder = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("runs") / "a"
    folder.mkdir()
    make_sample(data / "sample", glosses=4, clips_per_gloss=8)
    clips = signlib.load_clips(data / "sample")
    train, val, test = signlib.split_clips(clips, seed=1)
    signlib.save_split(folder / "split.json", train, val, test)
    classes, p = signlib.class_names(train), signlib.Preprocessor(20, "hands", layout=clips.layout)
    signlib.use_device("cpu", 1)
    architecture = {"architecture": "gru", "learning_rate": 3e-3}
    model = signlib.build_model(p.output_shape, len(classes), **architecture)
    run = {
        "parameters": {"LABELS": "", "LAYOUT": "auto", "BATCH_SIZE": 16, "SEED": 1, "AUGMENT": False, "MIRROR": 0.0},
        "data": str(data / "sample"),
        "data_fingerprint": clips.fingerprint,
    }
    record = signlib.make_record(classes, p, clips.layout, architecture, run["parameters"], clips.fingerprint)
    signlib.save_model(model, folder / "model.h5", record)
    return folder, run


def test_a_run_is_reopened_with_its_own_sides_and_refused_where_the_data_changed(finished, tmp_path):
    folder, run = finished
    _, train, val = reopen(folder, run)
    sides = json.loads((folder / "split.json").read_text())
    assert [clip.video_id for clip in train] == sides["train"] and [clip.video_id for clip in val] == sides["val"]
    with pytest.raises(InputError, match="is not what a learnt from"):
        reopen(folder, run | {"data_fingerprint": "other"})
    with pytest.raises(InputError, match="gone"):
        reopen(folder, run | {"data": str(tmp_path / "gone")})


def test_one_batch_is_learnt_by_heart_unless_its_features_say_nothing(finished, capsys, monkeypatch):
    folder, run = finished
    assert controls.overfit_one_batch(folder, run)["accuracy"] == 1
    assert "100% right after" in capsys.readouterr().out
    alike = np.full((9, 42, 3), 0.5, np.float32)
    monkeypatch.setattr(signlib.Preprocessor, "points", lambda self, frames, layout: alike)
    found = controls.overfit_one_batch(folder, run, steps=40)
    assert found["accuracy"] < 1 and found["steps"] == 40 and "NOT learnt" in capsys.readouterr().out


@pytest.mark.slow
def test_shuffled_labels_teach_nothing_unless_validation_leaks(finished, capsys, monkeypatch):
    folder, run = finished
    found = controls.shuffle_labels(folder, run)
    assert found["low"] <= found["guess"] and found["learnt"] > 0.5 and "as it must be" in capsys.readouterr().out
    assert controls.shuffle_labels(folder, run, epochs=1)["learnt"] < 0.5 and "says nothing" in capsys.readouterr().out
    # A leak: what judges carries the labels that were dealt out.
    _, train, _ = reopen(folder, run)
    dealt = {c.video_id: c for c in train}
    real = controls.KeypointGenerator

    def leaking(clips, *arguments, **options):
        if options.get("shuffle", True):
            dealt.update({clip.video_id: clip for clip in clips})
            return real(clips, *arguments, **options)
        return real(list(dealt.values()), *arguments, **options)

    monkeypatch.setattr(controls, "KeypointGenerator", leaking)
    controls.shuffle_labels(folder, run)
    assert "LOOK FOR A LEAK" in capsys.readouterr().out
