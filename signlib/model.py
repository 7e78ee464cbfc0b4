"""`build_model`: the architectures, and the layers they need to load back from .h5."""

from signlib.device import keras
from signlib.errors import InputError

ops, layers = keras.ops, keras.layers


@keras.saving.register_keras_serializable("signlib")
class MaskedAttentionPooling(layers.Layer):
    """Weighted mean over the frames of a clip: `(B, L, H)` and `valid` `(B, L, 1)` -> `(B, H)`.

    The weights are a softmax over valid frames of `v . tanh(W h + b)`, the additive attention of Bahdanau et al. 2015
    (arXiv 1409.0473); padding weighs exactly 0. `valid` is an argument, not a Keras mask: those do not load from .h5.
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
class ValidFlag(layers.Layer):
    """The last feature of a batch: `(B, L, D)` -> `(B, L, 1)`, 1 on frames, 0 on padding."""

    def call(self, features):
        """Returns `valid`."""
        return features[:, :, -1:]


def _lstm(inputs, dropout_rate, regularizer):
    # No mask is needed in the LSTM: padding stands at the end, where no valid frame sees it, and pooling ignores it.
    sequence = layers.LSTM(128, return_sequences=True, kernel_regularizer=regularizer, name="lstm")(inputs)
    pooled = MaskedAttentionPooling(name="attention")(sequence, ValidFlag(name="valid")(inputs))
    return layers.Dropout(dropout_rate, name="dropout")(pooled)


ARCHITECTURES = {"lstm": _lstm}


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
):
    """Returns a compiled keras.Model: features `(B, L, D)` -> probabilities `(B, C)`.

    input_shape: `(L, D)`, the last feature being `valid`. The defaults are the notes' values: Adam with a fixed learning
    rate, the norm of each gradient cut at `clip_norm`, L2 on the input kernels of the LSTM and of the last layer. Raises
    InputError for an unknown architecture or no class.
    """
    if architecture not in ARCHITECTURES:
        raise InputError(f"architecture is {architecture!r}; expected one of {', '.join(ARCHITECTURES)}")
    if num_classes < 1:
        raise InputError(f"a model needs a gloss, and two to tell apart; got {num_classes}")
    regularizer = keras.regularizers.L2(l2)
    inputs = layers.Input(input_shape, name="features")
    clip = ARCHITECTURES[architecture](inputs, dropout_rate, regularizer)
    outputs = layers.Dense(num_classes, activation="softmax", kernel_regularizer=regularizer, name="gloss")(clip)
    model = keras.Model(inputs, outputs, name=architecture)
    model.compile(
        optimizer=keras.optimizers.Adam(float(learning_rate), clipnorm=clip_norm, epsilon=epsilon),
        loss=keras.losses.CategoricalCrossentropy(),
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
    )
    return model
