"""From videos to a recognised sign, as the README has it: extraction, its notebook, training, export, live."""

import itertools
import json
import subprocess
import sys

import nbformat
import numpy as np
import pytest

pytest.importorskip("cv2", reason="needs OpenCV: make test-video")

from benchmarks import signs as benchmark
from signlib.project import ROOT
from tests.video.drawn_signer import write_drawn
from tests.video.test_extract import command

pytestmark = pytest.mark.video
TRAINING = ROOT / ".venv" / "bin" / "python"  # the environment that has TensorFlow


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model of the built-in sample, exported."""
    if not TRAINING.exists():
        pytest.skip("needs the environment of make train")
    folder = tmp_path_factory.mktemp("model")
    train = [TRAINING, "train.py", "--sample", "--epochs", "25", "--run-dir", folder / "run", "--models-dir", ""]
    export = [TRAINING, "-m", "signlib.export", folder / "run" / "model.h5", folder / "model.onnx"]
    for step in (train, export):
        subprocess.run(list(map(str, step)), cwd=ROOT, check=True, capture_output=True, timeout=300)
    return folder / "model.onnx"


def live(model, video, *options):
    """(what `live` says of each sign, its last line on stderr)."""
    live = [*command()[:-1], "live", model, "--video", video, "--headless", "--json", *options]
    done = subprocess.run(list(map(str, live)), cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr.splitlines()[-1]


@pytest.mark.parametrize(("video_id", "begin", "end"), [("69529", 0.3, 1.7), ("69530", 0.8, 2.7), ("69531", 0.2, 1.4)])
def test_the_sign_in_a_real_video_is_found(model, real_videos, video_id, begin, end):
    """Where it was seen to begin and to end. What it means the sample's model cannot know."""
    (sign,), said = live(model, real_videos / f"{video_id}.mp4")
    assert sign["begin"] == pytest.approx(begin, abs=0.3) and sign["end"] == pytest.approx(end, abs=0.3)
    assert sign["delay"] == pytest.approx(sign["detected"] - sign["end"], abs=2e-3) and 0 <= sign["delay"] < 0.5
    assert said.startswith("1 signs") and " 0 dropped" in said


def test_signs_that_follow_each_other_are_told_with_their_glosses(model, tmp_path):
    """Of the sample's, filmed: most are taken for what they are, and whether it is sure follows from the threshold alone."""
    clips = next(iter(benchmark.streams(0)))[:4]
    frames, truths = benchmark.join([clip[:2] for clip in clips], np.random.default_rng(0))
    video = write_drawn(tmp_path / "stream.mp4", frames)
    told, _ = live(model, video, "--threshold", "0.7")
    right = 0
    for (begin, _, end), (_, _, gloss) in zip(truths, clips, strict=True):
        own = [sign for sign in told if begin / 25 < (sign["begin"] + sign["end"]) / 2 < end / 25]
        right += bool(own) and gloss in [row["gloss"] for row in own[0]["top"]]
    assert right >= 3 and len(told) <= 6
    assert all(a["end"] <= b["begin"] for a, b in itertools.pairwise(told))
    for sign in told:
        best = sign["top"][0]
        assert sign["gloss"] == (best["gloss"] if best["probability"] >= 0.7 else None)


def test_the_notebook_extracts_draws_and_audits(tmp_path):
    """On four signs of the sample, filmed and sorted into folders by their glosses, as somebody without a json has them."""
    for frames, _, gloss in next(iter(benchmark.streams(0)))[:4]:
        path = tmp_path / "videos" / gloss / f"{len(list((tmp_path / 'videos').rglob('*.mp4')))}.mp4"
        write_drawn(path, frames[:20])
    out = tmp_path / "out.ipynb"
    places = ["-r", "VIDEOS", tmp_path / "videos", "-r", "OUT", tmp_path / "keypoints"]
    papermill = [sys.executable, "-m", "papermill", "--no-progress-bar", ROOT / "notebooks" / "0_extract.ipynb", out, *places]
    done = subprocess.run(list(map(str, papermill)), cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    cells = [cell for cell in nbformat.read(out, 4).cells if cell.cell_type == "code"]
    text = "".join(output.get("text", "") for cell in cells for output in cell.outputs)
    kinds = [kind for cell in cells for output in cell.outputs for kind in output.get("data", {})]
    assert "4 of 4 videos are in" in text and kinds.count("image/png") == 2 and "text/html" in kinds
    assert "clips: " in text and len(list((tmp_path / "keypoints").rglob("*.npy"))) == 4
