"""Batches for `fit`: `KeypointGenerator`, with its cache."""

import zlib

import numpy as np

from signlib.device import keras
from signlib.errors import InputError

MIXUP = 1  # tells the random numbers of mixup from those of the clips


class KeypointGenerator(keras.utils.PyDataset):
    """Batches `(features (B, L, D) float32, labels (B, C) one-hot float32)` of clips; the last may be smaller.

    clips: list of Clip; preprocessor: a Preprocessor; classes: glosses in label order.
    augment: None, or a function of (points, rng), drawn anew for each (seed, epoch, clip).
    mixup: 0, or alpha: each clip is mixed with another of its batch, features and labels, in shares drawn from
    Beta(alpha, alpha), anew for each (seed, epoch, batch) (Zhang et al. 2018, arXiv 1710.09412); valid is where either is.
    shuffle: a new order each epoch, from (seed, epoch). Set `.epoch` to repeat an epoch.
    cache_bytes: points (before augmentation) are kept up to this size; what does not fit is read again each epoch.

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
        seed=42,
    ):
        super().__init__()
        label = {gloss: index for index, gloss in enumerate(classes)}
        if strange := [clip for clip in clips if clip.gloss not in label]:
            raise InputError(f"clip {strange[0].video_id} has gloss {strange[0].gloss!r}, which is not among the classes")
        self.clips, self.preprocessor, self.classes = list(clips), preprocessor, list(classes)
        self.labels = np.array([label[clip.gloss] for clip in self.clips], int)
        self.batch_size, self.augment, self.mixup, self.shuffle, self.seed = batch_size, augment, mixup, shuffle, seed
        self.cache_bytes, self.cached_bytes, self._cache = cache_bytes, 0, {}
        self.epoch = 0

    def __len__(self):
        """Batches an epoch."""
        return -(-len(self.clips) // self.batch_size)

    def on_epoch_end(self):
        """Goes on to the next epoch; Keras calls it."""
        self.epoch += 1

    def __getitem__(self, index):
        """Returns batch `index` of the current epoch."""
        chosen = self.batch_clips(index)
        features = np.stack([self._features(i) for i in chosen])
        labels = np.eye(len(self.classes), dtype=np.float32)[self.labels[chosen]]
        return self._mixed(features, labels, index) if self.mixup else (features, labels)

    def batch_clips(self, index):
        """Returns the positions in `.clips` of batch `index` of the current epoch."""
        order = np.arange(len(self.clips))
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(len(self.clips))
        return order[index * self.batch_size : (index + 1) * self.batch_size]

    def _mixed(self, features, labels, index):
        rng = np.random.default_rng([self.seed, self.epoch, index, MIXUP])
        share, other = rng.beta(self.mixup, self.mixup, (len(labels), 1)).astype(np.float32), rng.permutation(len(labels))
        valid = np.maximum(features[:, :, -1], features[other, :, -1])
        features = share[:, :, None] * features + (1 - share[:, :, None]) * features[other]
        features[:, :, -1] = valid
        return features, share * labels + (1 - share) * labels[other]

    def _features(self, i):
        points = self.points(i)
        if self.augment is not None:
            clip_key = zlib.crc32(self.clips[i].video_id.encode())
            points = self.augment(points, np.random.default_rng([self.seed, self.epoch, clip_key]))
        return self.preprocessor.features(points)

    def points(self, i):
        """Returns the points `(T, P, 3)` of clip `i` of `.clips`, not augmented, from the cache where they are in it."""
        if i not in self._cache:
            points = self.preprocessor.points(self.clips[i].read(), self.clips[i].layout)
            if self.cached_bytes + points.nbytes > self.cache_bytes:
                return points  # full: never evict, since each epoch asks for every clip once
            self._cache[i] = points
            self.cached_bytes += points.nbytes
        return self._cache[i]
