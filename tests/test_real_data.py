"""Real recordings, where they are at hand: they are not ours to ship."""

import subprocess
import sys

import pytest

import signlib
from signlib.runs import ROOT
from signlib.safe_save import make_record

UNPACK = ROOT.parent / "shared" / "tools" / "unpack_real_data.py"


@pytest.mark.skipif(not UNPACK.exists(), reason="the real recordings (../shared) are not on this machine")
def test_ten_real_signs_are_learnt_saved_and_recognised(tmp_path):
    command = [sys.executable, UNPACK, "webcam10", tmp_path, "--layout", "1629", "--limit", "12", "--dtype", "float32"]
    subprocess.run(command, check=True, capture_output=True)
    signlib.use_device("cpu", 0)
    clips = signlib.load_clips(tmp_path / "processed_keypoints_fixed")
    assert len(clips) == 120 and not clips.problems
    train, val, _ = signlib.split_clips(clips)
    classes, p = signlib.class_names(train), signlib.Preprocessor()
    batches = signlib.KeypointGenerator(train, p, classes, augment=signlib.Augment())
    val_batches = signlib.KeypointGenerator(val, p, classes, shuffle=False)
    model = signlib.build_model(p.output_shape, len(classes))
    record = make_record(classes, p, clips[0].layout, {"architecture": "lstm"})
    signlib.fit(model, batches, val_batches, record=record, path=tmp_path / "m.h5", epochs=25)
    loaded = signlib.load_model(tmp_path / "m.h5")
    right = [loaded.predict(clip.path, top=1)[0][0] == clip.gloss for clip in val]
    assert sum(right) / len(right) > 0.8
