import subprocess
import sys

import numpy as np
import pytest

from signlib.errors import InputError
from signlib.project import ROOT
from signlib.video.holistic import Holistic

BLANK = np.zeros((64, 96, 3), np.uint8)

RUN = """
import sys
import time
import numpy as np
from signlib.video.reading import Video
from signlib.video.holistic import Holistic
blank, rows = np.zeros((64, 96, 3), np.uint8), []
Holistic().close()
with Holistic() as holistic, Video(sys.argv[1]) as video:
    time.sleep(0.5)  # what it does in the background
    holistic(blank)
    rows = [holistic(image) for _, image in video.frames(25, 0, 1.2)]
sys.stdout.buffer.write(np.array(rows).tobytes())
"""


def _run(video):
    return subprocess.run([sys.executable, "-W", "error", "-c", RUN, str(video)], cwd=ROOT, capture_output=True, check=True)


@pytest.mark.video
def test_a_process_says_nothing_and_another_finds_the_same_hands_bit_for_bit(real_videos):
    first, second = (_run(real_videos / "69530.mp4") for _ in range(2))
    assert first.stderr == second.stderr == b""
    assert first.stdout == second.stdout
    rows = np.frombuffer(first.stdout, np.float32).reshape(30, 1629)
    assert rows[:, :99].any(axis=1).all() and rows[:, 1503:].any()


@pytest.mark.video
def test_where_nobody_is_everything_is_zeros():
    with Holistic() as holistic:
        row = holistic(BLANK)
    assert row.dtype == np.float32 and row.shape == (1629,) and not row.any()


@pytest.mark.video
def test_a_model_is_refused_where_mediapipe_has_its_own(tmp_path):
    with pytest.raises(InputError, match=r"0\.10\.21 has its models inside: leave .*my\.task out"):
        Holistic(tmp_path / "my.task")


def test_without_mediapipe_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(InputError, match=r"make extract VIDEOS=FOLDER.*pip install -e '\.\[video\]'"):
        Holistic()
