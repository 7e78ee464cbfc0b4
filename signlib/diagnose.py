"""What is wrong with a run, and what to set: rules over its history, its predictions and its data."""

import math
import textwrap
from dataclasses import dataclass

import numpy as np

from signlib.evaluate import accuracy_interval, top_k

RISE = 0.2  # of ln(classes): a training loss that rises by more from one epoch to the next is unstable
GAP = 0.2  # between training and validation accuracy, from which it is overfitting rather than chance
TURNED = 1.1  # times its best: a validation loss that ended there had turned up, which more patience does not help
LOW = 0.6  # accuracy on the clips learnt from, below which a model has not learnt them
FLAT = 0.02  # of its best value: a loss that changed less in its last quarter has come to rest
COLLAPSED = 0.5  # of the clips that are not of the gloss read most often, read as it all the same
WIDE = 0.1  # half width of an accuracy's interval, beyond which the best epoch is chosen by chance
WIDTH = 100  # letters a line; JupyterLab breaks longer ones within a word


@dataclass(frozen=True)
class Finding:
    """problem: in a word or two; evidence: what was seen, with numbers; advice: what to set or look at."""

    problem: str
    evidence: str
    advice: str

    def __str__(self):
        rows = {"  seen:  ": self.evidence, "  do:    ": self.advice}
        lines = [textwrap.fill(text, WIDTH, initial_indent=name, subsequent_indent=" " * 9) for name, text in rows.items()]
        return "\n".join([self.problem.upper(), *lines])


def diagnose(run, judged=None):
    """Returns the list of `Finding` of a run, gravest first; empty where nothing was found.

    run: run.json as a dict, as `read_run` returns it; of a run that failed or died, what there is. judged: its `Predictions`.
    """
    history = {name: np.array(values, float) for name, values in (run.get("history") or {}).items()}
    found = [*_labels(run, history), *_start(run), *_memory(run), *_unstable(run, history)]
    if judged is not None:
        found += [*_collapsed(judged), *_small(judged)]
    if not any(finding.problem in ("unstable", "labels") for finding in found):
        found += _fit(run, history)
    return found or [*_ended(run)]


def _reason(run):
    return str(run.get("reason") or "")


def _ended(run):
    reason = _reason(run) or "without a reason"
    if run.get("status") == "failed":
        yield Finding("failed", reason, "mend what it names, then start a new run, or go on with RESUME")
    if run.get("status") == "died":
        yield Finding(
            "died",
            reason,
            "power, sleep, a restarted kernel, or memory: go on with RESUME; if it ends so again, a new run with BATCH_SIZE "
            "16, then 8",
        )


def _labels(run, history):
    advice = (
        "labels and loss do not match: categorical cross-entropy with one-hot labels, as build_model and KeypointGenerator "
        "have it. On a Mac, set DEVICE to cpu"
    )
    if "a cross-entropy is never negative" in _reason(run):
        yield Finding("labels", _reason(run), advice)
        return
    for name, values in history.items():
        low, high = (0, 1) if "accuracy" in name else (0, math.inf)
        if (odd := np.flatnonzero((values < low) | (values > high))).size and "learning_rate" not in name:
            yield Finding(
                "labels",
                f"{name} was {values[odd[0]]:.4g} in epoch {odd[0] + 1} ({odd.size} of {len(values)} epochs), "
                f"and cannot be {'outside 0 to 1' if high == 1 else 'below 0'}",
                advice,
            )
            return


def _start(run):
    start, classes = run.get("start_loss"), run.get("classes") or []
    start = float("nan") if start is None else float(start)
    expected = math.log(max(len(classes), 2))
    if not math.isnan(start) and not 0.5 * expected < start < 2 * expected:
        yield Finding(
            "start loss",
            f"the loss began at {start:.3g}; guessing among {len(classes)} glosses gives ln({len(classes)}) = {expected:.3g}",
            "see that the features are normalised (NORMALISE = 'body'), and that the labels are those of the clips",
        )


def _memory(run):
    reason = _reason(run)
    if "memory" in reason or "SIGKILL" in reason:
        size = run.get("parameters", {}).get("BATCH_SIZE", 32)
        smaller = next((known for known in (16, 8) if known < size), max(size // 2, 1))
        yield Finding(
            "memory",
            f"the run ended so: {reason}",
            f"set BATCH_SIZE to {smaller}{', then to 8' * (smaller == 16)}, or CACHE_MB to 256; go on with RESUME for CACHE_MB",
        )


def _unstable(run, history):
    loss, classes = history.get("loss", np.array([])), len(run.get("classes") or [2, 2])
    rises = np.flatnonzero(np.diff(loss) > RISE * math.log(max(classes, 2))) + 2
    broken = [name for name, values in history.items() if not np.isfinite(values).all()]
    diverged = run.get("status") == "diverged" or "the loss became" in _reason(run) or "was never finite" in _reason(run)
    if diverged or broken or len(rises):
        rate, norm = (run.get("parameters", {}).get(name, usual) for name, usual in (("LEARNING_RATE", 3e-4), ("CLIP_NORM", 1)))
        slower = next((value for value in (1e-4, 5e-5) if value < 0.99 * rate), rate / 2)
        if diverged or broken:
            seen = _reason(run) or f"{', '.join(broken)} was not finite"
        else:
            seen = f"the training loss rose by more than {RISE:g} ln(glosses) in epoch {', '.join(map(str, rises[:5]))}"
        then = ", then to 5e-5" if slower == 1e-4 else ""
        yield Finding(
            "unstable", seen, f"set LEARNING_RATE to {slower:g}{then} (it was {rate:g}), CLIP_NORM to less than {norm:g}"
        )


def _collapsed(judged):
    count = np.bincount(judged.predicted, minlength=len(judged.classes))
    most, n = count.argmax(), len(judged.labels)
    true = (judged.labels == most).mean()
    if count[most] / n - true > COLLAPSED * (1 - true):
        yield Finding(
            "collapsed",
            f"{count[most]} of {n} validation clips are read as {judged.classes[most]!r}, which {true:.0%} of them are",
            "see in 1_audit.ipynb how many clips each gloss has (CLASS_WEIGHTS = True makes rare ones count), then lower "
            "LEARNING_RATE and DROPOUT_RATE",
        )


def _small(judged):
    _, low, high = accuracy_interval(top_k(judged.probabilities, judged.labels))  # over clips: all epochs see the same
    n = len(judged.labels)
    if (high - low) / 2 > WIDE:
        yield Finding(
            "validation too small",
            f"{n} clips: the accuracy lies anywhere between {low:.0%} and {high:.0%}, one clip is {1 / n:.1%}",
            "the best epoch is chosen by chance: MONITOR = 'val_loss', a larger VALIDATION_SPLIT, more clips, or the mean of "
            "several SEEDs",
        )


def _fit(run, history):
    """Plateau, overfitting, underfitting: of histories that are in order."""
    loss, accuracy, judged = (history.get(name, np.array([])) for name in ("loss", "accuracy", "val_accuracy"))
    best = int(run.get("best_epoch") or 0)
    if not 0 < best <= len(loss) or len(loss) < 2:
        return
    parameters, learnt, shown = run.get("parameters", {}), accuracy[best - 1], judged[best - 1]
    quarter = max(len(loss) // 4, 1)
    falling = loss[-quarter - 1] - loss[-1] > FLAT * abs(loss[-quarter - 1])
    early = "has not improved" in _reason(run)
    val_loss = history.get("val_loss", loss)
    turned = early and val_loss[-1] > TURNED * val_loss[best - 1]
    if early and best <= 5 and falling and not turned:
        patience = parameters.get("PATIENCE", 15)
        yield Finding(
            "plateau",
            f"{_reason(run)} after its best in epoch {best}, while the training loss still fell ({loss[best - 1]:.3g} to "
            f"{loss[-1]:.3g})",
            f"set PATIENCE to {2 * patience}; if it stays so, LEARNING_RATE to 1e-4",
        )
    at, learnt_then, shown_then = (len(loss), accuracy[-1], judged[-1]) if turned else (best, learnt, shown)
    if learnt_then - shown_then > GAP:
        advice = ["AUGMENT = True"] * (not parameters.get("AUGMENT", True)) + ["MIXUP = 0.2"] * (not parameters.get("MIXUP"))
        advice += ["a higher DROPOUT_RATE", "WEIGHT_DECAY", "python train.py --recipe accurate"]
        yield Finding(
            "overfitting",
            f"in epoch {at} (the best was {best}) {learnt_then:.0%} of the training clips were right and {shown_then:.0%} of "
            f"those for validation",
            f"more clips help most; then {', '.join(advice)}",
        )
    elif max(learnt, shown) < LOW and learnt - shown < GAP / 2:
        if falling:
            done, more = "it was still falling at the end", "more EPOCHS" + (" (and PATIENCE)" if early else "")
        else:
            done, more = "it had come to rest", "a higher LEARNING_RATE, a lower DROPOUT_RATE"
        yield Finding(
            "underfitting",
            f"only {learnt:.0%} of the clips it learns from are right in epoch {best}, as dropout, augmentation and mixup show "
            f"them (training loss {loss[best - 1]:.3g}; {done})",
            f"{more}, or ARCHITECTURE = 'conv_transformer'",
        )
