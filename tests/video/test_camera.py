"""The camera gives the newest frame and drops those that came meanwhile; a file stands in for it."""

import threading

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2", reason="needs OpenCV: make test-video")

from signlib.errors import InputError  # noqa: E402
from signlib.video import camera  # noqa: E402
from signlib.video.camera import Camera  # noqa: E402

pytestmark = pytest.mark.video
FRAMES = 40


@pytest.fixture
def film(tmp_path):
    """A file of frames that are red for a start, and blue from the middle on."""
    path = str(tmp_path / "film.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"MJPG"), 25, (64, 48))
    for number in range(FRAMES):
        writer.write(np.full((48, 64, 3), (0, 0, 250) if number < FRAMES / 2 else (250, 0, 0), np.uint8))
    writer.release()
    return path


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(camera, "PATIENCE", 0.3)


def test_who_is_slow_sees_the_newest_frame_and_how_many_were_dropped(film, impatient, until):
    with Camera(film) as opened:
        until(lambda: opened.dropped == FRAMES - 1)  # nobody asked for one so far
        frames = iter(opened)
        seconds, image = next(frames)
        assert image.shape == (48, 64, 3) and seconds >= 0
        np.testing.assert_allclose(image.mean(axis=(0, 1)), [0, 0, 250], atol=12)  # RGB
        with pytest.raises(InputError, match=r"camera .*film\.avi gives no more frames"):
            next(frames)
        assert opened.dropped == FRAMES - 1


def test_every_frame_is_either_given_or_dropped_and_time_goes_forward(film, impatient):
    with Camera(film) as opened:
        times = []
        with pytest.raises(InputError, match="no more frames"):
            for seconds, _ in opened:
                times.append(seconds)
        assert len(times) + opened.dropped == FRAMES and times == sorted(set(times))


def test_a_camera_that_is_not_there_is_named():
    with pytest.raises(InputError, match=r"camera 98 cannot be opened: name another with --camera"):
        Camera(98)


def test_it_ends_with_its_block(film):
    with Camera(film):
        assert threading.active_count() > 1
    assert not any(thread.daemon and thread.is_alive() for thread in threading.enumerate())
