"""How good a model is: accuracy and F1 with their intervals, confusions, and the baselines that any model must beat."""

from statistics import NormalDist

import numpy as np

from signlib.preprocess import Preprocessor

DRAWS = 2000  # of the bootstrap: its own error is then a twentieth of the interval's width
FEW_UNITS = 10  # signers or recordings, below which the bootstrap's intervals are too narrow, down to no width at all


def predict(model, batches):
    """Returns the probabilities `(N, C)` float32 of the clips of a KeypointGenerator made with shuffle=False."""
    return np.concatenate([model.predict_on_batch(batches[i][0]) for i in range(len(batches))])


def top_k(probabilities, labels, k=1):
    """Returns `(N,)` bool: the label is among the k most probable glosses. Ties and NaN count against the model."""
    own = probabilities[np.arange(len(labels)), labels][:, None]
    return (~(probabilities < own)).sum(axis=1) <= k


def units_of(signers, recordings):
    """Returns `(N,)` numbers from 0: clips with one number depend on each other, being of one signer or of one recording, and
    are drawn together. signers: `(N,)` text, empty: unknown; recordings: `(N,)` int, -1: in no group."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(signers)
    known, who = np.flatnonzero(np.asarray(signers) != ""), np.asarray(signers)[np.asarray(signers) != ""]
    which = np.flatnonzero(np.asarray(recordings) >= 0)
    _, who = np.unique(who, return_inverse=True)
    _, what = np.unique(np.asarray(recordings)[which], return_inverse=True)
    shared = np.concatenate([n + who, 2 * n + what])  # a node for each signer and each recording
    links = coo_array((np.ones(len(shared)), (np.concatenate([known, which]), shared)), shape=(3 * n, 3 * n))
    return np.unique(connected_components(links, directed=False)[1][:n], return_inverse=True)[1]


def resampled(counts):
    """Yields `(100, K)` totals of `counts (U, K)`, DRAWS in all, when the units, its rows, are drawn anew. The draws are
    the same each time for so many units, so that what follows from two such tables can be compared draw by draw."""
    units, rng = len(counts), np.random.default_rng(0)
    for _ in range(DRAWS // 100):
        yield rng.multinomial(units, np.full(units, 1 / units), 100).astype(np.float32) @ counts.astype(np.float32)


def _bootstrap(counts, statistic, confidence=0.95):
    """(low, high) of `statistic(totals (draws, K))` when the units, rows of `counts (U, K)`, are drawn anew: the percentile
    interval of Efron 1979, of whole clusters (Davison & Hinkley 1997, Bootstrap Methods, 3.8)."""
    values = np.concatenate([statistic(totals) for totals in resampled(counts)])
    return tuple(float(value) for value in np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2]))


def accuracy_interval(correct, units=None, confidence=0.95):
    """Returns (accuracy, low, high) of `(N,)` bool, or of the share of several models that are right: the bootstrap over
    `units` (see `units_of`), by default over the clips. Of fewer than FEW_UNITS, or where all or none are right, drawing says
    nothing: then the interval of Wilson 1927 (JASA 22:209) for so many units."""
    correct = np.asarray(correct, float)
    units = np.arange(len(correct)) if units is None else np.unique(units, return_inverse=True)[1]
    n, p = int(units.max()) + 1, float(correct.mean())
    if n >= FEW_UNITS and 0 < p < 1:
        counts = np.stack([np.bincount(units, correct), np.bincount(units)], axis=1)
        return p, *_bootstrap(counts, lambda totals: totals[:, 0] / totals[:, 1], confidence)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    middle, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)
    return p, float(min(max(low, 0), p)), float(max(min(high, 1), p))  # rounding must not put p outside


def macro_f1(labels, predicted, num_classes, units=None):
    """Returns (F1, low, high): of each gloss that has clips the harmonic mean of precision and recall, then the mean of all
    glosses, so that rare ones count as much as frequent ones; the bootstrap over `units`, or where that says nothing the
    interval of the accuracy, widened to hold the F1."""
    units = np.arange(len(labels)) if units is None else np.unique(units, return_inverse=True)[1]
    counts = np.zeros((int(units.max()) + 1, 3, num_classes), np.float32)  # right, predicted, true
    np.add.at(counts[:, 0], (units[labels == predicted], labels[labels == predicted]), 1)
    np.add.at(counts[:, 1], (units, predicted), 1)
    np.add.at(counts[:, 2], (units, labels), 1)

    def statistic(totals):
        right, guessed, true = np.moveaxis(totals.reshape(len(totals), 3, num_classes), 1, 0)
        return (2 * right / np.maximum(guessed + true, 1)).sum(axis=1) / np.maximum((true > 0).sum(axis=1), 1)

    counts = counts.reshape(len(counts), -1)
    value = float(statistic(counts.sum(axis=0, keepdims=True))[0])
    if (labels == predicted).all() or len(counts) < FEW_UNITS:
        low, high = accuracy_interval(labels == predicted, units)[1:]
    else:
        low, high = _bootstrap(counts, statistic)
    return value, min(low, value), max(high, value)


def confusion_matrix(labels, predicted, num_classes):
    """Returns `(C, C)` int: clips of gloss [row] taken for gloss [column]."""
    matrix = np.zeros((num_classes, num_classes), int)
    np.add.at(matrix, (labels, predicted), 1)
    return matrix


def baselines(train, val):
    """Returns {name: `(N,)` labels predicted} for the clips of `val`: the most frequent gloss, and the nearest neighbour among
    the training clips by positions and hand shapes at 16 moments of each clip. train, val: KeypointGenerators.

    On the validation clips of wlasl300 that finds 21.5 %, by positions alone 17.0 %, with velocities 15.0 %, by the LSTM's
    padded features 14.1 % (by Euclidean distance each).
    """
    from sklearn.neighbors import KNeighborsClassifier

    config = train.preprocessor.config() | {"sequence_length": 16, "long_clips": "stretch", "kinds": "position+shape"}
    simple = Preprocessor(**config)
    x, y = (np.empty((len(batches.clips), *simple.output_shape), np.float32) for batches in (train, val))
    for batches, rows in ((train, x), (val, y)):
        simple.write_features(map(batches.points, range(len(rows))), rows)
    x, y = (rows.reshape(len(rows), -1) for rows in (x, y))
    nearest = KNeighborsClassifier(n_neighbors=1).fit(x, train.labels)
    return {
        "most frequent gloss": np.full(len(y), np.bincount(train.labels).argmax()),
        "nearest neighbour": nearest.predict(y),
    }
