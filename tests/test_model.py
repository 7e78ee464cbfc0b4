"""signlib.model: the notes' values, the invariances of the mask, the layers and the optimizer by their formulas, .h5."""

import math

import numpy as np
import pytest

import signlib
from signlib import InputError, build_model, use_device
from signlib.device import keras
from signlib.model import (
    ARCHITECTURES,
    ChannelAttention,
    CutPadding,
    MaskedAttentionPooling,
    MaskedBatchNorm,
    MaskedMean,
    MaskedSelfAttention,
    ReverseFrames,
)
from signlib.safe_save import make_record

pytestmark = pytest.mark.stack

P = signlib.Preprocessor(10, "hands", kinds="depth")
FRAMES, VALUES = P.output_shape
CLASSES = 4
RECURRENT = {"lstm": 1, "bilstm": 4, "gru": 1, "conv_transformer": 0}  # layers


def batch(clips=6, length=FRAMES, seed=0):
    """Features `(B, L, D)` of clips of 1 to FRAMES frames, padded with zeros, `valid` last; and one-hot labels."""
    rng = np.random.default_rng(seed)
    features = np.zeros((clips, length, VALUES), np.float32)
    for clip, frames in enumerate([FRAMES, 1, *rng.integers(1, FRAMES, clips)][:clips]):
        features[clip, :frames, :-1] = rng.normal(0, 2, (frames, VALUES - 1))
        features[clip, :frames, -1] = 1
    return features, np.eye(CLASSES, dtype=np.float32)[rng.integers(0, CLASSES, clips)]


def copy_of(model, length=FRAMES):
    """A new model of the same architecture and weights for clips of `length` frames."""
    copy = build_model((length, VALUES), CLASSES, model.name)
    copy.set_weights(model.get_weights())
    return copy


@pytest.fixture(scope="module", params=ARCHITECTURES)
def trained(request):
    """A model of each architecture, away from its initial weights."""
    use_device("cpu", 3)
    model = build_model((FRAMES, VALUES), CLASSES, request.param, learning_rate=5e-3)
    model.run_eagerly = True  # a training step of conv_transformer takes 10 s to compile
    model.fit(*batch(64, seed=9), epochs=1, verbose=0)
    model.run_eagerly = False
    return model


# Padding


@pytest.mark.parametrize("more", [1, 90])
def test_padding_changes_no_prediction(trained, more):
    longer = copy_of(trained, FRAMES + more)
    short, long = (model.predict(batch(32, n)[0], verbose=0) for model, n in ((trained, FRAMES), (longer, FRAMES + more)))
    assert np.abs(short - long).max() < 1e-6
    assert np.ptp(short, axis=0).max() > 0.01  # the model tells these clips apart at all


@pytest.mark.parametrize("lengths", [(3, 7, 1), (1, 1), (0, 0), (10, 2)])
def test_padding_that_all_clips_of_a_batch_have_is_not_computed(lengths):
    features = np.zeros((len(lengths), 10, 4), np.float32)
    for clip, length in zip(features, lengths, strict=True):
        clip[:length] = 1
    cut = np.asarray(CutPadding()(features))
    np.testing.assert_array_equal(cut, features[:, : max(1, *lengths)])


@pytest.mark.parametrize("seed", range(4))
def test_what_stands_in_padded_frames_changes_no_prediction(trained, seed):
    features, _ = batch(16, seed=seed)
    expected = trained.predict(features, verbose=0)
    padding = features[:, :, -1] == 0
    features[padding, :-1] = np.random.default_rng(seed).normal(0, 100, (padding.sum(), VALUES - 1))
    assert np.abs(trained.predict(features, verbose=0) - expected).max() < 1e-6
    features[0, 5, :-1] += 3  # a frame does
    assert np.abs(trained.predict(features, verbose=0)[0] - expected[0]).max() > 1e-4


def test_in_training_padding_counts_for_nothing_either(trained):
    after = []
    for more in (0, 7):
        model = copy_of(trained, FRAMES + more)
        for layer in model._flatten_layers():
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = 0.0
        features, _ = batch(16, FRAMES + more)
        features[features[:, :, -1] == 0, :-1] = 50 * more
        probabilities = np.asarray(model(features, training=True))
        moving = [weight.numpy() for weight in model.non_trainable_weights]
        assert moving and not any(np.allclose(a, b) for a, b in zip(moving, trained.non_trainable_weights, strict=True))
        after.append([probabilities, *moving])
    for short, long in zip(*after, strict=True):
        np.testing.assert_allclose(long, short, rtol=1e-4, atol=1e-5)


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
    model.run_eagerly = True
    for scale in (0, 1, 1e4):
        before = model.get_weights()
        features, labels = batch()
        features[:, :, :-1] *= scale
        features[0] = 0  # a clip of nothing but padding
        assert np.isfinite(model.train_on_batch(features, labels)).all()
        assert all(np.isfinite(weights).all() for weights in model.get_weights())
        assert any(not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_h5_and_back_gives_the_same_predictions_bit_for_bit(trained, tmp_path):
    record = make_record("abcd", P, "126", {"architecture": trained.name})
    path = signlib.save_model(trained, tmp_path / "model.h5", record).path
    features, _ = batch(32)
    expected = np.asarray(trained(features))
    for loaded in (signlib.load_model(path).model, keras.models.load_model(path, compile=False)):
        np.testing.assert_array_equal(np.asarray(loaded(features)), expected)
        assert [w.tobytes() for w in loaded.get_weights()] == [w.tobytes() for w in trained.get_weights()]


# Layers


@pytest.fixture
def clips():
    """`(B, L, H)` of clips of 6, 1, 4 and 0 valid frames with nonsense in the padding, their `valid` and the valid frames
    of each."""
    sequence = np.random.default_rng(5).normal(size=(4, 6, 8)).astype(np.float32)
    lengths = [6, 1, 4, 0]
    valid = (np.arange(6) < np.array(lengths)[:, None]).astype(np.float32)[:, :, None]
    return sequence, valid, [clip[:frames] for clip, frames in zip(sequence, lengths, strict=True)]


def randomised(layer, *inputs):
    """A layer that was built for `inputs`, all its weights drawn at random, and these by name."""
    layer(*inputs)
    rng = np.random.default_rng(7)
    layer.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in layer.weights])
    return layer, {weight.name: weight.numpy() for weight in layer.weights}


def test_the_mean_is_that_of_the_valid_frames(clips):
    sequence, valid, frames = clips
    expected = [clip.mean(axis=0) if len(clip) else np.zeros(8) for clip in frames]
    np.testing.assert_allclose(MaskedMean()(sequence, valid), expected, rtol=1e-5, atol=1e-6)


def test_attention_pooling_is_a_softmax_over_the_valid_frames(clips):
    sequence, valid, frames = clips
    layer, weights = randomised(MaskedAttentionPooling(3), sequence, valid)
    pooled = np.asarray(layer(sequence, valid))
    for clip, found in zip(frames[:3], pooled[:3], strict=True):
        score = np.exp(np.tanh(clip @ weights["kernel"] + weights["bias"]) @ weights["score"])
        np.testing.assert_allclose(found, (score / score.sum() * clip).sum(axis=0), rtol=1e-4, atol=1e-5)
    assert np.isfinite(pooled[3]).all()  # of nothing but padding


def test_channel_attention_weighs_each_channel_by_its_neighbours_means_over_the_valid_frames(clips):
    sequence, valid, frames = clips
    layer, weights = randomised(ChannelAttention(3), sequence, valid)
    layer.set_weights([weights["kernel"] * [[[1]], [[-2]], [[3]]]])  # which neighbour is which counts
    before, own, after = layer.get_weights()[0].ravel()
    found = np.asarray(layer(sequence, valid))
    for number, clip in enumerate(frames):
        mean = np.pad(clip.mean(axis=0) if len(clip) else np.zeros(8), 1)
        gate = 1 / (1 + np.exp(-(before * mean[:-2] + own * mean[1:-1] + after * mean[2:])))
        np.testing.assert_allclose(found[number], sequence[number] * gate, rtol=1e-4, atol=1e-5)


def test_batch_norm_counts_valid_frames_alone_in_training_and_its_moving_values_after(clips):
    sequence, valid, frames = clips
    layer, weights = randomised(MaskedBatchNorm(momentum=0.75), sequence, valid)

    def normalised(mean, variance):
        return (sequence - mean) / np.sqrt(variance + layer.epsilon) * weights["gamma"] + weights["beta"]

    frames = np.concatenate(frames)
    mean, variance = weights["moving_mean"], weights["moving_variance"]
    np.testing.assert_allclose(layer(sequence, valid), normalised(mean, variance), rtol=1e-4, atol=1e-5)
    found = layer(sequence, valid, training=True)
    np.testing.assert_allclose(found, normalised(frames.mean(axis=0), frames.var(axis=0)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer.moving_mean, 0.75 * mean + 0.25 * frames.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, 0.75 * variance + 0.25 * frames.var(axis=0), rtol=1e-5)


def test_self_attention_of_a_padded_clip_is_that_of_its_frames_alone(clips):
    sequence, valid, frames = clips
    layer = MaskedSelfAttention(2)
    found = np.asarray(layer(sequence, valid))
    for clip, padded in ((frames[0], found[0]), (frames[2], found[2])):
        alone = np.asarray(layer(clip[None], np.ones((1, len(clip), 1), np.float32)))[0]
        np.testing.assert_allclose(padded[: len(clip)], alone, rtol=1e-4, atol=1e-5)
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("layer", "name"),
    [(ChannelAttention(3), "neighbours"), (MaskedAttentionPooling(3), "units"), (MaskedSelfAttention(3), "heads")],
)
def test_a_layer_is_made_again_from_its_config(layer, name):
    assert getattr(type(layer).from_config(layer.get_config()), name) == 3


def reversed_frames(sequence, valid):
    """The valid frames of each clip in reverse order, padding where it was."""
    result = np.array(sequence)
    for clip, flags in zip(result, valid[:, :, 0] > 0, strict=True):
        clip[flags] = clip[flags][::-1]
    return result


def test_frames_are_reversed_up_to_the_last_valid_one_and_twice_is_as_before(clips):
    sequence, valid, _ = clips
    once = np.asarray(ReverseFrames()(sequence, valid))
    np.testing.assert_array_equal(once, reversed_frames(sequence, valid))
    assert not np.array_equal(once, sequence)
    np.testing.assert_array_equal(np.asarray(ReverseFrames()(once, valid)), sequence)


def test_a_clip_that_is_reversed_exchanges_the_directions_of_bilstm_whatever_its_length():
    use_device("cpu", 1)
    model = build_model((FRAMES, VALUES), CLASSES, "bilstm")
    model.set_weights([weight + 0.1 for weight in model.get_weights()])  # so that an LSTM that reads padding changes its state
    model.get_layer("backwards1").set_weights(model.get_layer("forwards1").get_weights())
    both = keras.Model(model.input, model.get_layer("both1").output)
    features, _ = batch(12)
    valid = features[:, :, -1:]
    forwards, backwards = np.split(np.asarray(both(features)), 2, axis=2)
    found = np.asarray(both(reversed_frames(features, valid)))
    expected = reversed_frames(np.concatenate([backwards, forwards], axis=2), valid)
    np.testing.assert_allclose(found * valid, expected * valid, rtol=1e-4, atol=1e-5)
    assert np.abs((forwards - backwards) * valid).max() > 0.1


def test_stochastic_depth_leaves_the_branch_out_of_one_clip_in_ten_in_training_only():
    use_device("cpu", 1)
    drop = build_model((FRAMES, VALUES), CLASSES, "conv_transformer").get_layer("convolution11_drop")
    branch = np.ones((1000, 3, 192), np.float32)
    np.testing.assert_array_equal(np.asarray(drop(branch, training=False)), branch)
    kept = np.asarray(drop(branch, training=True))
    assert (kept == kept[:, :1, :1]).all() and set(np.unique(kept)) == {0, np.float32(1) / np.float32(0.9)}
    assert (kept[:, 0, 0] == 0).mean() == pytest.approx(0.1, abs=0.03)  # 3 standard deviations


# Settings


def dropout_rates(model):
    return {layer.name: layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_defaults_are_the_notes_values(architecture):
    model = build_model((50, 187), 7, architecture)
    optimizer = model.optimizer
    assert isinstance(optimizer, keras.optimizers.Adam)
    assert float(optimizer.learning_rate) == pytest.approx(3e-4)
    assert (optimizer.clipnorm, optimizer.epsilon, optimizer.weight_decay, optimizer.use_ema) == (1.0, 1e-7, 0.0, False)
    assert dropout_rates(model)["dropout"] == 0.5
    regularized = [layer for layer in model.layers if getattr(layer, "kernel_regularizer", None)]
    assert len(regularized) == RECURRENT[architecture] + 1 and regularized[-1].name == "gloss"
    assert [float(layer.kernel_regularizer.l2) for layer in regularized] == pytest.approx([1e-5] * len(regularized))
    assert (model.input_shape, model.output_shape) == ((None, 50, 187), (None, 7))
    assert isinstance(model.loss, keras.losses.CategoricalCrossentropy) and model.loss.label_smoothing == 0


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_settings_reach_the_model(architecture):
    use_device("cpu", 1)
    settings = {"dropout_rate": 0.25, "l2": 0.5, "learning_rate": 0.125, "clip_norm": 2.0, "epsilon": 0.5, "ema": 0.75}
    model = build_model((FRAMES, VALUES), CLASSES, architecture, **settings)
    rates = dropout_rates(model)
    assert rates["dropout"] == 0.25
    assert all(rate == 0.125 for name, rate in rates.items() if name in ("dropout1", "dropout2"))  # before each LSTM
    optimizer = model.optimizer
    assert float(optimizer.learning_rate) == 0.125
    assert (optimizer.clipnorm, optimizer.epsilon, optimizer.use_ema, optimizer.ema_momentum) == (2.0, 0.5, True, 0.75)
    kernels = [w for w in model.trainable_weights if w.path.endswith("_cell/kernel") or w.path == "gloss/kernel"]
    assert len(kernels) == RECURRENT[architecture] + 1
    assert sum(map(float, model.losses)) == pytest.approx(0.5 * sum(float((k.numpy() ** 2).sum()) for k in kernels), rel=1e-4)


@pytest.mark.parametrize(("architecture", "pooled"), [("lstm", 128), ("gru", 128), ("bilstm", 256)])
def test_recurrent_layers_have_128_units_and_are_pooled_over_the_frames(architecture, pooled):
    model = build_model((FRAMES, VALUES), CLASSES, architecture)
    recurrent = [layer for layer in model.layers if isinstance(layer, keras.layers.RNN)]
    assert [layer.units for layer in recurrent] == [128] * RECURRENT[architecture]
    assert model.get_layer("attention").output.shape == (None, pooled)


@pytest.mark.parametrize("architecture", ["lstm", "gru", "bilstm"])
def test_recurrent_layers_are_of_the_one_kind_that_an_accelerator_computes_in_one_kernel(architecture):
    """What keras.io/api/layers/recurrent_layers names as needed for cuDNN; without an accelerator no test can see it used."""
    model = build_model((FRAMES, VALUES), CLASSES, architecture)
    for layer in (layer for layer in model.layers if isinstance(layer, keras.layers.RNN)):
        config = layer.get_config()
        needed = {"activation": "tanh", "recurrent_activation": "sigmoid", "recurrent_dropout": 0.0, "dropout": 0.0}
        needed |= {"unroll": False, "use_bias": True} | ({"reset_after": True} if architecture == "gru" else {})
        assert {name: config[name] for name in needed} == needed
        assert layer.use_cudnn == "auto"
        assert getattr(layer.input, "_keras_mask", None) is None


@pytest.mark.parametrize(("warmup", "decay"), [(0, 0), (0, 8), (4, 8), (3, 1)])
def test_the_learning_rate_rises_from_0_falls_along_a_cosine_to_0_and_stays_where_it_is_fixed(warmup, decay):
    optimizer = build_model((4, 3), 2, "gru", learning_rate=0.25, warmup_steps=warmup, decay_steps=decay).optimizer
    for step in range(warmup + decay + 5):
        optimizer.iterations.assign(step)
        expected = 0.25
        if decay and step < warmup:
            expected *= step / warmup
        elif decay:
            expected *= (1 + math.cos(math.pi * min((step - warmup) / decay, 1))) / 2
        assert float(optimizer.learning_rate) == pytest.approx(expected, abs=1e-7), step


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_weight_decay_shrinks_kernels_without_any_gradient_and_leaves_offsets_and_gains(architecture):
    model = build_model((FRAMES, VALUES), CLASSES, architecture, learning_rate=0.5, weight_decay=0.125)
    model.set_weights([np.random.default_rng(1).uniform(0.5, 1, weight.shape) for weight in model.weights])
    before = [weight.numpy() for weight in model.trainable_weights]
    model.optimizer.apply([np.zeros_like(value) for value in before], model.trainable_weights)
    for weight, old in zip(model.trainable_weights, before, strict=True):
        kept = 1 if weight.path.rsplit("/")[-1] in ("bias", "gamma", "beta") else 1 - 0.5 * 0.125
        np.testing.assert_allclose(weight.numpy(), kept * old, rtol=1e-6, err_msg=weight.path)
    kinds = {weight.name for weight in model.trainable_weights}
    assert {"kernel", "bias", "gamma", "beta"} <= kinds


def test_without_weight_decay_a_step_is_adams():
    model = build_model((4, 3), 2, "gru", learning_rate=0.25)
    start, rng = [weight.numpy() for weight in model.trainable_weights], np.random.default_rng(2)
    gradients = [[rng.normal(size=value.shape).astype(np.float32) for value in start] for _ in range(3)]
    after = []
    for optimizer in (model.optimizer, keras.optimizers.Adam(0.25, clipnorm=1.0)):
        for weight, value in zip(model.trainable_weights, start, strict=True):
            weight.assign(value)
        for step in gradients:
            optimizer.apply(step, model.trainable_weights)
        after.append(b"".join(weight.numpy().tobytes() for weight in model.trainable_weights))
    assert after[0] == after[1]


@pytest.mark.parametrize("smoothing", [0.0, 0.25])
def test_label_smoothing_spreads_its_share_of_each_label_over_all_glosses(smoothing):
    model = build_model((4, 3), 5, "gru", label_smoothing=smoothing)
    probabilities = np.random.default_rng(3).dirichlet(np.ones(5), 6).astype(np.float32)
    labels = np.eye(5, dtype=np.float32)[[0, 1, 2, 3, 4, 0]]
    smoothed = (1 - smoothing) * labels + smoothing / 5
    expected = -(smoothed * np.log(probabilities)).sum(axis=1).mean()
    assert float(model.loss(labels, probabilities)) == pytest.approx(expected, rel=1e-5)


def trained_weights(seed):
    message = use_device("cpu", seed)
    assert message.endswith("on the CPU")
    model = build_model((FRAMES, VALUES), CLASSES)
    model.run_eagerly = True
    model.fit(*batch(20), batch_size=8, epochs=2, verbose=0)
    return model.get_weights()


def test_a_seed_decides_the_weights_after_two_epochs_bit_for_bit():
    first, again, other = trained_weights(42), trained_weights(42), trained_weights(43)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((10, 9), 4, "rnn"), "architecture is 'rnn'; expected one of lstm, bilstm, gru, conv_transformer"),
        (((10, 9), 0), "a model needs a gloss, and two to tell apart; got 0"),
    ],
)
def test_a_wrong_argument_is_named_with_what_is_expected(arguments, message):
    with pytest.raises(InputError, match=message):
        build_model(*arguments)
