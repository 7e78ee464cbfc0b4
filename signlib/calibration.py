"""Whether a model's probabilities can be believed: calibration, temperature, and when to say "not sure"."""

import numpy as np

from signlib.evaluate import top_k

FEW_ANSWERS = 30  # below which a share of right ones is luck: of 27 in 30 the interval is 74 to 97 %
BINS = 10  # of equal width, as reliability diagrams are usually drawn
WANTED_ACCURACY = 0.9  # of the answers of an exported model; what 3_diagnose is asked for by default
TINY = 1e-12  # below it a probability's logarithm says nothing more


def reliability(probabilities, labels):
    """Returns (ECE, DataFrame): the expected calibration error of Guo et al. 2017 (arXiv 1706.04599), that is how far accuracy
    and confidence differ on average, and of each bin of confidence that has clips: low, high, confidence, accuracy, clips."""
    import pandas as pd

    confidence, correct = probabilities.max(axis=1), top_k(probabilities, labels)
    which = np.minimum((confidence * BINS).astype(int), BINS - 1)
    rows = [
        (b / BINS, (b + 1) / BINS, confidence[which == b].mean(), correct[which == b].mean(), (which == b).sum())
        for b in np.unique(which)
    ]
    table = pd.DataFrame(rows, columns=["low", "high", "confidence", "accuracy", "clips"])
    return float((table.clips * (table.confidence - table.accuracy).abs()).sum() / len(labels)), table


def fit_temperature(probabilities, labels):
    """Returns the temperature (Guo et al. 2017) that makes the likelihood of the labels largest: above 1 the model is too sure
    of itself; 1 where all are right, since no error says how sure is too sure. Fit it on validation clips, never on those that
    judge."""
    if top_k(probabilities, labels).all():
        return 1.0
    from scipy.optimize import minimize_scalar

    own = np.arange(len(labels)), labels

    def loss(log_temperature):
        return -np.log(np.maximum(soften(probabilities, np.exp(log_temperature))[own], TINY)).mean()

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def soften(probabilities, temperature):
    """Returns probabilities `(N, C)` at another temperature: the softmax of their logarithms divided by it."""
    logits = np.log(np.maximum(probabilities.astype(float), TINY)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def crossfit(probabilities, labels, units):
    """Returns probabilities `(N, C)` of which each half of the `units` is softened by the temperature fitted on the other, so
    that one set of clips can say what a temperature brings; as they are where there is one unit."""
    halves = np.random.default_rng(0).permutation(units.max() + 1)[units] % 2 == 0
    softened = probabilities.astype(float)
    if halves.any() and not halves.all():
        for half in (halves, ~halves):
            softened[half] = soften(probabilities[half], fit_temperature(probabilities[~half], labels[~half]))
    return softened


def coverage(probabilities, labels):
    """Returns a DataFrame, a row a threshold, rising: threshold of confidence, clips at or above it, coverage (their share) and
    accuracy of those."""
    import pandas as pd

    confidence, correct = probabilities.max(axis=1), top_k(probabilities, labels)
    order = np.argsort(-confidence, kind="stable")
    accepted = np.arange(1, len(order) + 1)
    table = pd.DataFrame(
        {
            "threshold": confidence[order],
            "clips": accepted,
            "coverage": accepted / len(order),
            "accuracy": np.cumsum(correct[order]) / accepted,
        }
    )
    return table.drop_duplicates("threshold", keep="last")[::-1].reset_index(drop=True)  # equally sure: taken together


def reject_threshold(table, accuracy):
    """Returns the row of `coverage` that accepts most clips, FEW_ANSWERS at least, of which a share of `accuracy` or more is
    right; None where there is none. It is the best of many, so what it promises is a little too good on the same clips."""
    enough = table[(table.accuracy >= accuracy) & (table.clips >= FEW_ANSWERS)]
    return None if enough.empty else enough.iloc[0]


def calibrate(probabilities, labels):
    """Returns what a model's probabilities `(N, C)` for its validation clips say of how to use it, plain values: the
    `temperature` to soften them by, the `threshold` of the softened below which it is not sure, None where there is none, the
    `wanted_accuracy` of the answers above it, and how many `clips` say so."""
    temperature = fit_temperature(probabilities, labels)
    chosen = reject_threshold(coverage(soften(probabilities, temperature), labels), WANTED_ACCURACY)
    return {
        "temperature": temperature,
        "threshold": None if chosen is None else float(chosen.threshold),
        "wanted_accuracy": WANTED_ACCURACY,
        "clips": len(labels),
    }
