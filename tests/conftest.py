"""What the tests share: plausible keypoint frames and folders of clips in the seed's layout."""

import json
import time

import numpy as np
import pytest

from signlib import project
from signlib.dataset import Clip
from signlib.preprocess import Preprocessor

# Markers whose tests run only where they are asked for, which keeps `make test` short, and why they are skipped elsewhere.
ASKED_FOR = {
    "slow": "takes long: make test-slow",
    "dask": "starts Dask clusters: make test-dask",
    "lab": "opens JupyterLab in a browser: make test-lab",
    "video": "needs MediaPipe: make test-video",
}


def pytest_collection_modifyitems(config, items):
    """Skips what was not asked for."""
    for item in items:
        for marker, reason in ASKED_FOR.items():
            if item.get_closest_marker(marker) and marker not in config.getoption("markexpr"):
                item.add_marker(pytest.mark.skip(reason=reason))


GLOSSES = {"00123": "book", "00456": "book", "05237": "drink", "60001": "drink", "60002": "drink"}


def _make_frames(length=12, seed=0):
    """`(T, 1629)` float64: a body that walks at random, all landmarks found, shoulders about 0.2 apart, the hands' wrists
    at the pose's."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(0.3, 0.7, (1, 543, 3)) + np.cumsum(rng.normal(0, 0.005, (length, 543, 3)), axis=0)
    points[:, 11, :2] += [0.6, 0.5] - points[:1, 11, :2]
    points[:, 12, :2] += [0.4, 0.5] - points[:1, 12, :2]
    points[:, 501], points[:, 522] = points[:, 15], points[:, 16]
    return points.reshape(length, 1629)


def _lay_out(frames, layout):
    """The frames `(T, 1629)` written in another layout, visibility drawn at random."""
    points = frames.reshape(len(frames), 543, 3)
    pose, face, left, right = np.split(points, [33, 501, 522], axis=1)
    visibility = np.random.default_rng(len(frames)).random((len(frames), 33, 1)).astype(frames.dtype)
    visible = np.concatenate([pose, visibility], axis=2)
    blocks = {
        "1629": [pose, face, left, right],
        "1662": [visible, face, left, right],
        "258": [visible, left, right],
        "225": [pose, left, right],
        "126": [left, right],
        "543": [face, left, pose, right],
    }[layout]
    if layout == "543":
        return np.concatenate(blocks, axis=1)
    return np.concatenate([block.reshape(len(frames), -1) for block in blocks], axis=1)


def _write_labels(path, glosses, splits=None):
    """Writes a WLASL json of `{video_id: gloss}` and, where given, `{video_id: split}`."""
    table = {}
    for video_id, gloss in glosses.items():
        instance = {"video_id": video_id, "signer_id": 7, "split": (splits or {}).get(video_id, "train")}
        table.setdefault(gloss, []).append(instance)
    path.write_text(json.dumps([{"gloss": gloss, "instances": instances} for gloss, instances in table.items()]))
    return path


def _write_clips(folder, glosses, splits=None, length=6):
    """Writes a float32 file for each of `{video_id: gloss}`, and the labels, into `folder`; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, video_id in enumerate(sorted(glosses)):
        np.save(folder / f"{video_id}.npy", _make_frames(length + seed % 5, seed).astype(np.float32))
    _write_labels(folder / "WLASL_v0.3.json", glosses, splits)
    return folder


def _write_tree(folder, contents):
    """Writes `{path in the folder: array or bytes}`, with the folders that it takes; returns the folder."""
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            np.save(path, content)
    return folder


@pytest.fixture(scope="session")
def make_frames():
    """The function `make_frames(length=12, seed=0)`."""
    return _make_frames


@pytest.fixture(scope="session")
def lay_out():
    """The function `lay_out(frames of layout 1629, layout)`."""
    return _lay_out


@pytest.fixture(scope="session")
def make_clip():
    """The function `make_clip(video_id, gloss, split="train", signer=-1)`: a Clip without a file."""

    def make(video_id, gloss, split="train", signer=-1):
        return Clip(video_id, None, gloss, signer, split, "1629")

    return make


@pytest.fixture(scope="session")
def ids():
    """The function `ids(clips)`: their video ids, in their order."""
    return lambda clips: [clip.video_id for clip in clips]


@pytest.fixture
def glosses():
    """`{video_id: gloss}` of the clips in `folder`."""
    return dict(GLOSSES)


@pytest.fixture
def folder(tmp_path):
    """A folder `clips` of five good clips of two glosses, with their labels."""
    return _write_clips(tmp_path / "clips", GLOSSES)


@pytest.fixture(scope="session")
def write_labels():
    """The function `write_labels(path, {video_id: gloss}, {video_id: split})`."""
    return _write_labels


@pytest.fixture(scope="session")
def write_clips():
    """The function `write_clips(folder, {video_id: gloss}, {video_id: split}, length=6)`."""
    return _write_clips


@pytest.fixture(scope="session")
def write_tree():
    """The function `write_tree(folder, {path in the folder: array or bytes})`."""
    return _write_tree


@pytest.fixture(scope="session")
def damaged_points(make_frames):
    """The function `damaged_points(length=12, seed=0, landmarks="default")`: points with a fifth of them missing."""

    def damaged(length=12, seed=0, landmarks="default"):
        points = Preprocessor(landmarks=landmarks).points(make_frames(length, seed), "1629")
        points[np.random.default_rng(seed).random(points.shape[:2]) < 0.2] = np.nan
        return points

    return damaged


def _flip(path, bit):
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


@pytest.fixture(scope="session")
def flip():
    """The function `flip(path, bit)`: changes one bit of a file."""
    return _flip


@pytest.fixture(scope="session")
def until():
    """The function `until(condition)`: returns once `condition()` holds; raises TimeoutError after a minute."""

    def until(condition):
        for _ in range(600):
            if condition():
                return
            time.sleep(0.1)
        raise TimeoutError

    return until


@pytest.fixture
def given():
    """The training notebook's parameters with their defaults."""
    return {name: default for name, (default, _) in project.notebook_parameters().items()}


@pytest.fixture
def notebook(tmp_path):
    """The function `notebook(code)`: the path of a notebook with that cell after its parameters RUN_DIR, RESUME and SEED."""

    import nbformat

    def notebook(code):
        cells = [nbformat.v4.new_code_cell('RUN_DIR = ""\nRESUME = ""\nSEED = 0', metadata={"tags": ["parameters"]})]
        written = nbformat.v4.new_notebook(cells=[*cells, nbformat.v4.new_code_cell(code)])
        written.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(written, tmp_path / "a.ipynb")
        return tmp_path / "a.ipynb"

    return notebook


@pytest.fixture
def shown():
    """The function `shown(first cell, cells, watched=False)`: runs the cells in one kernel and returns, for the moment after
    each of them, the outputs of the first as [{kind: content}, ...], of what it printed {"stdout": text}; watched: as if by
    hand in JupyterLab."""

    import nbclient
    import nbformat

    def run(*cells, watched=False):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        client = nbclient.NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": str(project.ROOT)}})
        moments = []
        with client.setup_kernel():
            client.kc.allow_stdin = watched
            for index, cell in enumerate(notebook.cells):
                client.execute_cell(cell, index)
                moments.append([dict(o.get("data") or {o.name: o.text}) for o in notebook.cells[0].outputs])
        return moments

    return run
