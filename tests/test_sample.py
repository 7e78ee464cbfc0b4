"""The sample: its bytes, its layout, and that it bites: leaving out a part of the pipeline costs accuracy on it."""

import concurrent.futures
import functools
import hashlib
import json
import multiprocessing
import shutil

import numpy as np
import pytest

import signlib
from signlib.landmarks import mirror_permutation
from signlib.sample import make_sample

SMALL = {"glosses": 3, "clips_per_gloss": 10}


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """The folder of the default sample."""
    folder = tmp_path_factory.mktemp("sample") / "data"
    make_sample(folder)
    return folder


@pytest.fixture(scope="module")
def clips(sample):
    return signlib.load_clips(sample / "processed_keypoints_fixed")


@pytest.fixture(scope="module")
def blocks(clips):
    """Of each clip the blocks `(T, points, 3)` pose, face, left hand, right hand."""
    ends = np.cumsum([33, 468, 21])
    return {clip.video_id: np.split(clip.read().reshape(-1, 543, 3), ends, axis=1) for clip in clips}


def digests(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_same_seed_same_bytes(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        make_sample(tmp_path / name, **SMALL, seed=seed)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert digests(tmp_path / "a") != digests(tmp_path / "c")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]  # nothing temporary is left


def test_complete_sample_is_reused(tmp_path):
    keypoints = make_sample(tmp_path / "s", **SMALL)
    assert keypoints == tmp_path / "s" / "processed_keypoints_fixed"
    before = {path: path.stat().st_mtime_ns for path in keypoints.iterdir()}
    assert make_sample(tmp_path / "s", **SMALL) == keypoints
    assert {path: path.stat().st_mtime_ns for path in keypoints.iterdir()} == before


@pytest.mark.parametrize("what", ["marker", "clip", "all clips", "other arguments"])
def test_incomplete_or_other_sample_is_replaced(tmp_path, what):
    keypoints = make_sample(tmp_path / "whole", **SMALL)
    wanted = digests(tmp_path / "whole")
    folder = shutil.copytree(tmp_path / "whole", tmp_path / "part")
    if what == "marker":
        (folder / "sample.json").unlink()
    elif what == "clip":
        (folder / keypoints.name / next(keypoints.iterdir()).name).unlink()
    elif what == "all clips":
        shutil.rmtree(folder / keypoints.name)
    else:
        shutil.rmtree(folder)
        make_sample(folder, glosses=2, clips_per_gloss=5)
    assert digests(folder) != wanted
    make_sample(folder, **SMALL)
    assert digests(folder) == wanted


def test_empty_folder_is_used(tmp_path):
    make_sample(tmp_path, **SMALL)
    assert len(signlib.load_clips(tmp_path / "processed_keypoints_fixed")) == 30


@pytest.mark.parametrize("source", ["aslu", "sample"])
def test_other_data_is_never_replaced(tmp_path, source):
    keypoints = tmp_path / "processed_keypoints_fixed"
    keypoints.mkdir()
    np.save(keypoints / "00001.npy", np.zeros((3, 1629)))
    if source == "sample":
        np.save(keypoints / "00002.npy", np.zeros((3, 1629)))  # a clip that the sample's labels do not list
    labels = [{"gloss": "book", "instances": [{"video_id": "00001", "split": "train", "source": source}]}]
    (tmp_path / "WLASL_v0.3.json").write_text(json.dumps(labels))
    before = digests(tmp_path)
    with pytest.raises(signlib.InputError, match="something else than a sample"):
        make_sample(tmp_path)
    assert digests(tmp_path) == before


def test_a_file_in_the_way_stays(tmp_path):
    (tmp_path / "s").write_text("mine")
    with pytest.raises(signlib.InputError, match="something else than a sample"):
        make_sample(tmp_path / "s")
    assert (tmp_path / "s").read_text() == "mine"


def test_several_at_once(tmp_path):
    """Whoever comes first, all get the whole sample."""
    make_sample(tmp_path / "alone", **SMALL)
    with concurrent.futures.ProcessPoolExecutor(4, multiprocessing.get_context("spawn")) as pool:
        paths = list(pool.map(functools.partial(make_sample, **SMALL), [tmp_path / "s"] * 12))
    assert set(paths) == {tmp_path / "s" / "processed_keypoints_fixed"}
    assert digests(tmp_path / "s") == digests(tmp_path / "alone")


@pytest.mark.parametrize("numbers", [{"glosses": 1}, {"glosses": 11}, {"clips_per_gloss": 1}])
def test_numbers_out_of_range(tmp_path, numbers):
    with pytest.raises(signlib.InputError, match="expected 2-10 of 2 or more"):
        make_sample(tmp_path / "s", **numbers)
    assert not (tmp_path / "s").exists()


def test_layout(sample, clips):
    """Every clip is found under its own label, ids that begin with 0 included, in shapes that vary as they should."""
    assert len(clips) == 10 * 26 and clips.problems == []
    table = json.loads((sample / "WLASL_v0.3.json").read_text())
    labelled = {i["video_id"]: (word["gloss"], i["split"], i["signer_id"]) for word in table for i in word["instances"]}
    assert {clip.video_id: (clip.gloss, clip.split, clip.signer) for clip in clips} == labelled
    assert all(len(video_id) == 5 and video_id.isdigit() for video_id in labelled)
    assert sum(video_id.startswith("0") for video_id in labelled) >= 10
    frames = [clip.read() for clip in clips]
    assert {(x.shape[1], x.dtype) for x in frames} == {(1629, np.dtype("float32"))}
    lengths = np.array([len(x) for x in frames])
    assert lengths.min() == 12 and 80 < lengths.max() <= 90
    assert 0.05 < np.mean(lengths > 50) < 0.5
    splits = [clip.split for clip in clips]
    assert 0.05 < splits.count("test") / len(clips) < 0.15 < splits.count("val") / len(clips) < 0.25
    assert {clip.gloss for clip in clips if clip.split == "test"} == set(signlib.class_names(clips))
    assert len({clip.signer for clip in clips}) >= 6


def test_gaps(blocks):
    """Hands that are not found, frames of NaN, single landmarks of NaN, an infinite value, frames without anybody."""
    nan_clips = np.mean([np.isnan(pose[:, 11]).any() for pose, *_ in blocks.values()])
    assert 0.25 < nan_clips < 0.6
    hands = [hand for _, _, *both in blocks.values() for hand in both]
    assert 0.2 < np.mean(np.concatenate([~hand.any(axis=(1, 2)) for hand in hands])) < 0.7
    missing = [np.isnan(part).any(axis=2).mean(axis=1) for parts in blocks.values() for part in parts]
    assert any(((share > 0) & (share < 1)).any() for share in missing)
    assert any(np.isinf(pose).any() for pose, *_ in blocks.values())
    nobody = {video_id: ~np.concatenate(parts, axis=1).any(axis=(1, 2)) for video_id, parts in blocks.items()}
    assert all(not gone.any() or (gone[-10:].all() and gone.sum() <= 18) for gone in nobody.values())
    assert 0.2 < np.mean([gone.any() for gone in nobody.values()]) < 0.4


def test_anatomy(blocks):
    """Hand and pose agree on the wrist, left is left, the shoulders are level and the head is above them."""
    compared = 0
    for pose, face, *hands in blocks.values():
        for hand, wrist in zip(hands, (15, 16), strict=True):
            both = np.isfinite(hand).all(axis=(1, 2)) & np.isfinite(pose).all(axis=(1, 2)) & hand.any(axis=(1, 2))
            np.testing.assert_array_equal(hand[both, 0], pose[both, wrist])
            bone = np.linalg.norm((hand[both, 9] - hand[both, 0])[:, :2], axis=1)
            assert ((bone > 0.03) & (bone < 0.3)).all()
            compared += both.sum()
        seen = np.isfinite(pose).all(axis=(1, 2)) & pose.any(axis=(1, 2)) & np.isfinite(face).all(axis=(1, 2))
        pose, face = pose[seen], face[seen]
        assert (pose[:, 11, 0] > pose[:, 12, 0] + 0.1).all()  # the signer's left is to the right of an unmirrored picture
        assert (np.abs(pose[:, 11, 1] - pose[:, 12, 1]) < 0.1).all()
        assert (pose[:, 0, 1] < pose[:, 11:13, 1].min(axis=1)).all()
        assert (face[:, 13, 1] < face[:, 14, 1]).all()  # the upper lip is above the lower
        assert ((face[..., :2] > 0) & (face[..., :2] < 1)).all()
    assert compared > 3000


@pytest.mark.parametrize(("gloss", "acting"), [("left", 2), ("right", 3)])
def test_the_named_hand_signs(clips, blocks, gloss, acting):
    for clip in clips:
        if clip.gloss == gloss:
            found = [np.nan_to_num(part).any(axis=(1, 2)).mean() for part in blocks[clip.video_id]]
            assert found[acting] > 0.6 > 0.4 > found[5 - acting]


def test_nearest_raw_frames_do_not_solve_it(clips):
    """The first 50 raw frames, NaN as 0, and the nearest training clip: a baseline that the network has to beat."""
    raw = [np.nan_to_num(clip.read()[:50], posinf=0, neginf=0) for clip in clips]
    raw = {clip.video_id: np.pad(x, ((0, 50 - len(x)), (0, 0))).ravel() for clip, x in zip(clips, raw, strict=True)}
    train, val, _ = signlib.split_clips(clips)
    known = np.stack([raw[clip.video_id] for clip in train])
    nearest = [train[np.argmin(np.square(known - raw[clip.video_id]).sum(axis=1))].gloss for clip in val]
    assert np.mean([a == clip.gloss for a, clip in zip(nearest, val, strict=True)]) < 0.9


POSITIONS = {"kinds": "position", "interpolate": False, "trim": False}  # hand shapes alone would tell most glosses


class NanInStatistics(signlib.Preprocessor):
    """The notes' order: centre and scale are computed with the NaN inside, nan_to_num comes last."""

    def _body(self, points, seen, clip):
        left, right = points[:, self._shoulders[0], :2], points[:, self._shoulders[1], :2]
        middle, size = (left + right) / 2, np.hypot(*(left - right).T)
        each = [clip == i for i in range(clip[-1] + 1)]
        return np.array([np.median(middle[own], axis=0) for own in each]), np.array([np.median(size[own]) for own in each])


class NoMask(signlib.Preprocessor):
    """Padding is read as frames."""

    def write_features(self, clips, out):
        super().write_features(clips, out)
        for features in out:
            features[:, -1] = 1


class OneHandIsAsTheOther(signlib.Preprocessor):
    """A clip is mirrored when its left hand is the higher one, so that the right one always signs."""

    def points(self, frames, layout):
        points = super().points(frames, layout)
        left, right = (np.nanmean(points[:, self.selected.index(("pose", wrist)), 1]) for wrist in (15, 16))
        if left < right:
            points = points[:, mirror_permutation(self.selected)] * np.float32([-1, 1, 1])
        return points


def accuracy(clips, preprocessor, epochs=20):
    """Validation accuracy of the default model on `clips`, with a larger validation share for a steadier number."""
    signlib.use_device("cpu", 42)
    train, val, _ = signlib.split_clips(clips, validation_split=0.4)
    classes = signlib.class_names(train)
    (x, y), (x_val, y_val) = (
        (np.stack([preprocessor(c.read(), c.layout) for c in side]), np.array([classes.index(c.gloss) for c in side]))
        for side in (train, val)
    )
    model = signlib.build_model(preprocessor.output_shape, len(classes), learning_rate=1e-3)  # half the epochs
    model.fit(x, np.eye(len(classes))[y], batch_size=32, epochs=epochs, verbose=0)
    return np.mean(model.predict_on_batch(x_val).argmax(axis=1) == y_val)


@pytest.fixture(scope="module")
def baseline(clips):
    return accuracy(clips, signlib.Preprocessor(**POSITIONS))


def test_the_pipeline_learns_it(baseline):
    assert baseline > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("ablated", [NanInStatistics, NoMask, OneHandIsAsTheOther])
def test_leaving_out_a_part_costs_ten_points(clips, baseline, ablated):
    assert accuracy(clips, ablated(**POSITIONS)) <= baseline - 0.1
