"""What the parameters of a notebook name in the project: the data, the folder to publish in, paths."""

import ast
import hashlib
import json
import pathlib
import subprocess
import tempfile

from signlib.errors import InputError
from signlib.files import is_folder
from signlib.labels import FORMS
from signlib.locks import lock_owner

ROOT = pathlib.Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "notebooks" / "2_train.ipynb"
DEFAULT_DATA = "processed_vids/wlasl-video/processed_keypoints_fixed"
SAMPLE = "processed_vids/sample"
MODEL_NAME = "lstm_model.h5"  # what a run publishes at its end
CHECKPOINT_NAME = "lstm_model_checkpoint.h5"  # and with each new best model


def notebook_parameters(notebook=NOTEBOOK):
    """Returns {name: (default, why)} of a notebook's cell tagged `parameters`: literals, each with its comment."""
    cells = json.loads(pathlib.Path(notebook).read_text(encoding="utf-8"))["cells"]
    source = next("".join(c["source"]) for c in cells if "parameters" in c["metadata"].get("tags", []))
    lines, found = source.splitlines(), {}
    for node in ast.parse(source).body:
        comment = lines[node.end_lineno - 1].encode()[node.end_col_offset :].decode()
        found[node.targets[0].id] = ast.literal_eval(node.value), comment.strip().lstrip("# ")
    return found


def project_path(path):
    """Returns an absolute path; a relative one is meant from the project's root, wherever the kernel was started."""
    try:
        return ROOT / pathlib.Path(path).expanduser()
    except RuntimeError as error:  # ~ of an unknown user
        raise InputError(f"{path}: {error}") from None


def find_data(parameters):
    """Returns (data folder, labels file or None, is it the sample). The sample is used when asked for, or when nothing is
    named and the default folder does not exist. Raises InputError when a folder or file that was named is missing."""
    sample = project_path(SAMPLE) / "processed_keypoints_fixed", None, True
    if parameters["SAMPLE"]:
        return sample
    labels = project_path(parameters["LABELS"]) if parameters["LABELS"] else None
    if labels is not None and not labels.is_file():
        raise InputError(f"LABELS: no file {labels}; expected a json such as WLASL_v0.3.json")
    data = project_path(parameters["DATA"] or DEFAULT_DATA)
    if not is_folder(data):
        if parameters["DATA"] or labels is not None:
            raise InputError(f"DATA: no folder {data}; {FORMS}")
        return sample
    return data, labels, False


def audit_folder(clips):
    """Returns where `1_audit.ipynb` leaves its report on exactly these `Clips`, and training looks for it."""
    return project_path("runs/audits") / f"{clips.fingerprint[:16]}-{clips.stamp[:8]}"


def models_dir(parameters, sample):
    """Returns the folder to publish in, made: MODELS_DIR, or `sample` in it for a model of the sample; None where MODELS_DIR is
    empty. Raises InputError where it cannot be written, or another run is publishing, before anything is learnt that would be
    published there."""
    if not parameters["MODELS_DIR"]:
        return None
    folder = project_path(parameters["MODELS_DIR"]) / ("sample" if sample else "")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise InputError(f"MODELS_DIR: cannot write in {folder}: {error.strerror}; name another folder") from None
    if is_folder(folder / MODEL_NAME):
        raise InputError(f"MODELS_DIR: {folder / MODEL_NAME} is a folder; move it away, the model takes that name")
    if owner := lock_owner(folder / MODEL_NAME):
        raise InputError(f"MODELS_DIR: another run publishes in {folder} ({owner}): wait for it, or name another folder")
    return folder


def open_data(parameters):
    """Returns what `find_data` does; makes the sample where that is what it found, and says so unmistakably."""
    data, labels, sample = find_data(parameters)
    if sample:
        from signlib.sample import make_sample

        why = "as asked" if parameters["SAMPLE"] else f"because {DEFAULT_DATA} does not exist"
        bar = "█" * 80
        print(f"{bar}\n█  THE BUILT-IN SAMPLE, {why}.\n█  Synthetic signs: nothing learnt here recognises")
        print(f"█  a real one. Set DATA to your own folder of keypoints.\n{bar}", flush=True)
        make_sample(project_path(SAMPLE))
    return data, labels, sample


def header(title):
    """Prints the header of a phase of the log."""
    print(f"\n── {title} {'─' * max(3, 76 - len(title))}", flush=True)


def code_digest(notebook=NOTEBOOK):
    """Returns the sha256 of the code that a run follows from: the sources of signlib, and the notebook's cells of code but for
    the parameters."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "signlib").glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    for cell in json.loads(pathlib.Path(notebook).read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code" and "parameters" not in cell["metadata"].get("tags", []):
            digest.update("".join(cell["source"]).encode() + b"\0")
    return digest.hexdigest()


def git_revision():
    """Returns the commit of the project, with + where files differ from it; empty where there is no git."""
    try:
        command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
