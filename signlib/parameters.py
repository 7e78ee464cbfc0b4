"""The settings of the notebooks: their types, their ranges, and `check_parameters`."""

import difflib
import math
from dataclasses import dataclass

from signlib.errors import InputError
from signlib.landmarks import LAYOUTS, select_landmarks
from signlib.preprocess import LONG_CLIPS, NORMALISE, check_kinds
from signlib.split import STRATEGIES


@dataclass(frozen=True)
class Parameter:
    """The type of a parameter and its range: `low` to `high` for numbers, `choices` for some texts, or else the path of a
    file whose name ends with `suffix`."""

    kind: type
    low: float = -math.inf
    high: float = math.inf
    choices: tuple = ()
    suffix: str = ""

    def check(self, name, value):
        """Returns `value`, a whole number as float where a float is meant; raises InputError naming the allowed range."""
        if self.kind is float and type(value) is int and self.low <= value <= self.high:
            value = float(value)
        named = self.suffix and type(value) is str and value.endswith(self.suffix)
        if type(value) is not self.kind or (self.choices and value not in self.choices and not named):
            hint = ""
            if self.kind is str and type(value) in (int, float):
                hint = f", in quotes: {name}: '{_shown(value)}' in yaml, -r {name} {_shown(value)} for papermill"
            elif self.kind is float and isinstance(value, str):
                hint = "; yaml reads 1e-3 as text, 1.0e-3 as a number"
            raise InputError(f"{name} = {_shown(value)}: expected {self}{hint}")
        if self.kind in (int, float) and not self.low <= value <= self.high:
            raise InputError(f"{name} = {_shown(value)}: expected {self}")
        return value

    def parse(self, name, text):
        """Returns the value that `text` from the command line means, checked."""
        text = "--" if text == [] else text  # what argparse before Python 3.13 makes of --name=--
        try:
            return self.check(name, self.kind(text))
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{name} = {_shown(text)}: expected {self}") from None

    def __str__(self):
        if self.choices:
            return "one of " + ", ".join(self.choices) + (f", or the path of a {self.suffix}" if self.suffix else "")
        if self.kind in (int, float):
            return f"a {'whole ' if self.kind is int else ''}number from {self.low:g} to {self.high:g}"
        return "True or False" if self.kind is bool else "text"


PARAMETERS = {
    "DATA": Parameter(str),
    "LABELS": Parameter(str),
    "SAMPLE": Parameter(bool),
    "MODELS_DIR": Parameter(str),
    "RUN_DIR": Parameter(str),
    "RESUME": Parameter(str),
    "FALLBACK_DIR": Parameter(str),
    "STOP_SECONDS": Parameter(int, 1, 1_000_000),
    "BATCH_SIZE": Parameter(int, 1, 4096),
    "EPOCHS": Parameter(int, 1, 10_000),
    "VALIDATION_SPLIT": Parameter(float, 0.01, 0.9),
    "LEARNING_RATE": Parameter(float, 1e-8, 1),
    "DROPOUT_RATE": Parameter(float, 0, 0.95),
    "L2_REGULARIZATION": Parameter(float, 0, 1),
    "CLIP_NORM": Parameter(float, 1e-6, 1e6),
    "ADAM_EPSILON": Parameter(float, 1e-12, 1),
    "PATIENCE": Parameter(int, 1, 10_000),
    "MONITOR": Parameter(str, choices=("val_loss", "val_accuracy", "loss", "accuracy")),
    "GLOSSES": Parameter(str),
    "MAX_GLOSSES": Parameter(int, 0, 1_000_000),
    "MIN_CLIPS": Parameter(int, 1, 1_000_000),
    "AUDIT": Parameter(str, choices=("on", "warn", "off")),
    "SPLIT": Parameter(str, choices=STRATEGIES, suffix=".json"),
    "LAYOUT": Parameter(str, choices=("auto", *LAYOUTS)),
    "LANDMARKS": Parameter(str),
    "SEQUENCE_LENGTH": Parameter(int, 2, 1000),
    "LONG_CLIPS": Parameter(str, choices=LONG_CLIPS),
    "FEATURES": Parameter(str),
    "NORMALISE": Parameter(str, choices=NORMALISE),
    "INTERPOLATE": Parameter(bool),
    "TRIM": Parameter(bool),
    "ASPECT": Parameter(float, 0.1, 10),
    "AUGMENT": Parameter(bool),
    "MIRROR": Parameter(float, 0, 1),
    "MIXUP": Parameter(float, 0, 10),
    "ARCHITECTURE": Parameter(str, choices=("lstm", "bilstm", "gru", "conv_transformer")),
    "SCHEDULE": Parameter(str, choices=("fixed", "cosine")),
    "WARMUP_EPOCHS": Parameter(int, 0, 1000),
    "WEIGHT_DECAY": Parameter(float, 0, 1),
    "LABEL_SMOOTHING": Parameter(float, 0, 0.9),
    "EMA": Parameter(float, 0, 0.9999),
    "CLASS_WEIGHTS": Parameter(bool),
    "EVALUATE_TEST": Parameter(bool),
    "MAX_BAD_SHARE": Parameter(float, 0, 1),
    "CACHE_MB": Parameter(int, 0, 1_000_000),
    "DISK_CACHE_MB": Parameter(int, 0, 100_000_000),
    "DEVICE": Parameter(str, choices=("cpu", "auto")),
    "SEED": Parameter(int, 0, 2**31 - 1),
    "SPLIT_SEED": Parameter(int, 0, 2**31 - 1),
}
CHANGEABLE = {  # when a run is resumed: what changes neither the content of the data nor that of an epoch
    *("DATA", "LABELS", "SAMPLE", "MODELS_DIR", "RUN_DIR", "RESUME", "FALLBACK_DIR", "STOP_SECONDS"),
    *("EPOCHS", "PATIENCE", "MAX_BAD_SHARE", "CACHE_MB", "DISK_CACHE_MB", "EVALUATE_TEST"),
}
NOT_OF_THE_MODEL = CHANGEABLE - {"EPOCHS", "PATIENCE"}  # what a model does not follow from, where the data are the same
AUDIT_PARAMETERS = {name: PARAMETERS[name] for name in ("DATA", "LABELS", "SAMPLE", "LAYOUT", "SEQUENCE_LENGTH")}
AUDIT_PARAMETERS |= {"LIMITS": Parameter(str), "CLIP": Parameter(str)}
DIAGNOSE_PARAMETERS = {"RUN": Parameter(str), "LOG_SCALE": Parameter(bool), "TEST": Parameter(bool)}
DIAGNOSE_PARAMETERS |= {"WANTED_ACCURACY": Parameter(float, 0, 1), "CONTROLS": Parameter(bool)}
COMPARE_PARAMETERS = {name: Parameter(str) for name in ("BATCH", "METRIC", "PROMOTE", "ENSEMBLE")}
EXTRACT_PARAMETERS = {name: Parameter(str) for name in ("VIDEOS", "OUT", "LABELS", "CLIP")}
EXTRACT_PARAMETERS |= {"FPS": Parameter(float, 1, 240), "BBOX": Parameter(bool), "WORKERS": Parameter(int, 0, 1000)}


def check_parameters(given, table=PARAMETERS):
    """Returns {name: value} of all parameters, checked. `given` is that, or a notebook's `globals()`; `table` is that of
    the training notebook, AUDIT_PARAMETERS, DIAGNOSE_PARAMETERS, COMPARE_PARAMETERS or EXTRACT_PARAMETERS.

    Raises InputError for an unknown name, a wrong type or a value out of range. In globals, every literal is taken for a
    parameter at first: papermill adds a misspelt one as a new variable and goes on. Later, when the notebook's own
    variables stand there as well, only names in capitals are.
    """
    again = "In" in given and isinstance(given.get("parameters"), dict)
    literals = {
        name: value
        for name, value in given.items()
        if (str(name).isupper() or not again)
        and not str(name).startswith("_")
        and name not in ("In", "Out")
        and isinstance(value, str | int | float | list | tuple | dict | None)
    }
    for name in literals:
        if name not in table:
            close = difflib.get_close_matches(str(name).upper(), table, 1)
            hint = f"did you mean {close[0]}?" if close else f"the parameters are {', '.join(table)}"
            raise InputError(f"unknown parameter {name}: {hint} (once the cell is mended, restart the kernel)")
    values = {name: spec.check(name, literals[name]) for name, spec in table.items() if name in literals}
    if absent := [name for name in table if name not in values]:
        raise InputError(f"parameter {absent[0]} is missing: run the notebook's parameters cell first")
    if "LANDMARKS" in values:
        select_landmarks(values["LANDMARKS"], None if values["LAYOUT"] == "auto" else values["LAYOUT"])
    if "FEATURES" in values:
        check_kinds(values["FEATURES"])
    if values.get("MIRROR") and not values["AUGMENT"]:
        raise InputError(f"MIRROR = {values['MIRROR']} contradicts AUGMENT = False: set one of them")
    if values.get("EMA") and not values["MONITOR"].startswith("val_"):
        raise InputError(f"EMA = {values['EMA']}: expected MONITOR val_loss or val_accuracy, which judge the averaged weights")
    if warm_up := values.get("WARMUP_EPOCHS"):
        if values["SCHEDULE"] == "fixed":
            raise InputError(f"WARMUP_EPOCHS = {warm_up}: expected 0 where SCHEDULE is fixed; set SCHEDULE to cosine")
        if warm_up >= values["EPOCHS"]:
            raise InputError(f"WARMUP_EPOCHS = {warm_up}: expected fewer than EPOCHS, {values['EPOCHS']}")
    if values.get("SAMPLE") and (values["DATA"] or values["LABELS"]):
        raise InputError("SAMPLE = True contradicts DATA or LABELS: name your data or ask for the sample")
    return values


def _shown(value):
    """The start of how a value is written; of one that Python does not write, such as a number of 5,000 digits, its type."""
    try:
        return f"{value!r:.80}"
    except (ValueError, RecursionError):
        return f"a very long {type(value).__name__}"
