"""A plan of many runs, from a yaml file: `read_plan`."""

import collections
import difflib
import hashlib
import itertools
import json
import math
import pathlib
import re
from dataclasses import dataclass

import yaml

from signlib.errors import InputError
from signlib.parameters import check_parameters
from signlib.project import notebook_parameters

KEYS = ("base", "grid", "runs", "repeats")
OF_THE_BATCH = ("RUN_DIR", "RESUME", "MODELS_DIR")  # what a batch decides itself; it publishes nothing
OTHERS = ("audits", "points")  # folders in runs/ that are no batch's
MOST_RUNS = 10_000
NAME_LETTERS = 120  # of a setting; file systems allow 255 bytes


@dataclass(frozen=True)
class Planned:
    """A run that is planned: the `setting` that it shares with its repeats, and all `parameters` of the notebook."""

    setting: str
    parameters: dict


@dataclass(frozen=True)
class Plan:
    """`name`: of the plan's file, and of the batch; `runs`: {name: Planned}; `varied`: parameters that differ between them, but
    for SEED, in the notebook's order."""

    name: str
    runs: dict
    varied: list


def read_plan(path):
    """Returns the `Plan` in a yaml file, with these keys, none of them needed:

    base: {parameter: value} of all runs, in place of the notebook's defaults. grid: {parameter: [values]}, all combinations.
    runs: a list of {parameter: value}, each a setting besides those of the grid. repeats: how often each setting is run,
    with SEED, SEED + 1, and so on. Without grid and runs there is one setting, the base.

    Raises InputError naming the file, what it found there and what was expected.
    """
    path = pathlib.Path(path)
    if not re.fullmatch(r"\w[\w.=+ -]*", path.stem) or path.stem in OTHERS:
        raise InputError(f"{path}: its runs go to runs/{path.stem}, which is no name for them; give the file another")
    try:
        plan = yaml.load(path.read_bytes(), _Loader)
        return _plan(path.stem, {} if plan is None else plan)
    except OSError as error:
        raise InputError(f"cannot read the plan {path}: {error.strerror}") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:  # a date that is none, a number without end
        raise InputError(f"{path} is not yaml, or holds what cannot be a value: {' '.join(str(error).split())}") from None


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in one place, of which yaml would take the last."""

    def construct_mapping(self, node, deep=False):
        keys = collections.Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        if twice := [key for key, count in keys.items() if count > 1]:
            raise InputError(f"{twice[0]} stands twice in what begins in line {node.start_mark.line + 1}; delete one of them")
        return super().construct_mapping(node, deep)


def _plan(name, plan):
    if not isinstance(plan, dict):
        raise InputError(f"found {plan!r:.60}; expected lines such as 'base:', 'grid:', 'runs:' and 'repeats: 3'")
    for key in plan:
        if key not in KEYS:
            raise InputError(f"unknown key {_meant(key, KEYS)}. Parameters stand under base, grid or runs")
    base, grid, runs, repeats = (
        default if plan.get(key) is None else plan[key] for key, default in zip(KEYS, ({}, {}, [], 1), strict=True)
    )
    defaults = {name: default for name, (default, _) in notebook_parameters().items()}
    _check_names("base", base, defaults)
    _check_names("grid", grid, defaults)
    for parameter, values in grid.items():
        if not isinstance(values, list) or not values:
            raise InputError(f"grid: {parameter} is {values!r:.60}; expected a list of values, such as [{values!r:.20}]")
    if not isinstance(runs, list):
        raise InputError(f"runs is {runs!r:.60}; expected a list, each line '- {{DROPOUT_RATE: 0.3}}'")
    for number, changes in enumerate(runs, 1):
        _check_names(f"runs, number {number}", changes, defaults)
    if type(repeats) is not int or not 1 <= repeats <= 1000:
        raise InputError(f"repeats is {repeats!r:.60}; expected a whole number from 1 to 1000: how many seeds")
    if repeats > 1 and any("SEED" in changes for changes in (grid, *runs)):
        raise InputError("SEED stands under grid or runs, and repeats counts seeds as well: keep one of them")

    settings = math.prod(map(len, grid.values())) * bool(grid or not runs) + len(runs)
    if settings * repeats > MOST_RUNS:
        raise InputError(
            f"it has {settings * repeats:,} runs; expected at most {MOST_RUNS:,}: leave values out, or make several"
        )
    base = check_parameters(defaults | base) | {"MODELS_DIR": ""}
    combined = (
        [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())] if grid or not runs else []
    )
    planned, folded = {}, {}
    for changes in combined + runs:
        for repeat in range(repeats):
            seed = {"SEED": changes.get("SEED", base["SEED"]) + repeat} if repeats > 1 else {}
            try:
                parameters = check_parameters(base | changes | seed)
            except InputError as error:
                raise InputError(f"with {', '.join(f'{k}: {v}' for k, v in changes.items()) or 'the base'}: {error}") from None
            setting = _setting(parameters, base)
            run = f"{setting}__seed={parameters['SEED']}"
            if run.casefold() in folded:
                raise InputError(f"{run} is planned twice, as {folded[run.casefold()]}; leave out one")
            folded[run.casefold()] = run  # file systems may not tell them apart
            planned[run] = Planned(setting, parameters)
    all_of_them = [run.parameters for run in planned.values()]
    varied = [name for name in defaults if name != "SEED" and any(p[name] != all_of_them[0][name] for p in all_of_them)]
    return Plan(name, planned, varied)


def _check_names(where, values, defaults):
    if not isinstance(values, dict):
        raise InputError(f"{where} is {values!r:.60}; expected parameters, such as DROPOUT_RATE: 0.3")
    for name in values:
        if name in OF_THE_BATCH:
            raise InputError(f"{where}: {name} is set by the batch, for each run; leave it out")
        if name not in defaults:
            raise InputError(f"{where}: unknown parameter {_meant(name, defaults)}")
        for value in values[name] if isinstance(values[name], list) else [values[name]]:
            if not isinstance(value, str | int | float):
                raise InputError(f"{where}: {name} is {value!s:.60}; expected a number, True or False, or text in quotes")
            str(value).encode()  # which half a sign cannot


def _meant(word, words):
    close = difflib.get_close_matches(str(word), words, 1) or difflib.get_close_matches(str(word).upper(), words, 1)
    return f"{word!r:.40}: " + (f"did you mean {close[0]}?" if close else f"expected {', '.join(words)}")


def _setting(parameters, base):
    """The name of a setting: how it differs from the base, so that it keeps its name where the grid grows. It is a folder's."""
    changed = {name: value for name, value in parameters.items() if name != "SEED" and value != base[name]}
    name = "__".join(f"{key.lower()}={value}" for key, value in changed.items()) or "base"
    plain = re.sub(r"[^\w.=+-]", "-", name, flags=re.ASCII)
    if plain == name and len(name) <= NAME_LETTERS:
        return name
    return f"{plain[:NAME_LETTERS]}-{hashlib.sha256(json.dumps(changed).encode()).hexdigest()[:8]}"
