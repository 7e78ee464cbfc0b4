"""Parameters are checked before anything runs."""

import functools

import pytest

from signlib import project, runs
from signlib.errors import InputError
from signlib.parameters import (
    AUDIT_PARAMETERS,
    CHANGEABLE,
    COMPARE_PARAMETERS,
    DIAGNOSE_PARAMETERS,
    EXTRACT_PARAMETERS,
    PARAMETERS,
    check_parameters,
)

AUDIT = project.ROOT / "notebooks" / "1_audit.ipynb"


def test_the_table_and_the_notebook_agree(given):
    cell = project.notebook_parameters()
    assert list(cell) == list(PARAMETERS)
    assert all(why and default is not None for default, why in cell.values())
    assert check_parameters(given) == given
    others = {"0_extract": EXTRACT_PARAMETERS, "1_audit": AUDIT_PARAMETERS}
    others |= {"3_diagnose": DIAGNOSE_PARAMETERS, "4_compare": COMPARE_PARAMETERS}
    for notebook, table in others.items():
        cell = project.notebook_parameters(project.ROOT / "notebooks" / f"{notebook}.ipynb")
        assert set(cell) == set(table)
        check_parameters({name: default for name, (default, _) in cell.items()}, table)


def test_the_notes_values_are_the_defaults(given):
    notes = {
        "BATCH_SIZE": 32,
        "EPOCHS": 100,
        "VALIDATION_SPLIT": 0.2,
        "LEARNING_RATE": 3e-4,
        "DROPOUT_RATE": 0.5,
        "L2_REGULARIZATION": 1e-5,
        "CLIP_NORM": 1.0,
        "ADAM_EPSILON": 1e-7,
        "PATIENCE": 15,
        "MONITOR": "val_loss",
    }
    assert {name: given[name] for name in notes} == notes
    added = ("MIXUP", "MIRROR", "WEIGHT_DECAY", "LABEL_SMOOTHING", "EMA", "CLASS_WEIGHTS", "WARMUP_EPOCHS")
    assert not any(given[name] for name in added) and (given["ARCHITECTURE"], given["SCHEDULE"]) == ("lstm", "fixed")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("EPOHCS", 3, "unknown parameter EPOHCS: did you mean EPOCHS?"),
        ("epochs", 3, "unknown parameter epochs: did you mean EPOCHS?"),
        ("whatever", 3, "unknown parameter whatever: the parameters are DATA"),
        ("BATCH_SIZE", 0, "BATCH_SIZE = 0: expected a whole number from 1 to 4096"),
        ("BATCH_SIZE", 8.0, "BATCH_SIZE = 8.0: expected a whole number"),
        ("BATCH_SIZE", True, "BATCH_SIZE = True: expected a whole number"),
        ("BATCH_SIZE", "8", "BATCH_SIZE = '8': expected a whole number"),
        ("BATCH_SIZE", None, "BATCH_SIZE = None: expected a whole number"),
        ("LEARNING_RATE", float("nan"), "LEARNING_RATE = nan: expected a number from 1e-08 to 1"),
        ("DROPOUT_RATE", 1, "DROPOUT_RATE = 1: expected a number from 0 to 0.95"),
        ("SAMPLE", 1, "SAMPLE = 1: expected True or False"),
        ("SPLIT", "random", "SPLIT = 'random': expected one of stratified, official, signer, or the path of a .json"),
        ("SPLIT", "split.JSON", "SPLIT = 'split.JSON': expected one of stratified"),
        ("SPLIT", ["a.json"], "SPLIT = ['a.json']: expected one of stratified"),
        ("AUDIT", "yes", "AUDIT = 'yes': expected one of on, warn, off"),
        ("AUDIT", True, "AUDIT = True: expected one of on, warn, off"),  # yaml reads on without quotes so
        ("AUDIT", "on.json", "AUDIT = 'on.json': expected one of on, warn, off"),
        ("LANDMARKS", "hands+nose", "unknown part 'nose'"),
        ("LAYOUT", 543, "LAYOUT = 543: expected one of auto, 1629, 1662, 258, 225, 126, 543, in quotes: LAYOUT: '543' in yaml"),
        ("GLOSSES", 7, "GLOSSES = 7: expected text, in quotes: GLOSSES: '7' in yaml, -r GLOSSES 7 for papermill"),
        ("LEARNING_RATE", 10**400, "LEARNING_RATE = 1000000000"),
        ("EPOCHS", "9" * 5000, f"EPOCHS = '{'9' * 79}: expected a whole number"),
        (
            "FEATURES",
            "position+speed",
            "features 'position+speed': unknown kind 'speed'; expected some of position, depth,",
        ),
        ("FEATURES", "", "features '': unknown kind ''; expected some of position"),
        ("FEATURES", "position + shape", "unknown kind 'position '"),
        ("NORMALISE", "hands", "NORMALISE = 'hands': expected one of body, clip, none"),
        ("LONG_CLIPS", "pad", "LONG_CLIPS = 'pad': expected one of resample, truncate, stretch"),
        ("INTERPOLATE", 1, "INTERPOLATE = 1: expected True or False"),
        ("TRIM", "yes", "TRIM = 'yes': expected True or False"),
        ("ASPECT", 0, "ASPECT = 0: expected a number from 0.1 to 10"),
        ("ASPECT", -1.78, "ASPECT = -1.78: expected a number from 0.1 to 10"),
        ("ASPECT", "16:9", "ASPECT = '16:9': expected a number from 0.1 to 10"),
        ("MIRROR", 1.1, "MIRROR = 1.1: expected a number from 0 to 1"),
        ("MIRROR", True, "MIRROR = True: expected a number from 0 to 1"),
        ("MIXUP", -0.1, "MIXUP = -0.1: expected a number from 0 to 10"),
        ("ARCHITECTURE", "transformer", "ARCHITECTURE = 'transformer': expected one of lstm, bilstm, gru, conv_transformer"),
        ("SCHEDULE", "linear", "SCHEDULE = 'linear': expected one of fixed, cosine"),
        ("WARMUP_EPOCHS", 0.5, "WARMUP_EPOCHS = 0.5: expected a whole number from 0 to 1000"),
        ("WEIGHT_DECAY", -0.1, "WEIGHT_DECAY = -0.1: expected a number from 0 to 1"),
        ("LABEL_SMOOTHING", 1, "LABEL_SMOOTHING = 1: expected a number from 0 to 0.9"),
        ("EMA", 1, "EMA = 1: expected a number from 0 to 0.9999"),  # an average that never moves
        ("CLASS_WEIGHTS", "balanced", "CLASS_WEIGHTS = 'balanced': expected True or False"),
        (1, 3, "unknown parameter 1: the parameters are DATA"),  # yaml reads names without quotes as it pleases
        (True, 3, "unknown parameter True: the parameters are"),
        ("parameters", {"EPOCHS": 3}, "unknown parameter parameters: the parameters are"),  # a recipe one level too deep
        ("LEARNING_RATE", "1e-3", "expected a number from 1e-08 to 1; yaml reads 1e-3 as text, 1.0e-3 as a number"),
    ],
)
def test_what_cannot_be_meant_is_refused(given, name, value, message):
    with pytest.raises(InputError) as error:
        check_parameters(given | {name: value})
    assert message in str(error.value)


def test_what_python_does_not_write_is_refused_by_name_and_type(given):
    deep = functools.reduce(lambda inner, _: [inner], range(5000), 0)
    for name, value in (("LEARNING_RATE", 10**5000), ("EPOCHS", -(10**5000)), ("DATA", 10**5000), ("EPOCHS", deep)):
        with pytest.raises(InputError, match=rf"{name} = a very long {type(value).__name__}: expected"):
            check_parameters(given | {name: value})


def test_a_warm_up_leaves_an_epoch_for_the_cosine(given):
    cosine = given | {"SCHEDULE": "cosine", "EPOCHS": 5}
    for epochs in (5, 6):
        with pytest.raises(InputError, match=f"WARMUP_EPOCHS = {epochs}: expected fewer than EPOCHS, 5"):
            check_parameters(cosine | {"WARMUP_EPOCHS": epochs})
    assert check_parameters(cosine | {"WARMUP_EPOCHS": 4})["WARMUP_EPOCHS"] == 4
    with pytest.raises(InputError, match="WARMUP_EPOCHS = 4: expected 0 where SCHEDULE is fixed; set SCHEDULE to cosine"):
        check_parameters(given | {"WARMUP_EPOCHS": 4})


def test_what_is_averaged_is_also_what_is_judged(given):
    for monitor in ("val_loss", "val_accuracy"):
        assert check_parameters(given | {"EMA": 0.99, "MONITOR": monitor})["EMA"] == 0.99
    for monitor in ("loss", "accuracy"):
        with pytest.raises(InputError, match=r"EMA = 0.99: expected MONITOR val_loss or val_accuracy"):
            check_parameters(given | {"EMA": 0.99, "MONITOR": monitor})


def test_kinds_of_features_are_taken_in_any_order(given):
    for kinds in ("velocity+position", "shape", "acceleration+velocity+shape+depth+position"):
        assert check_parameters(given | {"FEATURES": kinds})["FEATURES"] == kinds


def test_only_what_changes_neither_features_nor_an_epoch_may_change_when_a_run_is_resumed():
    new = ("FEATURES", "NORMALISE", "INTERPOLATE", "TRIM", "ASPECT", "MIRROR", "MIXUP", "ARCHITECTURE", "SCHEDULE")
    new += ("WARMUP_EPOCHS", "WEIGHT_DECAY", "LABEL_SMOOTHING", "EMA", "CLASS_WEIGHTS")
    assert set(new) <= set(PARAMETERS) and not set(new) & CHANGEABLE


def test_a_split_may_be_a_file(given):
    for path in ("split.json", "runs/first run/split.json", "/elsewhere/ my.json", ".json"):
        assert check_parameters(given | {"SPLIT": path})["SPLIT"] == path
        assert PARAMETERS["SPLIT"].parse("SPLIT", path) == path
    with pytest.raises(InputError, match=r"SPLIT = 'x': expected one of .*signer, or the path of a \.json"):
        PARAMETERS["SPLIT"].parse("SPLIT", "x")


@pytest.mark.parametrize("value", ["on", "warn", "off"])
def test_the_audit_is_on_unless_it_is_told_otherwise(given, value):
    assert given["AUDIT"] == "on"
    assert check_parameters(given | {"AUDIT": value})["AUDIT"] == value


def test_a_resumed_run_keeps_its_audit_and_split():
    assert not {"AUDIT", "SPLIT"} & CHANGEABLE


def test_the_audits_notebook_takes_limits_as_text():
    given = {name: default for name, (default, _) in project.notebook_parameters(AUDIT).items()}
    assert given["LIMITS"] == ""
    assert check_parameters(given | {"LIMITS": "short=10,3"}, AUDIT_PARAMETERS)["LIMITS"] == "short=10,3"
    with pytest.raises(InputError, match="LIMITS = 3: expected text"):
        check_parameters(given | {"LIMITS": 3}, AUDIT_PARAMETERS)


def test_an_option_that_argparse_empties_is_refused():
    with pytest.raises(InputError, match=r"EPOCHS = '--': expected a whole number"):
        PARAMETERS["EPOCHS"].parse("EPOCHS", [])
    with pytest.raises(InputError, match=r"SPLIT = '--': expected one of"):
        PARAMETERS["SPLIT"].parse("SPLIT", [])


def test_a_part_that_a_named_layout_lacks_is_refused(given):
    with pytest.raises(InputError, match="layout 126 holds no lips; it holds hands"):
        check_parameters(given | {"LAYOUT": "126", "LANDMARKS": "hands+lips"})
    check_parameters(given | {"LAYOUT": "1662", "LANDMARKS": "hands+lips"})


def test_whole_numbers_pass_where_a_number_is_meant(given):
    checked = check_parameters(given | {"CLIP_NORM": 2})
    assert checked["CLIP_NORM"] == 2.0 and isinstance(checked["CLIP_NORM"], float)


def test_the_notebooks_own_variables_do_not_disturb_a_second_run_of_the_cell(given):
    later = given | {"parameters": {}, "share": 0.8, "In": ["x"], "_": 3, "runs": runs}
    assert check_parameters(later) == given
    with pytest.raises(InputError, match="EPOHCS"):
        check_parameters(later | {"EPOHCS": 3})
