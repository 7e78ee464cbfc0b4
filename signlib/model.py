"""`build_model`: the architectures, and the layers they need to load back from .h5; `average_models`: several as one.

Padding is told by `valid` `(B, L, 1)`, an argument of every layer in which frames meet, never by a Keras mask: those do
not load back from .h5.
"""

from signlib.device import keras, tf
from signlib.errors import InputError

ops, layers = keras.ops, keras.layers

CHANNELS, KERNEL, HEADS = 192, 7, 4  # of conv_transformer; 7 of 32 frames see as much of a clip as 11 of 64 and more


@keras.saving.register_keras_serializable("signlib")
class ValidFlag(layers.Layer):
    """The last feature of a batch: `(B, L, D)` -> `(B, L, 1)`, 1 on frames, 0 on padding."""

    def call(self, features):
        """Returns `valid`."""
        return features[:, :, -1:]


@keras.saving.register_keras_serializable("signlib")
class CutPadding(layers.Layer):
    """A batch `(B, L, D)` without the padding that all of its clips have at the end, `(B, L', D)`: the same comes out, and
    clips of 20 frames padded to 50 train in half the time."""

    def call(self, features):
        """Returns the frames up to the last valid one of the longest clip."""
        frames = ops.sum(ops.cast(features[:, :, -1] != 0, "int32"), axis=1)  # NaN is not 0 either: `fit` has to hear of it
        return features[:, : ops.maximum(ops.max(frames), 1)]

    def compute_output_shape(self, shape):
        """Returns `(B, None, D)`."""
        return shape[0], None, shape[2]


@keras.saving.register_keras_serializable("signlib")
class MaskedAttentionPooling(layers.Layer):
    """Weighted mean over the frames of a clip: `(B, L, H)` and `valid` `(B, L, 1)` -> `(B, H)`.

    The weights are a softmax over valid frames of `v . tanh(W h + b)`, the additive attention of Bahdanau et al. 2015
    (arXiv 1409.0473); padding weighs exactly 0.
    """

    def __init__(self, units=64, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, sequence_shape, valid_shape=None):
        """Makes W `(H, units)`, b `(units,)` and v `(units, 1)`."""
        self.kernel = self.add_weight(name="kernel", shape=(sequence_shape[-1], self.units))
        self.bias = self.add_weight(name="bias", shape=(self.units,), initializer="zeros")
        self.score = self.add_weight(name="score", shape=(self.units, 1))

    def call(self, sequence, valid):
        """Returns the pooled clip `(B, H)`."""
        scores = ops.matmul(ops.tanh(ops.matmul(sequence, self.kernel) + self.bias), self.score)
        weights = ops.softmax(ops.where(valid > 0, scores, -1e9), axis=1)
        return ops.sum(weights * sequence, axis=1)

    def get_config(self):
        """Returns the arguments of the layer."""
        return super().get_config() | {"units": self.units}


@keras.saving.register_keras_serializable("signlib")
class MaskedMean(layers.Layer):
    """Mean over the valid frames of a clip: `(B, L, H)` and `valid` `(B, L, 1)` -> `(B, H)`."""

    def call(self, sequence, valid):
        """Returns the pooled clip `(B, H)`."""
        return _mean(sequence, valid)


@keras.saving.register_keras_serializable("signlib")
class ReverseFrames(layers.Layer):
    """The valid frames of `(B, L, H)` in reverse order; padding stays at the end."""

    def call(self, sequence, valid):
        """Returns `(B, L, H)`."""
        return tf.reverse_sequence(sequence, ops.cast(ops.sum(valid[:, :, 0], axis=1), "int32"), seq_axis=1)


@keras.saving.register_keras_serializable("signlib")
class MaskedBatchNorm(layers.BatchNormalization):
    """Batch normalisation of `(B, L, H)` by mean and variance over the valid frames alone."""

    def build(self, sequence_shape, valid_shape=None):
        """Makes gain, offset and the running mean and variance, `(H,)` each."""
        super().build(sequence_shape)

    def call(self, sequence, valid, training=None):
        """Returns the normalised `(B, L, H)`."""
        return super().call(sequence, training=training, mask=valid[:, :, 0] > 0)


@keras.saving.register_keras_serializable("signlib")
class MaskedSelfAttention(layers.Layer):
    """Every frame of `(B, L, H)` looks at all valid frames, by several heads (Vaswani et al. 2017, arXiv 1706.03762)."""

    def __init__(self, heads=4, **kwargs):
        super().__init__(**kwargs)
        self.heads = heads

    def build(self, sequence_shape, valid_shape=None):
        """Makes the projections to queries, keys and values, `(H, heads, H / heads)` each, and back."""
        self.attention = layers.MultiHeadAttention(self.heads, sequence_shape[-1] // self.heads, dropout=0.1, name="attention")
        self.attention.build(sequence_shape, sequence_shape)

    def call(self, sequence, valid, training=None):
        """Returns `(B, L, H)`."""
        mask = ops.transpose(valid, (0, 2, 1)) > 0  # `(B, 1, L)`: all frames look at the same ones
        return self.attention(sequence, sequence, attention_mask=mask, training=training)

    def get_config(self):
        """Returns the arguments of the layer."""
        return super().get_config() | {"heads": self.heads}


@keras.saving.register_keras_serializable("signlib")
class ChannelAttention(layers.Layer):
    """Weighs the channels of `(B, L, H)` by a sigmoid of their means over the clip, each looking at its `neighbours`: the
    efficient channel attention of Wang et al. 2020 (arXiv 1910.03151)."""

    def __init__(self, neighbours=5, **kwargs):
        super().__init__(**kwargs)
        self.neighbours = neighbours

    def build(self, sequence_shape, valid_shape=None):
        """Makes the kernel `(neighbours, 1, 1)` that all channels share."""
        self.kernel = self.add_weight(name="kernel", shape=(self.neighbours, 1, 1))

    def call(self, sequence, valid):
        """Returns the weighed `(B, L, H)`."""
        mean = _mean(sequence, valid)[:, :, None]
        return sequence * ops.transpose(ops.sigmoid(ops.conv(mean, self.kernel, padding="same")), (0, 2, 1))

    def get_config(self):
        """Returns the arguments of the layer."""
        return super().get_config() | {"neighbours": self.neighbours}


def _mean(sequence, valid):
    return ops.sum(sequence * valid, axis=1) / ops.maximum(ops.sum(valid, axis=1), 1)


def _norm(sequence, valid, name):
    return MaskedBatchNorm(momentum=0.95, name=f"{name}_norm")(sequence, valid)


def _stem(inputs, valid, units):
    """Projects the features, whose scales differ, to `units` channels of one scale."""
    sequence = layers.Dense(units, use_bias=False, name="stem")(inputs)
    return _norm(sequence, valid, "stem")


def _recurrent(cell, depth=1, bidirectional=False):
    """An architecture: projection to 128 channels, recurrent layers of 128 units, attention over their outputs."""

    def read(sequence, name, regularizer):
        layer = cell(128, return_sequences=True, kernel_regularizer=regularizer, name=name)
        return layer(sequence)  # without a mask: padding stands at the end, where no valid frame sees it

    def build(inputs, valid, dropout_rate, regularizer):
        sequence = layers.Activation("relu", name="stem_relu")(_stem(inputs, valid, 128))
        for number in range(1, depth + 1):
            sequence = layers.Dropout(dropout_rate / 2, name=f"dropout{number}")(sequence)
            forwards = read(sequence, f"forwards{number}", regularizer)
            if not bidirectional:
                sequence = forwards
                continue
            reverse = [ReverseFrames(name=f"reverse{number}{i}") for i in (1, 2)]
            backwards = reverse[1](read(reverse[0](sequence, valid), f"backwards{number}", regularizer), valid)
            sequence = layers.Concatenate(name=f"both{number}")([forwards, backwards])
        return MaskedAttentionPooling(name="attention")(sequence, valid)

    return build


def _conv_transformer(inputs, valid, dropout_rate, regularizer):
    """Twice three blocks of depthwise convolution and one of self-attention, then the mean over the frames: after the first
    place of Google's isolated sign language recognition of 2023 (hoyso48), as wide; with a shorter kernel that sees both sides,
    less stochastic depth, a smaller last layer and fewer frames."""
    sequence = _stem(inputs, valid, CHANNELS)
    for half in (1, 2):
        for number in (1, 2, 3):
            sequence = _convolution(sequence, valid, f"convolution{half}{number}")
        sequence = _attention(sequence, valid, f"attention{half}")
    return MaskedMean(name="mean")(layers.Dense(CHANNELS, name="top")(sequence), valid)


def _convolution(sequence, valid, name):
    wide = layers.Dense(2 * CHANNELS, activation="swish", name=f"{name}_expand")(sequence)
    wide = layers.Multiply(name=f"{name}_valid")([wide, valid])
    wide = layers.DepthwiseConv1D(KERNEL, padding="same", use_bias=False, name=f"{name}_depthwise")(wide)
    wide = _norm(wide, valid, name)
    wide = ChannelAttention(name=f"{name}_channels")(wide, valid)
    return _add(sequence, layers.Dense(CHANNELS, name=f"{name}_project")(wide), name)


def _attention(sequence, valid, name):
    normed = _norm(sequence, valid, name)
    seen = MaskedSelfAttention(HEADS, name=f"{name}_heads")(normed, valid)
    sequence = _add(sequence, seen, name)
    normed = _norm(sequence, valid, f"{name}_mlp")
    wide = layers.Dense(2 * CHANNELS, activation="swish", name=f"{name}_mlp_expand")(normed)
    return _add(sequence, layers.Dense(CHANNELS, name=f"{name}_mlp_project")(wide), f"{name}_mlp")


def _add(sequence, branch, name):
    """The sum of both; in training, one clip in ten goes without the branch (stochastic depth, Huang et al. 2016, arXiv
    1603.09382)."""
    branch = layers.Dropout(0.1, noise_shape=(None, 1, 1), name=f"{name}_drop")(branch)
    return layers.Add(name=f"{name}_add")([sequence, branch])


ARCHITECTURES = {
    "lstm": _recurrent(layers.LSTM),
    "bilstm": _recurrent(layers.LSTM, depth=2, bidirectional=True),
    "gru": _recurrent(layers.GRU),
    "conv_transformer": _conv_transformer,
}


def build_model(
    input_shape,
    num_classes,
    architecture="lstm",
    *,
    dropout_rate=0.5,
    l2=1e-5,
    learning_rate=3e-4,
    clip_norm=1.0,
    epsilon=1e-7,
    weight_decay=0.0,
    label_smoothing=0.0,
    warmup_steps=0,
    decay_steps=0,
    ema=0.0,
):
    """Returns a compiled keras.Model: features `(B, L, D)` -> probabilities `(B, C)`.

    input_shape: `(L, D)`, the last feature being `valid`. The defaults are the notes' values: Adam with a fixed learning
    rate, the norm of each gradient cut at `clip_norm`, L2 on the input kernels of recurrent layers and of the last layer.
    weight_decay: of all kernels at each step, decoupled from the gradient (AdamW, Loshchilov & Hutter 2019, arXiv 1711.05101).
    label_smoothing: share of each label that is spread over all glosses (Szegedy et al. 2016, arXiv 1512.00567).
    decay_steps: the learning rate rises for `warmup_steps` and falls along a cosine to 0 in `decay_steps` more
    (Loshchilov & Hutter 2017, arXiv 1608.03983); 0: it stays as it is.

    ema: momentum of a moving average of the weights, which `fit` judges and saves (Polyak & Juditsky 1992, SIAM J. Control
    30:838); 0: none.

    Raises InputError for an unknown architecture or no class.
    """
    if architecture not in ARCHITECTURES:
        raise InputError(f"architecture is {architecture!r}; expected one of {', '.join(ARCHITECTURES)}")
    if num_classes < 1:
        raise InputError(f"a model needs a gloss, and two to tell apart; got {num_classes}")
    regularizer = keras.regularizers.L2(l2)
    inputs = layers.Input(input_shape, name="features")
    frames = CutPadding(name="frames")(inputs)
    clip = ARCHITECTURES[architecture](frames, ValidFlag(name="valid")(frames), dropout_rate, regularizer)
    clip = layers.Dropout(dropout_rate, name="dropout")(clip)
    start = keras.initializers.RandomNormal(stddev=0.01)  # near 0, so that the loss starts at ln(glosses) in all of them
    outputs = layers.Dense(
        num_classes, activation="softmax", kernel_initializer=start, kernel_regularizer=regularizer, name="gloss"
    )(clip)
    model = keras.Model(inputs, outputs, name=architecture)
    rate = float(learning_rate)
    if decay_steps:
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if warmup_steps else rate, decay_steps, warmup_target=rate if warmup_steps else None, warmup_steps=warmup_steps
        )
    average = {"use_ema": True, "ema_momentum": ema} if ema else {}
    optimizer = keras.optimizers.AdamW(rate, weight_decay, clipnorm=clip_norm, epsilon=epsilon, **average)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing),
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
    )
    return model


def average_models(models):
    """Returns one keras.Model of models of the same shapes: features `(B, L, D)` -> the mean of their probabilities `(B, C)`.
    It holds their layers and weights, not copies, and is not compiled, since it is not trained."""
    inputs = layers.Input(models[0].input_shape[1:], name="features")
    members = [keras.Model(model.input, model.output, name=f"member{number}") for number, model in enumerate(models, 1)]
    mean = layers.Average(name="mean")([member(inputs) for member in members])
    return keras.Model(inputs, mean, name="ensemble")
