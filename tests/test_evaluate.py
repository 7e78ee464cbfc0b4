"""Figures of merit against hand-made examples."""

import numpy as np
import pytest

import signlib
from signlib import evaluate


def test_top_k_counts_a_tie_against_the_model():
    probabilities = np.array([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [1 / 3, 1 / 3, 1 / 3]])
    labels = np.array([0, 1, 2])
    assert evaluate.top_k(probabilities, labels).tolist() == [True, False, False]
    assert evaluate.top_k(probabilities, labels, 2).tolist() == [True, True, False]
    assert not evaluate.top_k(np.full((3, 3), np.nan), labels).any()


def test_the_interval_is_wilsons():
    # 8 of 10: 0.4902 to 0.9433 (Newcombe 1998, Statistics in Medicine 17:857, method 3)
    value, low, high = evaluate.accuracy_interval(np.arange(10) < 8)
    assert (value, round(low, 4), round(high, 4)) == (0.8, 0.4902, 0.9433)
    for n in (1, 7, 60):
        for right in (0, n):
            value, low, high = evaluate.accuracy_interval(np.arange(n) < right)
            assert 0 <= low <= value <= high <= 1 and low < high


def test_confusions_have_the_truth_in_rows():
    matrix = evaluate.confusion_matrix(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), 3)
    assert matrix.tolist() == [[1, 1, 0], [0, 2, 0], [0, 0, 0]]


def test_baselines_and_predictions_over_real_batches(tmp_path, write_clips):
    clips = signlib.load_clips(write_clips(tmp_path, {f"{i:05d}": ["book", "book", "tea"][i % 3] for i in range(12)}))
    p = signlib.Preprocessor(20)
    batches = signlib.KeypointGenerator(clips, p, ["book", "tea"], batch_size=5, shuffle=False)
    correct = evaluate.baselines(batches, batches)
    assert correct["most frequent gloss"].mean() == pytest.approx(8 / 12)
    assert correct["nearest neighbour"].all()  # each clip is its own neighbour
    few = signlib.KeypointGenerator([clips[2], clips[0]], p, ["book", "tea"], shuffle=False)
    correct = evaluate.baselines(few, batches)  # one clip of each gloss to learn from
    assert correct["nearest neighbour"].shape == (12,) and correct["nearest neighbour"][[0, 2]].all()
    model = signlib.build_model(p.output_shape, 2)
    probabilities = evaluate.predict(model, batches)
    everything = np.stack([p(clip.read(), clip.layout) for clip in clips])
    np.testing.assert_allclose(probabilities, model.predict_on_batch(everything), atol=1e-6)
    path = tmp_path / "predictions.npz"
    evaluate.save_predictions(path, clips, ["book", "tea"], batches.labels, probabilities)
    with np.load(path, allow_pickle=False) as saved:
        assert saved["video_ids"].tolist() == [clip.video_id for clip in clips]
        np.testing.assert_array_equal(saved["probabilities"], probabilities)
