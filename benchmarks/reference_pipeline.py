"""The pipeline of the notes as they describe it, written without signlib: the yardstick of throughput.py, used nowhere else.

python benchmarks/reference_pipeline.py DIR   trains it on the official split of a data set, for its accuracy beside ours

Each clip is one `np.load`, kept in a cache of 150 clips; the first 50 frames of all 1629 values; mean and deviation of the
whole clip, epsilon 1e-3; zeros where nothing is. An LSTM(128) with attention, Adam 3e-4, clipnorm 1, batches of 32.
"""

import pathlib
import sys

import numpy as np
from tensorflow import keras

FRAMES, VALUES, BATCH, CACHED = 50, 1629, 32, 150


class Sequences(keras.utils.PyDataset):
    """Batches `(B, 50, values)` and one-hot labels `(B, C)` of files, in a new order each epoch."""

    def __init__(self, paths, labels, classes, values=VALUES, seed=0):
        super().__init__()
        self.values = values
        self.paths, self.labels, self.classes = list(paths), np.asarray(labels), classes
        self.cache, self.rng = {}, np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self):
        return -(-len(self.paths) // BATCH)

    def on_epoch_end(self):
        self.order = self.rng.permutation(len(self.paths))

    def __getitem__(self, index):
        chosen = self.order[index * BATCH : (index + 1) * BATCH]
        return np.stack([self.read(i) for i in chosen]), np.eye(self.classes, dtype="float32")[self.labels[chosen]]

    def read(self, i):
        if i in self.cache:
            return self.cache[i]
        frames = np.nan_to_num(np.load(self.paths[i]).astype("float32"))
        frames = (frames - frames.mean()) / (frames.std() + 1e-3)
        sequence = np.zeros((FRAMES, self.values), "float32")
        sequence[: len(frames)] = frames[:FRAMES]
        if len(self.cache) < CACHED:
            self.cache[i] = sequence
        return sequence


def build(classes, values=VALUES):
    """Returns the compiled model."""
    layers, l2 = keras.layers, keras.regularizers.L2(1e-5)
    inputs = layers.Input((FRAMES, values))
    sequence = layers.LSTM(128, return_sequences=True, kernel_regularizer=l2)(inputs)
    weights = layers.Softmax(axis=1)(layers.Dense(1, activation="tanh")(sequence))
    clip = layers.Dropout(0.5)(layers.Dot(axes=1)([weights, sequence]))
    outputs = layers.Dense(classes, activation="softmax", kernel_regularizer=l2)(layers.Flatten()(clip))
    model = keras.Model(inputs, outputs)
    optimizer = keras.optimizers.Adam(3e-4, clipnorm=1.0, epsilon=1e-7)
    model.compile(optimizer=optimizer, loss="categorical_crossentropy", metrics=["accuracy"])
    return model


def main(folder):
    """Trains for 100 epochs at most, 15 without a better val_loss, and prints the accuracy of the best one."""
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
    import signlib  # for which clips there are, not for what is made of them

    clips = signlib.load_clips(folder)
    train, val, _ = signlib.split_clips(clips, "official", seed=0)
    classes, values = signlib.class_names(train), clips[0].read().shape[1]
    keras.utils.set_random_seed(0)
    batches, val_batches = (
        Sequences([clip.path for clip in some], [classes.index(clip.gloss) for clip in some], len(classes), values)
        for some in (train, val)
    )
    model = build(len(classes), values)
    stop = keras.callbacks.EarlyStopping("val_loss", patience=15)
    history = model.fit(batches, validation_data=val_batches, epochs=100, shuffle=False, verbose=2, callbacks=[stop]).history
    best = int(np.argmin(history["val_loss"]))
    print(f"epoch {best + 1} of {len(history['loss'])}: {history['val_accuracy'][best]:.1%} of {len(val)} validation clips")


if __name__ == "__main__":
    main(sys.argv[1])
