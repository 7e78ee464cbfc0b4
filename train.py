"""Train a sign recogniser: runs notebooks/2_train.ipynb headlessly through papermill.

python train.py                          the data in processed_vids/wlasl-video, or else the built-in sample
python train.py --data DIR --epochs 30   your own; every parameter of the notebook is an option
python train.py --recipe quick           settings from notebooks/recipes/quick.yaml
python train.py --resume RUN_DIR         goes on with a run after any end of it, from its last whole epoch

Ends with status 0: done, 2: bad input, 130 or 143: interrupted (the best model is kept), 1: anything else.
"""

import argparse
import difflib
import itertools
import signal
import sys

import yaml

from signlib import project, runs
from signlib.errors import InputError
from signlib.parameters import PARAMETERS, check_parameters

RECIPES = project.ROOT / "notebooks" / "recipes"


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        """Ends with status 2 and one message, without the usage of thirty options."""
        self.exit(2, f"train.py: {message}\n")


def main(arguments):
    """Runs the notebook with the parameters that the command line names. Returns the exit status."""
    try:
        parameters = read_arguments(arguments)
        project.models_dir(parameters, project.find_data(parameters)[2])
        from signlib.headless import Log, run_notebook

        end = run_notebook(project.NOTEBOOK, parameters, parameters["RUN_DIR"])
    except InputError as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 2
    if end.status != "finished":
        log = Log(sys.stderr)
        log.write(f"\ntrain.py: {end.status}: {end.reason}\n")
        if end.status != "diverged" and (end.folder / "state.h5").exists():  # which it would do again, bit for bit
            log.write(f"go on with: python train.py --resume {end.folder}\n")
    Log(sys.stdout).write(f"{end.folder}\n")
    return end.exit_status


def read_arguments(arguments):
    """Returns all parameters of the notebook, checked: its defaults, then the recipe's, then those of the command line."""
    cell = project.notebook_parameters()
    parser = _Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--recipe", help="NAME of notebooks/recipes/NAME.yaml, or list")
    for name, (default, why) in cell.items():
        flag, text = option(name), f"{why} [{default!r}]".replace("%", "%%")
        if isinstance(default, bool):
            parser.add_argument(flag, dest=name, action=argparse.BooleanOptionalAction, help=text)
        else:
            parser.add_argument(flag, dest=name, metavar=type(default).__name__.upper(), help=text)
    given, unknown = parser.parse_known_args(arguments)
    if unknown:
        flags = [option(name) for name, (default, _) in cell.items() if isinstance(default, bool)]
        for before, found in itertools.pairwise(arguments):
            if found == unknown[0] and before.replace("--no-", "--") in flags:
                parser.error(f"{before} takes no value, found {found!r}")
        close = difflib.get_close_matches(unknown[0].split("=")[0], ["--recipe", *map(option, cell)], 1)
        hint = f"did you mean {close[0]}?" if close else "see train.py --help"
        parser.error(f"unknown option {unknown[0] or repr('')}: {hint}")
    if given.recipe == "list":
        print("\n".join(f"{name:12} {line}" for name, line in recipes().items()))
        parser.exit()
    values = {name: default for name, (default, _) in cell.items()}
    if given.RESUME:
        _, before = runs.run_to_resume(given.RESUME)
        values |= {name: value for name, value in before["parameters"].items() if name in cell and name != "RUN_DIR"}
    if given.recipe is not None:
        values |= read_recipe(given.recipe)
        try:
            check_parameters(values)
        except InputError as error:
            raise InputError(f"recipe {given.recipe}: {error}") from None
    for name in cell:
        if (text := getattr(given, name)) is not None:
            values[name] = PARAMETERS[name].parse(name, text)
    values = check_parameters(values)
    if (given.DATA is not None or given.LABELS is not None) and not (values["DATA"] or values["LABELS"]):
        raise InputError("--data and --labels need a path")
    return values


def recipes():
    """Returns {name: what it is for} of notebooks/recipes: the first line of each file is a comment that says it."""
    paths = sorted(RECIPES.glob("*.yaml"))
    return {path.stem: path.read_text(encoding="utf-8", errors="replace").partition("\n")[0].lstrip("# ") for path in paths}


def read_recipe(name):
    """Returns the parameters of notebooks/recipes/NAME.yaml, papermill's own format. Raises InputError for another name."""
    if name not in recipes():
        raise InputError(f"no recipe {name!r}; the recipes are {', '.join(recipes())}")
    path = RECIPES / f"{name}.yaml"
    try:
        values = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, UnicodeError) as error:
        raise InputError(f"{path} is not yaml: {str(error).splitlines()[0]}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path} holds {values!r:.40}; expected lines such as EPOCHS: 15")
    return values


def option(name):
    """Returns the option of a parameter: BATCH_SIZE -> --batch-size."""
    return "--" + name.lower().replace("_", "-")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start with it ignored
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:  # before the notebook has started
        sys.exit(130)
