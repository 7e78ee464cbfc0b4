"""The errors that signlib raises on purpose; each message says what was found, what was expected and what to do next."""


class _Sentence:
    """Shown in a notebook by its message alone: where it was raised tells its reader nothing."""

    def _render_traceback_(self):
        return [f"{type(self).__name__}: {self}"]


class InputError(_Sentence, ValueError):
    """Data, labels or a parameter cannot be used as given. `train.py` ends with status 2."""


class TrainingError(_Sentence, RuntimeError):
    """Training cannot go on: the loss and the labels do not match, or nothing was learnt before it diverged."""


class SaveError(_Sentence, OSError):
    """Neither the whole model nor its weights could be written; the previous file is untouched."""


class Interrupted(_Sentence, KeyboardInterrupt):
    """A training was interrupted before there was anything to keep, or an extraction, which keeps what it has done."""
