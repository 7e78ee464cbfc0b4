"""signlib.evaluate: figures of merit against hand-made examples, baselines against clips whose neighbours are known."""

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


def test_where_all_or_none_are_right_the_interval_is_wilsons():
    # 0 of 20: 0 to 0.1611 (Newcombe 1998, Statistics in Medicine 17:857, table I, method 3)
    value, low, high = evaluate.accuracy_interval(np.arange(20) < 0)
    assert (value, low, round(high, 4)) == (0, 0, 0.1611)
    for n in (1, 7, 60):
        for right in (0, n):
            value, low, high = evaluate.accuracy_interval(np.arange(n) < right)
            assert 0 <= low <= value <= high <= 1 and low < high


def test_what_several_models_read_has_one_interval_narrower_than_each_alone():
    rng = np.random.default_rng(0)
    models = rng.random((4, 200)) < 0.6
    value, low, high = evaluate.accuracy_interval(models.mean(axis=0))
    assert value == pytest.approx(models.mean()) and low < value < high
    assert all(high - low < 0.7 * np.ptp(evaluate.accuracy_interval(right)[1:]) for right in models)  # they err independently
    value, low, high = evaluate.accuracy_interval(models[:, :5].mean(axis=0))  # too few to draw from
    assert 0 < low < value < high < 1


def test_confusions_have_the_truth_in_rows():
    matrix = evaluate.confusion_matrix(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), 3)
    assert matrix.tolist() == [[1, 1, 0], [0, 2, 0], [0, 0, 0]]


def right(train, val):
    """{baseline: `(N,)` bool, right}."""
    return {name: guess == val.labels for name, guess in evaluate.baselines(train, val).items()}


def moving(length, turns):
    """`(length, 126)`: two hands that go round `turns` times, the same at any length."""
    rng, angle = np.random.default_rng(0), 2 * np.pi * turns * np.linspace(0, 1, length)
    way = np.stack([np.sin(angle), 1 - np.cos(angle), 0 * angle], axis=1)
    return (rng.uniform(0.4, 0.6, (1, 42, 3)) + 0.1 * way[:, None]).reshape(length, 126)


def of_signs(write_tree, folder, recordings, preprocessor=None, **options):
    """A KeypointGenerator of the clips {path: frames}, `sign/clip/0.npy` and on."""
    tree = {f"{path}/{t}.npy": frame for path, frames in recordings.items() for t, frame in enumerate(frames)}
    clips = signlib.load_clips(write_tree(folder, tree))
    preprocessor = preprocessor or signlib.Preprocessor(20, layout="126")
    return signlib.KeypointGenerator(clips, preprocessor, ["many", "once"], **options)


def test_a_clip_at_another_speed_is_nearest_to_its_own_sign(tmp_path, write_tree):
    train = {"once/a": moving(14, 1), "many/b": moving(7, 2), "many/c": moving(6, 2)}
    val = {"once/d": moving(7, 1), "many/e": moving(14, 2), "once/f": moving(30, 1)}
    correct = {}
    for name, options in {
        "usual": {},
        "notes": {"kinds": "position", "long_clips": "truncate", "sequence_length": 10},
        "motion": {"kinds": "velocity"},
    }.items():
        preprocessor = signlib.Preprocessor(**{"sequence_length": 20, "layout": "126"} | options)
        a, b = (of_signs(write_tree, tmp_path / name / part, recordings, preprocessor) for part, recordings in
                (("train", train), ("val", val)))  # fmt: skip
        correct = right(a, b)
        assert correct["nearest neighbour"].tolist() == [True, True, True], name  # whatever features the model has
        assert correct["most frequent gloss"].tolist() == [clip.gloss == "many" for clip in b.clips]


def test_signs_that_are_held_still_are_told_apart_by_the_hands(tmp_path, write_tree):
    rng = np.random.default_rng(0)
    hands = {"once": rng.uniform(0.4, 0.6, 126), "many": rng.uniform(0.4, 0.6, 126)}
    train, val = ({f"{gloss}/{i}": hands[gloss] + rng.normal(0, 0.01, (6 + i, 126)) for gloss in hands for i in takes}
                  for takes in ((1, 2), (3, 4)))  # fmt: skip
    a, b = of_signs(write_tree, tmp_path / "train", train), of_signs(write_tree, tmp_path / "val", val)
    assert right(a, b)["nearest neighbour"].all()


def test_baselines_know_nothing_of_augmentation_mixup_and_order(tmp_path, write_tree):
    recordings = {f"{'many' if i % 3 else 'once'}/{i}": moving(6 + i, i / 4) for i in range(9)}
    changes = {"augment": signlib.Augment(rotation=180, scale=0.9), "mixup": 1.0, "batch_size": 2, "shuffle": True}
    plain = of_signs(write_tree, tmp_path, recordings, shuffle=False)
    changed = of_signs(write_tree, tmp_path, recordings, **changes)
    for epoch in (0, 1):
        changed.epoch = epoch
        correct = right(changed, changed)
        assert correct["nearest neighbour"].all()  # an exact copy is found
        correct = right(changed, plain)
        assert correct["nearest neighbour"].all()
        assert correct["most frequent gloss"].tolist() == [clip.gloss == "many" for clip in plain.clips]


def test_baselines_and_predictions_over_real_batches(tmp_path, write_clips):
    clips = signlib.load_clips(write_clips(tmp_path, {f"{i:05d}": ["book", "book", "tea"][i % 3] for i in range(12)}))
    p = signlib.Preprocessor(20)
    batches = signlib.KeypointGenerator(clips, p, ["book", "tea"], batch_size=5, shuffle=False)
    correct = right(batches, batches)
    assert correct["most frequent gloss"].mean() == pytest.approx(8 / 12)
    assert correct["nearest neighbour"].all()  # each clip is its own neighbour
    few = signlib.KeypointGenerator([clips[2], clips[0]], p, ["book", "tea"], shuffle=False)
    correct = right(few, batches)  # one clip of each gloss to learn from
    assert correct["nearest neighbour"].shape == (12,) and correct["nearest neighbour"][[0, 2]].all()
    model = signlib.build_model(p.output_shape, 2)
    probabilities = evaluate.predict(model, batches)
    everything = np.stack([p(clip.read(), clip.layout) for clip in clips])
    np.testing.assert_allclose(probabilities, model.predict_on_batch(everything), atol=1e-6)


def test_clips_of_one_signer_or_one_recording_are_one_unit():
    signers = np.array(["ann", "ann", "bob", "", "", "", "cy"])
    recordings = np.array([-1, 4, 4, 7, 7, -1, -1])
    units = evaluate.units_of(signers, recordings)
    assert len(set(units)) == 4  # ann with bob by one recording; the pair of unknown signer; the other unknown one; cy
    assert units[0] == units[1] == units[2] and units[3] == units[4] and len({units[0], units[3], units[5], units[6]}) == 4
    assert evaluate.units_of(np.full(3, ""), np.full(3, -1)).tolist() == [0, 1, 2]


def test_the_bootstrap_over_clips_is_near_the_exact_interval():
    correct = np.arange(400) < 280
    value, low, high = evaluate.accuracy_interval(correct)
    assert value == 0.7
    half = 1.96 * np.sqrt(0.7 * 0.3 / 400)
    assert (low, high) == pytest.approx((0.7 - half, 0.7 + half), abs=0.005)


def test_clips_that_depend_on_each_other_make_the_interval_as_wide_as_there_are_units():
    correct = np.repeat(np.arange(20) < 14, 20)  # 20 signers of 20 clips, each all right or all wrong
    _, low, high = evaluate.accuracy_interval(correct, np.repeat(np.arange(20), 20))
    _, few_low, few_high = evaluate.accuracy_interval(np.arange(20) < 14)
    assert (low, high) == pytest.approx((few_low, few_high), abs=0.03)
    assert high - low > 3 * np.diff(evaluate.accuracy_interval(correct)[1:]).item()
    assert evaluate.accuracy_interval(np.arange(9) < 5, np.zeros(9))[1:] == pytest.approx((0.1, 0.9), abs=0.1)  # one signer


def test_macro_f1_is_scikit_learns_over_the_glosses_that_have_clips():
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 6, 90), rng.integers(0, 8, 90)  # 6 and 7 are read, and never signed
    right = rng.random(90) < 0.6
    predicted[right] = labels[right]
    value, low, high = evaluate.macro_f1(labels, predicted, 8)
    assert value == pytest.approx(f1_score(labels, predicted, labels=range(6), average="macro"))
    assert low < value < high
    few = evaluate.macro_f1(labels, predicted, 8, np.arange(90) % 2)  # two signers, who say little
    assert few[0] == value and few[1] < low and high < few[2]
    assert evaluate.macro_f1(labels, labels, 8)[0] == 1 and 0.9 < evaluate.macro_f1(labels, labels, 8)[1] < 1


def test_few_units_that_agree_do_not_make_an_interval_without_width():
    correct = np.tile([True, True, True, False], 3)  # of each of three signers three clips in four
    value, low, high = evaluate.accuracy_interval(correct, np.repeat(np.arange(3), 4))
    assert value == 0.75 and low < 0.35 and high > 0.9
