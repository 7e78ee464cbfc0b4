"""The values of a run over its epochs, made fit to be shown. Never imports TensorFlow."""

import math
import warnings


class ClampedHistory(dict):
    """A history with accuracies in [0, 1]: `.raw` as measured, `.clamped` {metric: indices of the epochs changed}."""


def clamp_history(history):
    """Returns a `ClampedHistory` of {metric: values}: accuracies cut to [0, 1], all else, losses above all, as it is.

    Warns once where something was cut: an accuracy outside [0, 1] means labels that do not fit the loss, or broken
    numerics, and cutting hides it only in the picture.
    """
    raw = {name: [float(value) for value in values] for name, values in history.items()}
    shown = ClampedHistory({name: [_clamp(name, value) for value in values] for name, values in raw.items()})
    shown.raw = raw
    shown.clamped = {name: [i for i, v in enumerate(raw[name]) if shown[name][i] < v or shown[name][i] > v] for name in raw}
    if count := sum(map(len, shown.clamped.values())):
        warnings.warn(
            f"{count} accuracy values lay outside [0, 1] and are shown clamped; check that labels and loss match "
            "and, on a Mac, set DEVICE to cpu",
            stacklevel=2,
        )
    return shown


def percent(name, logs):
    """Returns an accuracy as text, clamped to [0, 1] first; a trailing ! says that it was."""
    value = float(logs.get(name, math.nan))
    shown = _clamp(name, value)
    return f"{100 * shown:.1f} %" + ("!" if shown != value and not math.isnan(value) else "")


def duration(seconds):
    """Returns seconds as short text: 3.2 s, 4 min, 2.5 h."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _clamp(name, value):
    return min(max(value, 0.0), 1.0) if "accuracy" in name and not math.isnan(value) else value
