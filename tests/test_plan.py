"""A plan's file becomes runs, or is refused before anything starts."""

import pytest
import yaml

from signlib.errors import InputError
from signlib.plan import read_plan

GRID = {"base": {"EPOCHS": 3}, "grid": {"LEARNING_RATE": [1e-3, 3e-4], "DROPOUT_RATE": [0.3, 0.5]}, "repeats": 3}


@pytest.fixture
def plan(tmp_path):
    """The function `plan(content)`: the `Plan` of a file with that content, text or what yaml makes text of."""

    def plan(content):
        path = tmp_path / "dropout.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
        return read_plan(path)

    return plan


def test_a_grid_is_every_combination_with_every_seed(plan, given):
    made = plan(GRID)
    found = [(p["LEARNING_RATE"], p["DROPOUT_RATE"], p["SEED"]) for p in (run.parameters for run in made.runs.values())]
    assert found == [(rate, dropout, seed) for rate in (1e-3, 3e-4) for dropout in (0.3, 0.5) for seed in (42, 43, 44)]
    assert (made.name, made.varied) == ("dropout", ["LEARNING_RATE", "DROPOUT_RATE"])
    assert all(run.parameters.keys() == given.keys() and run.parameters["EPOCHS"] == 3 for run in made.runs.values())
    assert [run.setting for run in made.runs.values()][::3] == [
        "learning_rate=0.001__dropout_rate=0.3",
        "learning_rate=0.001",
        "dropout_rate=0.3",
        "base",
    ]
    assert list(made.runs)[-1] == "base__seed=44"


def test_runs_of_a_list_stand_beside_the_grid(plan):
    made = plan({"grid": {"DROPOUT_RATE": [0.3, 0.5]}, "runs": [{"ARCHITECTURE": "gru", "SEED": 7}]})
    assert list(made.runs) == ["dropout_rate=0.3__seed=42", "base__seed=42", "architecture=gru__seed=7"]
    assert made.varied == ["DROPOUT_RATE", "ARCHITECTURE"]


@pytest.mark.parametrize(("content", "runs"), [("", 1), ("repeats: 2", 2), ("grid: {SEED: [1, 2, 5]}", 3)])
def test_without_grid_and_runs_there_is_the_base(plan, content, runs):
    made = plan(content)
    assert len(made.runs) == runs and {run.setting for run in made.runs.values()} == {"base"} and made.varied == []


def test_a_run_keeps_its_name_where_the_plan_grows(plan):
    wider = GRID | {"grid": GRID["grid"] | {"MIXUP": [0.0, 0.2]}, "runs": [{"ARCHITECTURE": "gru"}], "repeats": 5}
    before, after = plan(GRID).runs, plan(wider).runs
    assert all(after[name] == run for name, run in before.items()) and len(after) == 45


def test_a_batch_publishes_nothing(plan):
    assert plan("").runs["base__seed=42"].parameters["MODELS_DIR"] == ""


def test_names_are_those_of_folders(plan):
    made = plan({"grid": {"DATA": ["../one set", "../one-set"], "GLOSSES": ["a" * 300]}})
    names = list(made.runs)
    assert len(set(names)) == 2 and all(len(name) < 160 and "/" not in name and " " not in name for name in names)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("base: {EPOCHS: 3, EPOCHS: 4}", "EPOCHS stands twice in what begins in line 1"),
        ("base: {EPOHCS: 3}", "base: unknown parameter 'EPOHCS': did you mean EPOCHS?"),
        ("grid: {dropout_rate: [0.3]}", "grid: unknown parameter 'dropout_rate': did you mean DROPOUT_RATE?"),
        ("grid: {EPOCHS: 3}", r"grid: EPOCHS is 3; expected a list of values, such as \[3\]"),
        ("grid: {EPOCHS: []}", "expected a list of values"),
        ("grid: {EPOCHS: [3, 3]}", "epochs=3__seed=42 is planned twice"),
        ("grid: {LEARNING_RATE: [1e-3]}", "with LEARNING_RATE: 1e-3: .*yaml reads 1e-3 as text"),
        ("grid: {DROPOUT_RATE: [0.3, 2]}", "with DROPOUT_RATE: 2: DROPOUT_RATE = 2: expected a number from 0 to 0.95"),
        ("grid: {GLOSSES: [Book, book]}", "glosses=book__seed=42 is planned twice, as glosses=Book"),
        ("base: {GLOSSES: 2020-01-02}", "GLOSSES is 2020-01-02; expected a number, True or False, or text in quotes"),
        ("base: {GLOSSES: }", "GLOSSES is None; expected"),
        ("base: {GLOSSES: 2020-13-45}", "month must be in"),
        (f"repeats: {'9' * 5000}", "cannot be a value"),
        (f"repeats: 0x{'f' * 5000}", "cannot be a value"),
        ("base: !!map [1, 2]", "is not yaml"),
        ('base: {GLOSSES: "\\ud800"}', "cannot be a value"),
        (f"grid: {{SEED: {list(range(101))}, EPOCHS: {list(range(1, 101))}}}", "it has 10,100 runs; expected at most 10,000"),
        ("base: {EPOCHS: 0}", "EPOCHS = 0: expected a whole number"),
        ("base: 3", "base is 3; expected parameters"),
        ("runs: {EPOCHS: 3}", r"runs is \{'EPOCHS': 3\}; expected a list"),
        ("runs: [EPOCHS]", "runs, number 1 is 'EPOCHS'; expected parameters"),
        ("runs: [{MODELS_DIR: here}]", "runs, number 1: MODELS_DIR is set by the batch"),
        ("grd: {}", "unknown key 'grd': did you mean grid?"),
        ("repeats: 0", "repeats is 0; expected a whole number from 1 to 1000"),
        ("repeats: yes", "repeats is True; expected a whole number"),
        ("{grid: {SEED: [1, 2]}, repeats: 2}", "SEED stands under grid or runs, and repeats"),
        ("- 1", r"found \[1\]; expected lines such as 'base:'"),
        ("base: [", "is not yaml"),
        ("grid: {? [1] : 2}", "is not yaml"),
        ("base: \xff\x00", "is not yaml"),
    ],
)
def test_what_cannot_be_run_is_refused_by_the_files_name(plan, content, message):
    with pytest.raises(InputError, match=rf"dropout\.yaml:? .*{message}"):
        plan(content)


@pytest.mark.parametrize("name", ["..yaml", "...yaml", ".hidden.yaml", "points.yaml", "audits.yaml", "a:b.yaml"])
def test_a_name_that_no_batch_can_have_is_refused(tmp_path, name):
    (tmp_path / name).write_text("")
    with pytest.raises(InputError, match="which is no name for them"):
        read_plan(tmp_path / name)


def test_a_plan_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"cannot read the plan .*no\.yaml: No such file"):
        read_plan(tmp_path / "no.yaml")
