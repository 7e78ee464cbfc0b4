"""Live recognition: each sign is told once, as soon as its end is seen, with times that add up; frames in, glosses out."""

import json

import numpy as np
import pytest

pytest.importorskip("cv2", reason="needs OpenCV: make test-video")

from benchmarks import signs as benchmark
from signlib.video import live

pytestmark = pytest.mark.video
IMAGE = np.zeros((48, 64, 3), np.uint8)  # 4 to 3, as the sample's


def told(frames):
    """What stands for a model: sure of signs of an even number of frames."""
    return [("a", 0.9), ("b", 0.1)], len(frames) % 2 == 0


@pytest.fixture(scope="module")
def stream():
    """(rows, truths) of six clips of one signer of the sample."""
    clips = next(iter(benchmark.streams(0)))[:6]
    return benchmark.join([clip[:2] for clip in clips], np.random.default_rng(0))


def run(rows, fps=25, show=None):
    """The recognitions of rows, and how many frames had been read at each."""
    read, found = [], []

    def frames():
        for number in range(len(rows)):
            read.append(number)
            yield number / fps, IMAGE

    for recognition in live.recognitions(frames(), lambda image: rows[read[-1]], told, 25.0, show):
        found.append((recognition, read[-1]))
    return found


def test_each_sign_is_told_once_and_as_soon_as_its_end_is_seen(stream):
    rows, truths = stream
    found = run(rows)
    assert [r.sign.begin for r, _ in found] == [sign.begin for sign in benchmark.find(rows)]
    for recognition, at in found:
        assert at / 25 == recognition.sign.detected or at == len(rows) - 1
    assert len(found) >= len(truths)


def test_a_sign_under_way_at_the_end_is_told(stream):
    rows, ((begin, _, end), *_) = stream
    ((recognition, at),) = run(rows[: (begin + end) // 2])
    assert recognition.sign.detected == at / 25 and recognition.sign.begin == pytest.approx(begin / 25, abs=0.2)


def test_json_has_times_that_add_up_and_no_gloss_where_it_is_not_sure(stream):
    seen = set()
    for recognition, _ in run(stream[0]):
        row = json.loads(json.dumps(recognition.describe()))
        assert row["begin"] < row["end"] <= row["detected"] and row["latency_ms"] >= 0
        assert row["delay"] == pytest.approx(row["detected"] - row["end"], abs=2e-3)
        assert row["gloss"] == ("a" if recognition.sure else None)
        assert row["top"] == [{"gloss": "a", "probability": 0.9}, {"gloss": "b", "probability": 0.1}]
        assert ("not sure" in str(recognition)) == (not recognition.sure)
        seen.add(recognition.sure)
    assert seen == {True, False}


def test_each_frame_is_shown_with_the_last_recognition(stream):
    shown = []
    found = run(stream[0], show=lambda image, row, last, signing: shown.append((last, signing)))
    assert len(shown) == len(stream[0])
    for recognition, at in found:
        assert shown[at][0] is recognition or at == len(stream[0]) - 1
    assert {signing for _, signing in shown} == {True, False} and shown[0] == (None, False)


def test_frames_of_a_camera_become_those_of_the_fps_that_the_model_learnt_from():
    for fps in (7, 12.5, 25, 29.97, 60):
        times = 3 + np.arange(int(2 * fps)) / fps
        even = 3 + np.arange(1 + int((times[-1] - 3) * 25 + 1e-6)) / 25
        found = live.at_rate(times[:, None], times, 25.0)[:, 0]
        assert len(found) == len(even) and np.abs(found - even).max() <= 0.5 / fps + 1e-9
    np.testing.assert_array_equal(live.at_rate(times, times, 60), times)  # as they are, where that is their rate
    assert live.at_rate(np.ones((1, 4)), np.array([2.0]), 25.0).shape == (1, 4)


@pytest.mark.parametrize("fault", [["--fps", "0"], ["--fps", "nan"], ["--threshold", "2"], ["--camera", "0", "--video", "x"]])
def test_options_out_of_range_are_refused(fault, capsys):
    with pytest.raises(SystemExit) as ended:
        live.main(["m.onnx", *fault])
    assert ended.value.code == 2 and fault[-2] in capsys.readouterr().err
