"""Frames of video files: times, turning, what cannot be read."""

import struct

import numpy as np
import pytest

from signlib.errors import InputError
from signlib.video.reading import Video
from tests.video.conftest import STEP

pytestmark = pytest.mark.video


def numbers(path, *arguments):
    """Which frames `Video.frames` yields, by their grey, and when."""
    with Video(path) as video:
        found = [(seconds, (image[len(image) // 2 + 8 :].mean() - 10) / STEP) for seconds, image in video.frames(*arguments)]
    seconds, read = np.array(found).T
    assert np.abs(read - read.round()).max() < 0.45
    return seconds, read.round().astype(int).tolist()


def nearest(times, wanted):
    return [int(np.abs(np.array(times) - t).argmin()) for t in wanted]


TIMES = {
    "25 a second": np.arange(20) / 25,
    "30 a second": np.arange(30) / 30,
    "60 a second": np.arange(38) / 60,
    "10 a second": np.arange(10) / 10,
    "uneven": np.cumsum([0, *np.random.default_rng(0).uniform(0.012, 0.19, 24)]).round(3),
}


@pytest.mark.parametrize("kind", ["mp4", "mkv"])
@pytest.mark.parametrize("name", TIMES)
def test_the_frame_nearest_in_time_is_taken(tmp_path, write_video, name, kind):
    times = TIMES[name]
    path = write_video(tmp_path / f"v.{kind}", times)
    seconds, read = numbers(path)
    assert np.allclose(seconds, np.arange(len(seconds)) / 25)
    times = np.floor(times * 1000) / 1000  # as the file holds them
    clear = np.abs(np.subtract.outer(seconds, (times[1:] + times[:-1]) / 2)).min(axis=1) > 0.002  # else two are as near
    assert np.array(read)[clear].tolist() == np.array(nearest(times, seconds))[clear].tolist() and clear.mean() > 0.5
    assert abs(len(read) / 25 - times[-1]) < 0.2
    if name == "25 a second":
        assert read == list(range(20))


@pytest.mark.parametrize("kind", ["mp4", "mkv", "avi"])
def test_compressed_with_frames_out_of_order(tmp_path, write_video, kind):
    path = write_video(tmp_path / f"v.{kind}", np.arange(30) / 25, codec="libx264", rate=25)
    assert numbers(path)[1] == list(range(30))


@pytest.mark.parametrize(("rate", "expected"), [(25, list(range(20))), (12.5, list(range(0, 20, 2))), (75, None)])
def test_another_rate(tmp_path, write_video, rate, expected):
    seconds, read = numbers(write_video(tmp_path / "v.mp4", np.arange(20) / 25), rate)
    assert read == (expected or nearest(np.arange(20) / 25, seconds)) and len(read) == 20 * rate / 25


def test_a_frame_that_stands_for_two_is_one_object(tmp_path, write_video):
    """So that nobody looks for landmarks in it twice."""
    with Video(write_video(tmp_path / "v.mp4", np.arange(10) / 10)) as video:
        images = [image for _, image in video.frames()]
    assert len(images) == 25 and len({id(image) for image in images}) == 10


def test_a_part_of_it(tmp_path, write_video):
    path = write_video(tmp_path / "v.mp4", np.arange(40) / 25)
    seconds, read = numbers(path, 25, 10 / 25, 20 / 25)
    assert read == list(range(10, 20)) and np.allclose(seconds, np.arange(10, 20) / 25)
    assert numbers(path, 25, 30 / 25)[1] == list(range(30, 40))
    assert numbers(path, 25, 0, 100)[1] == list(range(40))
    with Video(path) as video, pytest.raises(InputError, match=r"v\.mp4: no frame can be read from 2\.00 s on"):
        list(video.frames(25, 2))


def turn(path, matrix):
    """Writes how a phone was held into an .mp4: the matrix of its track."""
    data = bytearray(path.read_bytes())
    at = data.find(b"tkhd") + 44
    assert struct.unpack(">9i", data[at : at + 36]) == (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    data[at : at + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("degrees", "matrix"),
    [
        (90, (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)),
        (180, (-65536, 0, 0, 0, -65536, 0, 0, 0, 1 << 30)),
        (270, (0, -65536, 0, 65536, 0, 0, 0, 0, 1 << 30)),
    ],
)
def test_a_phone_held_upright(tmp_path, write_video, degrees, matrix):
    path = write_video(tmp_path / "v.mp4", np.arange(5) / 25)
    with Video(path) as video:
        flat = next(video.frames())[1].astype(int)
    turn(path, matrix)
    with Video(path) as video:
        assert (video.height, video.width) == ((96, 64) if degrees != 180 else (64, 96))
        turned = next(video.frames())[1].astype(int)
    assert np.abs(turned - np.rot90(flat, -degrees // 90)).max() < 3


@pytest.mark.parametrize("content", ["none", "empty", "text", "half an mp4"])
def test_what_is_no_video_is_named(tmp_path, write_video, content):
    path = tmp_path / "v.mp4"
    if content == "half an mp4":
        write_video(path, np.arange(30) / 25)
        path.write_bytes(path.read_bytes()[:-1500])
    elif content != "none":
        path.write_text("" if content == "empty" else "hello" * 100)
    expected = {"none": "cannot read the video .*No such file", "empty": "is empty"}.get(content, "cannot be read as a video")
    with pytest.raises(InputError, match=expected) as raised:
        Video(path)
    assert str(path) in str(raised.value)


def test_what_was_read_is_known(tmp_path, write_video):
    path = write_video(tmp_path / "v.mkv", np.arange(30) / 30)
    with Video(path) as video:
        list(video.frames())
        assert video.rate == pytest.approx(30, rel=0.01) and video.seconds == pytest.approx(1, abs=0.01) and video.read == 30
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with Video(path) as video:
        assert 0 < len(list(video.frames())) < 25 and video.seconds < 0.8 * video.promised
