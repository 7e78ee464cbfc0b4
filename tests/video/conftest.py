"""Small videos of every kind, written with PyAV."""

import fractions
import pathlib

import numpy as np
import pytest

from signlib.project import ROOT

REAL = ROOT.parent / "shared" / "data" / "videos"
STEP = 6  # of grey between two frames, more than compressing changes


def _picture(number, width=96, height=64):
    """`(height, width, 3)`: its grey says which frame it is; the upper half is the negative."""
    grey = 10 + STEP * number % 240
    image = np.full((height, width, 3), grey, np.uint8)
    image[: height // 2] = 255 - grey
    return image


def _write_video(path, times, codec="mpeg4", picture=_picture, rate=30):
    """Writes frames that are shown at `times` (seconds); returns the path."""
    import av

    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.bit_rate = 4_000_000  # else a frame is as grey as the one before it
        first = picture(0)
        stream.height, stream.width, stream.pix_fmt = *first.shape[:2], "yuv420p"
        stream.time_base = stream.codec_context.time_base = fractions.Fraction(1, 1000)
        for number, seconds in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(number), "rgb24")
            frame.pts, frame.time_base = round(seconds * 1000), fractions.Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return pathlib.Path(path)


@pytest.fixture
def write_video():
    return _write_video


@pytest.fixture(scope="session")
def real_videos():
    """The folder of three WLASL videos and their json, which are not ours to ship."""
    if not REAL.is_dir():
        pytest.skip("needs the real videos beside the project, which it may not ship")
    return REAL
