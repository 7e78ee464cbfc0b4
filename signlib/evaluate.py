"""How good a model is: accuracy with its interval, beside the baselines that any model must beat."""

from statistics import NormalDist

import numpy as np

from signlib.files import atomic_path
from signlib.preprocess import Preprocessor


def predict(model, batches):
    """Returns the probabilities `(N, C)` float32 of the clips of a KeypointGenerator made with shuffle=False."""
    return np.concatenate([model.predict_on_batch(batches[i][0]) for i in range(len(batches))])


def top_k(probabilities, labels, k=1):
    """Returns `(N,)` bool: the label is among the k most probable glosses. Ties and NaN count against the model."""
    own = probabilities[np.arange(len(labels)), labels][:, None]
    return (~(probabilities < own)).sum(axis=1) <= k


def accuracy_interval(correct, confidence=0.95):
    """Returns (accuracy, low, high) of `(N,)` bool: the interval of Wilson 1927 (JASA 22:209), good for few clips and
    near 100 %. It takes the clips as independent: people who sign several of them make it too narrow."""
    n, p = len(correct), float(np.mean(correct))
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    middle, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)
    return p, float(min(max(low, 0), p)), float(max(min(high, 1), p))  # rounding must not put p outside


def confusion_matrix(labels, predicted, num_classes):
    """Returns `(C, C)` int: clips of gloss [row] taken for gloss [column]."""
    matrix = np.zeros((num_classes, num_classes), int)
    np.add.at(matrix, (labels, predicted), 1)
    return matrix


def baselines(train, val):
    """Returns {name: `(N,)` correct} for the validation clips: the most frequent gloss, and the nearest neighbour among
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
        "most frequent gloss": val.labels == np.bincount(train.labels).argmax(),
        "nearest neighbour": nearest.predict(y) == val.labels,
    }


def evaluation(probabilities, labels, baseline):
    """Returns rows (name, share, low, high): top-1 and top-5 of the model, then each of `baselines`, with 95 % intervals."""
    rows = [("model, top 1", top_k(probabilities, labels))]
    if probabilities.shape[1] > 5:
        rows.append(("model, top 5", top_k(probabilities, labels, 5)))
    return [(name, *accuracy_interval(correct)) for name, correct in [*rows, *baseline.items()]]


def save_predictions(path, clips, classes, labels, probabilities):
    """Writes the probabilities `(N, C)` of clips, with ids, labels and classes, to an .npz that needs no pickle."""
    ids = np.array([clip.video_id for clip in clips])
    with atomic_path(path) as temporary:
        np.savez(temporary, video_ids=ids, classes=np.array(classes), labels=labels, probabilities=probabilities)
