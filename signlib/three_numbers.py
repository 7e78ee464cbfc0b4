"""How much of an accuracy is leakage: `three_numbers`, from run folders alone."""

import contextlib
import shlex

from signlib import project
from signlib.errors import InputError
from signlib.evaluate import top_k
from signlib.parameters import NOT_OF_THE_MODEL
from signlib.predictions import read_predictions
from signlib.runs import read_state

UNKNOWN = "who signs is not known"
RECIPE_KEPT = NOT_OF_THE_MODEL | {"SPLIT", "VALIDATION_SPLIT", "SPLIT_SEED"}  # in which runs of one recipe may differ


def three_numbers(folder, run, test=False, runs="runs"):
    """Returns (DataFrame, text): the accuracy on the run's own split; without the clips of recordings that were learnt from;
    and on signers who were not, from the same recipe trained again. Columns: number, accuracy, low, high, clips, note. The
    text says which to believe.

    folder, run: as `read_run` returns them. test: of the test clips, as far as the run has read them, instead of those of
    validation; the third is always of validation. runs: where to look for the run that divides signers.
    """
    import pandas as pd

    own = read_predictions(folder / ("predictions_test.npz" if test else "predictions.npz"))
    split, which = run["parameters"]["SPLIT"], "test" if test else "validation"
    rows = [(f"{split} split, {which}", own, _met(own))]
    learnt = int(own.learnt.sum())
    left = f"without {learnt} clips whose recordings were learnt from" if learnt else "no clip's recording was learnt from"
    rows.append(("without duplicates", own if not learnt else own.take(~own.learnt) if not own.learnt.all() else None, left))
    val = read_predictions(folder / "predictions.npz") if test else own
    if (val.signers != "").all() and not val.met.any():
        rows.append(("signer-disjoint", val, "this run's own split"))
    elif twin := _signer_run(run, runs):
        rows.append(("signer-disjoint", twin[1], f"trained again: {twin[0]}"))
    elif not (val.signers != "").any():
        rows.append(("signer-disjoint", None, "not available: the labels name no signer"))
    else:
        rows.append(("signer-disjoint", None, f"not there yet: {command(run['parameters'], SPLIT='signer')}"))
    table = []
    for name, judged, note in rows:
        known = judged is not None and len(judged.labels)
        share = judged.interval(top_k(judged.probabilities, judged.labels)) if known else (None, None, None)
        table.append((name, *share, len(judged.labels) if known else 0, note))
    table = pd.DataFrame(table, columns=["number", "accuracy", "low", "high", "clips", "note"])
    return table, _believe(table)


def command(parameters, **changed):
    """Returns the command line that trains with these parameters of a run, some of them changed."""
    place = {"RUN_DIR", "RESUME", "MODELS_DIR", "FALLBACK_DIR", "EVALUATE_TEST"}  # what it does not repeat
    words = []
    for name, (default, _) in project.notebook_parameters().items():
        value = (parameters | changed).get(name, default)
        if value == default or name in place:
            continue
        flag = "--" + name.lower().replace("_", "-")
        words += [flag.replace("--", "--no-", 1) if value is False else flag] + [str(value)] * (not isinstance(value, bool))
    return shlex.join(["python", "train.py", *words])


def _met(judged):
    known = judged.signers != ""
    if not known.any():
        return UNKNOWN
    of = "clips" if known.all() else f"{known.sum()} clips whose signers are known, of {len(known)},"
    return f"{judged.met[known].mean():.0%} of the {of} are of signers who were learnt from"


def _signer_run(run, runs):
    """(name, predictions) of the latest finished run of the same data and recipe that divides signers, or None."""
    for path in sorted(project.project_path(runs).glob("*/predictions.npz"), reverse=True):
        other = read_state(path.parent) or {}
        given, wanted = other.get("parameters"), run["parameters"]
        if (
            isinstance(given, dict)
            and given.get("SPLIT") == "signer"
            and other.get("status") == "finished"
            and "ensemble" not in other  # which is better than a run of its recipe
            and other.get("data_fingerprint") == run["data_fingerprint"]
            and all(given.get(name) == value for name, value in wanted.items() if name not in RECIPE_KEPT)
        ):
            with contextlib.suppress(InputError):  # damaged, or of another version
                return path.parent.name, read_predictions(path)
    return None


def _believe(table):
    _, second, third = table.accuracy
    if third == third and third is not None:
        return f"Believe the third, {third:.1%}, for people the model has never seen; the second for those it learnt from."
    if second == second and second is not None and table.note[0] == UNKNOWN:
        return f"Believe the second, {second:.1%}, for clips like these; of people who are not in them nothing is known."
    if second == second and second is not None:
        return (
            f"Believe the second, {second:.1%}, for people who are in the training clips; of others nothing is known, "
            "and they are usually recognised less well."
        )
    return "Believe none of them: every clip that judges was learnt from, too."
