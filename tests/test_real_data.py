"""Real recordings, where they are at hand: they are not ours to ship."""

import subprocess
import sys

import numpy as np
import pytest

import signlib
from signlib.landmarks import LAYOUTS
from signlib.project import ROOT
from signlib.safe_save import make_record

UNPACK = ROOT.parent / "shared" / "tools" / "unpack_real_data.py"
pytestmark = pytest.mark.skipif(not UNPACK.exists(), reason="the real recordings (../shared) are not on this machine")


def unpack(name, layout, folder, limit):
    command = [sys.executable, UNPACK, name, folder, "--layout", layout, "--limit", str(limit), "--dtype", "float32"]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def test_a_tree_of_single_frames_holds_the_same_real_clips_as_files_of_1662_values(tmp_path):
    files, tree = (signlib.load_clips(unpack("webcam10", layout, tmp_path / layout, 2)) for layout in ("1662", "mp_data"))
    assert tree.layout == files.layout == "1662" and not tree.problems and len(tree) == len(files) == 20
    found = {(clip.gloss, clip.read().tobytes()) for clip in files}
    assert len(found) == 20 and {(clip.gloss, clip.read().tobytes()) for clip in tree} == found


def test_ten_real_signs_are_learnt_saved_and_recognised(tmp_path):
    signlib.use_device("cpu", 0)
    clips = signlib.load_clips(unpack("webcam10", "mp_data", tmp_path, 12))
    assert len(clips) == 120 and not clips.problems and clips.layout == "1662"
    train, val, _ = signlib.split_clips(clips)
    classes, p = signlib.class_names(train), signlib.Preprocessor(layout=clips.layout)
    batches = signlib.KeypointGenerator(train, p, classes, augment=signlib.Augment())
    val_batches = signlib.KeypointGenerator(val, p, classes, shuffle=False)
    model = signlib.build_model(p.output_shape, len(classes))
    record = make_record(classes, p, clips.layout, {"architecture": "lstm"})
    signlib.fit(model, batches, val_batches, record=record, path=tmp_path / "m.h5", epochs=25)
    loaded = signlib.load_model(tmp_path / "m.h5")
    right = [loaded.predict(clip.path, top=1)[0][0] == clip.gloss for clip in val]
    assert sum(right) / len(right) > 0.8


@pytest.mark.parametrize(
    ("name", "layout", "glosses", "blocks"),
    [
        ("webcam13", "258", 13, {"pose", "left_hand", "right_hand"}),
        ("webcam13", "1629", 13, {"pose", "face", "left_hand", "right_hand"}),
        ("wlasl300", "126", 300, {"left_hand", "right_hand"}),
    ],
)
def test_each_layout_of_real_clips_is_found_and_agrees_with_the_data(name, layout, glosses, blocks, tmp_path):
    clips = signlib.load_clips(unpack(name, layout, tmp_path, 3))  # an order that does not fit would be refused
    assert clips.layout == layout and not clips.problems and len({clip.gloss for clip in clips}) == glosses
    p = signlib.Preprocessor(layout=layout)
    assert set(p.blocks) == blocks
    for clip in clips[::9]:
        frames, features = clip.read(), p(clip.read(), layout)
        assert frames.shape == (clip.num_frames, LAYOUTS[layout].width) and np.isfinite(features).all()
        assert features[:, :-1].any()


def test_a_recording_with_the_hands_exchanged_is_refused(tmp_path):
    folder = unpack("webcam13", "258", tmp_path, 3) / "processed_keypoints_fixed"
    for path in folder.glob("*.npy"):
        frames = np.load(path)
        np.save(path, np.concatenate([frames[:, :132], frames[:, 195:], frames[:, 132:195]], axis=1))
    with pytest.raises(
        signlib.InputError, match=r"layout 258 does not fit.*The order pose, right_hand, left_hand fits: set LAYOUT to mine"
    ):
        signlib.load_clips(folder)
