"""The errors that signlib raises on purpose; each message says what was found, what was expected and what to do next."""


class InputError(ValueError):
    """Data, labels or a parameter cannot be used as given. `train.py` ends with status 2."""


class TrainingError(RuntimeError):
    """Training cannot go on: the loss and the labels do not match, or nothing was learnt before it diverged."""


class SaveError(OSError):
    """Neither the whole model nor its weights could be written; the previous file is untouched."""
