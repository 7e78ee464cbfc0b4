"""Batches for `fit`: `KeypointGenerator`, with its cache."""

import contextlib
import zlib

import numpy as np
from numpy.random.bit_generator import ISeedSequence

from signlib.device import keras
from signlib.errors import InputError
from signlib.preprocess import TOGETHER

MIXUP = 1  # tells the random numbers of mixup from those of the clips


class _Words(ISeedSequence):
    """The four words that a clip's random numbers start from in an epoch, made beforehand: a `SeedSequence` for each takes ten
    times as long, a tenth of a batch."""

    def __init__(self, words):
        self.words = words

    def generate_state(self, n_words, dtype=np.uint32):
        return self.words


class KeypointGenerator(keras.utils.PyDataset):
    """Batches `(features (B, L, D) float32, labels (B, C) one-hot float32)` of clips; the last may be smaller.

    clips: list of Clip; preprocessor: a Preprocessor; classes: glosses in label order.
    augment: None, or an Augment, drawn anew for each (seed, epoch, clip).
    mixup: 0, or alpha: each clip is mixed with another of its batch, features and labels, in shares drawn from
    Beta(alpha, alpha), anew for each (seed, epoch, batch) (Zhang et al. 2018, arXiv 1710.09412); valid is where either is.
    shuffle: a new order each epoch, from (seed, epoch). Set `.epoch` to repeat an epoch.
    cache_bytes: what is the same in each epoch is kept in memory up to this size: features, or where they are augmented
    points; what does not fit is made again each epoch. stored: a `PointCache`, whose points are neither read nor kept.

    Raises InputError for a clip whose gloss is not among the classes.
    """

    def __init__(
        self,
        clips,
        preprocessor,
        classes,
        *,
        batch_size=32,
        augment=None,
        mixup=0.0,
        shuffle=True,
        cache_bytes=1 << 30,
        stored=None,
        seed=42,
    ):
        super().__init__()
        label = {gloss: index for index, gloss in enumerate(classes)}
        if strange := [clip for clip in clips if clip.gloss not in label]:
            raise InputError(f"clip {strange[0].video_id} has gloss {strange[0].gloss!r}, which is not among the classes")
        self.clips, self.preprocessor, self.classes = list(clips), preprocessor, list(classes)
        self.labels = np.array([label[clip.gloss] for clip in self.clips], int)
        self.batch_size, self.augment, self.mixup, self.shuffle, self.seed = batch_size, augment, mixup, shuffle, seed
        self.cache_bytes, self.cached_bytes, self._cache, self.stored = cache_bytes, 0, {}, stored or {}
        if augment is not None:
            names = [zlib.crc32(clip.video_id.encode()) for clip in self.clips]
            self._names = np.array([np.random.SeedSequence(name).generate_state(4, np.uint64) for name in names])
        self.epoch, self._order, self._drawn = 0, (None, np.arange(len(self.clips))), (None, None)

    @property
    def cacheable_bytes(self):
        """What a cache without a limit would hold in the end, at most."""
        length, width = self.preprocessor.output_shape
        if self.augment is None:
            shortest = length if self.preprocessor.long_clips == "stretch" else 0
            return sum(4 * width * min(max(clip.num_frames, shortest), length) for clip in self.clips)
        kept = 0 if self.stored else 12 * len(self.preprocessor.selected)
        return sum(kept * clip.num_frames for clip in self.clips)

    def __len__(self):
        """Batches an epoch."""
        return -(-len(self.clips) // self.batch_size)

    def on_epoch_end(self):
        """Goes on to the next epoch; Keras calls it."""
        self.epoch += 1

    def __getitem__(self, index):
        """Returns batch `index` of the current epoch."""
        chosen = self.batch_clips(index)
        features = np.empty((len(chosen), *self.preprocessor.output_shape), np.float32)
        if self.augment is not None:
            self.preprocessor.write_features(self._augmented(chosen), features)
        else:
            self._write_unchanged(chosen, features)
        labels = np.zeros((len(chosen), len(self.classes)), np.float32)
        labels[np.arange(len(chosen)), self.labels[chosen]] = 1
        return self._mixed(features, labels, [self.seed, self.epoch, index, MIXUP]) if self.mixup else (features, labels)

    def batch_clips(self, index):
        """Returns the positions in `.clips` of batch `index` of the current epoch."""
        known, order = self._order
        if self.shuffle and known != self.epoch:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(len(self.clips))
            self._order = self.epoch, order
        return order[index * self.batch_size : (index + 1) * self.batch_size]

    def _mixed(self, features, labels, seeds):
        rng = np.random.default_rng(seeds)
        share, other = rng.beta(self.mixup, self.mixup, (len(labels), 1)).astype(np.float32), rng.permutation(len(labels))
        valid = np.maximum(features[:, :, -1], features[other, :, -1])
        features = share[:, :, None] * features + (1 - share[:, :, None]) * features[other]
        features[:, :, -1] = valid
        return features, share * labels + (1 - share) * labels[other]

    def _write_unchanged(self, chosen, features):
        new = []  # pairs of a clip and its place in the batch
        for i, rows in zip(chosen, features, strict=True):
            if i in self._cache:
                known = self._cache[i]
                rows[: len(known)], rows[len(known) :] = known, 0
            else:
                new.append((i, rows))
        self.preprocessor.write_features((self.points(i) for i, _ in new), (rows for _, rows in new))
        for i, rows in new:
            self._keep(i, rows[: int(rows[:, -1].sum())])

    def _augmented(self, chosen):
        """Yields the points of clips, changed at random."""
        if self._drawn[0] != self.epoch:
            self._drawn = self.epoch, self._names ^ np.random.SeedSequence([self.seed, self.epoch]).generate_state(4, np.uint64)
        for first in range(0, len(chosen), TOGETHER):
            some = chosen[first : first + TOGETHER]
            rngs = [np.random.Generator(np.random.PCG64(_Words(self._drawn[1][i]))) for i in some]
            yield from self.augment.each([self.points(i) for i in some], rngs, self.preprocessor.most_frames)

    def points(self, i):
        """Returns the points `(T, P, 3)` of clip `i` of `.clips`, not augmented and not to be written to: from a cache, where
        they are in one."""
        clip = self.clips[i]
        with contextlib.suppress(KeyError):
            return self.stored[clip.video_id]
        if self.augment is not None and i in self._cache:
            return self._cache[i]
        points = self.preprocessor.points(clip.read(), clip.layout)
        if self.augment is not None:
            self._keep(i, points)
        return points

    def _keep(self, i, array):
        if self.cached_bytes + array.nbytes <= self.cache_bytes:  # never evict: each epoch asks for every clip once
            self._cache[i] = array.copy()  # without the batch or the clip that it may be a view of
            self.cached_bytes += array.nbytes
