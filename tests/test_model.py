"""signlib.model: the notes' values, the invariances of the mask, and the way to .h5 and back."""

import numpy as np
import pytest

from signlib import InputError, build_model, use_device
from signlib.device import keras
from signlib.model import ARCHITECTURES

pytestmark = pytest.mark.stack

FRAMES, VALUES, CLASSES = 10, 9, 4


def batch(clips=6, length=FRAMES, seed=0):
    """Features `(B, L, D)` of clips of 1 to FRAMES frames, padded with zeros, `valid` last; and one-hot labels."""
    rng = np.random.default_rng(seed)
    features = np.zeros((clips, length, VALUES), np.float32)
    for clip, frames in enumerate([FRAMES, 1, *rng.integers(1, FRAMES, clips)][:clips]):
        features[clip, :frames, :-1] = rng.normal(0, 2, (frames, VALUES - 1))
        features[clip, :frames, -1] = 1
    return features, np.eye(CLASSES, dtype=np.float32)[rng.integers(0, CLASSES, clips)]


@pytest.fixture(scope="module", params=ARCHITECTURES)
def trained(request):
    """A model of each architecture, away from its initial weights."""
    use_device("cpu", 3)
    model = build_model((FRAMES, VALUES), CLASSES, request.param, learning_rate=0.01)
    model.fit(*batch(64, seed=9), epochs=3, verbose=0)
    return model


@pytest.mark.parametrize("more", [1, 7, 90])
def test_padding_changes_no_prediction(trained, more):
    longer = build_model((FRAMES + more, VALUES), CLASSES, trained.name)
    longer.set_weights(trained.get_weights())
    short, long = (model.predict(batch(32, n)[0], verbose=0) for model, n in ((trained, FRAMES), (longer, FRAMES + more)))
    assert np.abs(short - long).max() < 1e-6
    assert np.ptp(short, axis=0).max() > 0.05  # the model tells these clips apart at all


@pytest.mark.parametrize("seed", range(4))
def test_what_stands_in_padded_frames_changes_no_prediction(trained, seed):
    features, _ = batch(16, seed=seed)
    expected = trained.predict(features, verbose=0)
    padding = features[:, :, -1] == 0
    features[padding, :-1] = np.random.default_rng(seed).normal(0, 100, (padding.sum(), VALUES - 1))
    assert np.abs(trained.predict(features, verbose=0) - expected).max() < 1e-6
    features[0, 5, :-1] += 3  # a frame does
    assert np.abs(trained.predict(features, verbose=0)[0] - expected[0]).max() > 1e-4


def test_a_frame_without_a_detection_is_not_padding(trained):
    features, _ = batch(1)
    features[0, 4:, :-1] = 0
    as_frames = trained.predict(features, verbose=0)
    features[0, 4:, -1] = 0
    assert np.abs(trained.predict(features, verbose=0) - as_frames).max() > 1e-4


def test_predictions_are_probabilities_and_do_not_depend_on_the_batch(trained):
    features, _ = batch(20)
    together = trained.predict(features, verbose=0)
    assert together.shape == (20, CLASSES)
    np.testing.assert_allclose(together.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(trained.predict(features, batch_size=1, verbose=0), together, atol=1e-6)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_step_keeps_every_weight_finite(architecture):
    use_device("cpu", 1)
    model = build_model((FRAMES, VALUES), CLASSES, architecture, learning_rate=0.1)
    for scale in (0, 1, 1e4):
        before = model.get_weights()
        features, labels = batch()
        features[:, :, :-1] *= scale
        features[0] = 0  # a clip of nothing but padding
        assert np.isfinite(model.train_on_batch(features, labels)).all()
        assert all(np.isfinite(weights).all() for weights in model.get_weights())
        assert any(not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3.15 with NumPy 2.4
def test_h5_and_back_gives_the_same_predictions_bit_for_bit(trained, tmp_path):
    path = tmp_path / "model.h5"
    trained.save(path)
    loaded = keras.models.load_model(path, compile=False)
    features, _ = batch(32)
    np.testing.assert_array_equal(loaded.predict(features, verbose=0), trained.predict(features, verbose=0))
    assert [w.shape for w in loaded.get_weights()] == [w.shape for w in trained.get_weights()]
    assert all(np.array_equal(a, b) for a, b in zip(loaded.get_weights(), trained.get_weights(), strict=True))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_defaults_are_the_notes_values(architecture):
    model = build_model((50, 187), 7, architecture)
    optimizer = model.optimizer
    assert isinstance(optimizer, keras.optimizers.Adam)
    assert float(optimizer.learning_rate) == pytest.approx(3e-4)
    assert (optimizer.clipnorm, optimizer.epsilon) == (1.0, 1e-7)
    assert [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)] == [0.5]
    regularized = [layer for layer in model.layers if getattr(layer, "kernel_regularizer", None)]
    assert {type(layer).__name__ for layer in regularized} == {"LSTM", "Dense"}
    assert [float(layer.kernel_regularizer.l2) for layer in regularized] == pytest.approx([1e-5] * len(regularized))
    assert (model.input_shape, model.output_shape) == ((None, 50, 187), (None, 7))
    assert isinstance(model.loss, keras.losses.CategoricalCrossentropy)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_settings_reach_the_model(architecture):
    use_device("cpu", 1)
    settings = {"dropout_rate": 0.25, "l2": 0.5, "learning_rate": 0.125, "clip_norm": 2.0, "epsilon": 0.5}
    model = build_model((FRAMES, VALUES), CLASSES, architecture, **settings)
    assert [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)] == [0.25]
    assert float(model.optimizer.learning_rate) == 0.125
    assert (model.optimizer.clipnorm, model.optimizer.epsilon) == (2.0, 0.5)
    kernels = [weight for weight in model.trainable_weights if weight.path in ("lstm/lstm_cell/kernel", "gloss/kernel")]
    assert len(kernels) == 2
    assert sum(map(float, model.losses)) == pytest.approx(0.5 * sum(float((k.numpy() ** 2).sum()) for k in kernels), rel=1e-4)


def test_lstm_has_128_units_pooled_over_the_frames():
    model = build_model((FRAMES, VALUES), CLASSES)
    assert model.get_layer("lstm").units == 128
    assert model.get_layer("attention").output.shape == (None, 128)


def trained_weights(seed):
    message = use_device("cpu", seed)
    assert message.endswith("on the CPU")
    model = build_model((FRAMES, VALUES), CLASSES)
    model.fit(*batch(20), batch_size=8, epochs=2, verbose=0)
    return model.get_weights()


def test_a_seed_decides_the_weights_after_two_epochs_bit_for_bit():
    first, again, other = trained_weights(42), trained_weights(42), trained_weights(43)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((10, 9), 4, "gru"), "architecture is 'gru'; expected one of lstm"),
        (((10, 9), 0), "a model needs a gloss, and two to tell apart; got 0"),
    ],
)
def test_a_wrong_argument_is_named_with_what_is_expected(arguments, message):
    with pytest.raises(InputError, match=message):
        build_model(*arguments)
