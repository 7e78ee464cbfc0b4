"""What the project's files say of each other is true."""

import ast
import re
import subprocess
import sys
import tomllib

import yaml

from signlib import project

ROOT = project.ROOT
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def requirement(line):
    """(name, bounds, marker without the Python version) of a requirement."""
    wanted, _, marker = line.partition(";")
    name = re.match(r"[\w-]+", wanted)[0]
    marker = re.sub(r" and python_version < '3.13'", "", marker.strip())
    return name, wanted[len(name) :].strip(), marker


def test_environment_yml_and_pyproject_agree():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(d["pip"] for d in environment if isinstance(d, dict))
    assert "python=3.11" in environment and "-e .[train]" in pip
    declared = {requirement(line) for line in PROJECT["dependencies"] + EXTRAS["train"]}
    listed = {requirement(line) for line in pip if not line.startswith("-e")}
    assert listed <= declared
    assert {name for name, _, _ in listed} >= {
        "tensorflow-macos",
        "tensorflow",
        "numpy",
        "matplotlib",
        "papermill",
        "jupyterlab",
    }
    missing = {r for r in declared - listed if r[0].startswith("tensorflow")}
    assert all("3.13" in marker for _, _, marker in missing)  # Python 3.13, which environment.yml does not use


TRAINING = ("train", "export", "test", "dask", "browser")
STACKS = {
    "current": (TRAINING, {"tensorflow": "2.21.0", "keras": "3.15"}),
    "macos-stack": (TRAINING, {"tensorflow": "2.16.2", "keras": "3.15", "numpy": "1.26"}),
    "video": (("video", "test", "video-test"), {"mediapipe": "0.10.21", "numpy": "1.26"}),
}


def test_pinned_requirements_keep_the_bounds_and_name_no_registry():
    for stack, (names, exact) in STACKS.items():
        text = (ROOT / "requirements" / f"{stack}.txt").read_text()
        assert "://" not in text and "--" not in text
        pins = dict(line.lower().split("==") for line in text.splitlines() if not line.startswith("#"))
        assert all(pins[name].startswith(version) for name, version in exact.items())
        extras = [line for name in names for line in EXTRAS[name] if "==" not in line]
        for line in PROJECT["dependencies"] + extras:
            name, bounds, marker = requirement(line)
            if marker:
                continue
            version = tuple(map(int, pins[name].split(".")))
            low, high = (tuple(map(int, part[2:].split("."))) if ">=" in part else tuple(map(int, part[1:].split(".")))
                         for part in bounds.split(","))  # fmt: skip
            assert low <= version < high, (stack, name)


def chapter(title):
    """The text below a heading of the architecture page."""
    return (ROOT / "ARCHITECTURE.md").read_text().partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_the_architecture_page_lists_the_files_that_there_are():
    for package in ("signlib", "signlib/video"):
        listed = set(re.findall(r"^\| `(\w+\.py)` \|", chapter(package), re.MULTILINE))
        assert listed == {path.name for path in (ROOT / package).glob("[!_]*.py")}
    page = (ROOT / "ARCHITECTURE.md").read_text().partition("## signlib/video")[2]
    page = chapter("signlib") + page.partition("## The rest")[2]
    for name in re.findall(r"^\| `([\w/]+(?:\.\w+)?/?)` \|", page, re.MULTILINE):
        assert (ROOT / name).exists() or (ROOT / "signlib" / name).exists() or name == "runs/"


def test_a_module_imports_only_from_those_above_it_in_the_table():
    for package in ("signlib", "signlib/video"):
        order = re.findall(r"^\| `(\w+)\.py` \|", chapter(package), re.MULTILINE)
        prefix = re.escape(package.replace("/", "."))
        for number, name in enumerate(order):
            imported = set(re.findall(rf"from {prefix}\.(\w+) import", (ROOT / package / f"{name}.py").read_text()))
            assert imported <= set(order[:number]), name


def test_the_readme_lists_every_parameter_with_its_default():
    page = (ROOT / "README.md").read_text()
    rows = dict(re.findall(r"^\| `([A-Z0-9_]+)` \| `([^`]*)` \|", page, re.MULTILINE))
    assert rows == {name: repr(default) for name, (default, _) in project.notebook_parameters().items()}


def test_the_architecture_page_says_where_tensorflow_is_imported():
    page = chapter("signlib")
    rows = re.findall(r"^\| `(\w+)\.py` \| .* \|( yes)? \|$", page, re.MULTILINE)
    free = [f"signlib.{name}" for name, yes in rows if not yes]
    code = f"import sys, papermill, {', '.join(free)}; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False", done.stderr
    for name in {name for name, yes in rows if yes} - {"device"}:
        imported = re.findall(r"from signlib\.(\w+) import", (ROOT / "signlib" / f"{name}.py").read_text())
        assert set(imported) & {name for name, yes in rows if yes}, name


def code_lines(path):
    """Lines that are neither blank, nor a comment alone, nor in a docstring."""
    tree, text = ast.parse(path.read_text()), path.read_text().splitlines()
    documented = (node for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef))
    docs = [node.body[0] for node in documented if ast.get_docstring(node) is not None]
    inside = {number for doc in docs for number in range(doc.lineno, doc.end_lineno + 1)}
    return sum(bool(line.partition("#")[0].strip()) and n not in inside for n, line in enumerate(text, 1))


def test_signlib_stays_small_and_its_files_too():
    files, video = list((ROOT / "signlib").glob("*.py")), list((ROOT / "signlib" / "video").glob("*.py"))
    assert sum(map(code_lines, files)) < 6600 and sum(map(code_lines, video)) < 1200
    assert max(len(path.read_text().splitlines()) for path in files + video) <= 300
