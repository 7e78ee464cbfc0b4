"""The frames of a video file, upright and at a steady rate: `Video`."""

import math
import pathlib

from signlib.errors import InputError

RATE = 25.0  # frames a second, WLASL's own
EXTENSIONS = {".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ts"}


class Video:
    """A video file that is open. `width` and `height` are those of the upright frames, in pixels; `promised` is how many
    seconds it is long by its header, 0 where that does not say. After `frames`: `read`, how many frames were decoded, `rate`,
    how many of them a second there are on average, NaN of one, and `seconds`, where the last one ends.

    each_frame: called after each frame that is decoded; it may raise to stop. Raises InputError, naming the file, where there
    is none, or it cannot be read as a video. Where the pictures of a file change their size midway, as a browser's recording
    can, OpenCV repeats the last one before that to the end.
    """

    def __init__(self, path, each_frame=lambda: None):
        import cv2

        self.path, self.read, self.rate, self.seconds = pathlib.Path(path), 0, math.nan, 0.0
        self._each_frame = each_frame
        try:
            with self.path.open("rb") as file:
                empty = not file.read(1)
        except OSError as error:
            raise InputError(f"cannot read the video {path}: {error.strerror}") from None
        if empty:
            raise InputError(f"{path} is empty; copy or download it again")
        self._capture = cv2.VideoCapture(str(self.path.absolute()), cv2.CAP_FFMPEG)  # "10:30.mp4" would be an address
        self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)  # phones write how they were held, and leave turning to the reader
        if not self._capture.isOpened():
            raise InputError(f"{path} cannot be read as a video: it is damaged, cut short or of a kind that OpenCV cannot read")
        self.width, self.height = (
            int(self._capture.get(which)) for which in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        )
        header_rate, frames = (self._capture.get(which) for which in (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT))
        self._step = 1 / header_rate if 1 <= header_rate <= 240 else 1 / RATE  # seconds; browsers write 1000 frames a second
        self.promised = max(0.0, frames * self._step) if 1 <= header_rate <= 240 else 0.0  # seconds, by its header; 0: unknown

    def frames(self, rate=RATE, start=0.0, end=math.inf):
        """Yields `(seconds, image)`, `rate` times a second from `start` to `end` (in seconds of the file) or where that is
        sooner, to its end: each time the frame that is nearest in time, the very same object where the file has fewer. An image
        is `(height, width, 3)` uint8, RGB. The file's own times count, which need not be evenly spaced.

        Raises InputError where there is no frame between the two.
        """
        import cv2

        before, count, first = None, 0, None  # before: (seconds, image)
        while self._capture.grab():
            self._each_frame()
            seconds = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            first = seconds if first is None else first  # not always 0, as in an .avi whose frames are stored out of order
            seconds -= first
            if self.read and not seconds > self.seconds - self._step:  # a file without times of its own
                seconds = self.seconds
            if seconds >= end and before:
                break
            self.read, self.seconds = self.read + 1, seconds + self._step
            if seconds < start - 1:  # of these none can be the nearest
                continue
            _, image = self._capture.retrieve()
            if image is None:
                continue
            image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
            while before and start + count / rate <= (before[0] + seconds) / 2:
                yield start + count / rate, before[1]
                count += 1
            before = seconds, image
        if self.read > 1:
            self.rate = (self.read - 1) / (self.seconds - self._step)
        if not before or self.seconds <= start:
            raise InputError(f"{self.path}: no frame can be read" + (f" from {start:.2f} s on" if self.read else ""))
        self.height, self.width = before[1].shape[:2]
        for k in range(count, max(1, round((min(end, self.seconds) - start) * rate))):
            yield start + k / rate, before[1]

    def close(self):
        """Closes the file."""
        self._capture.release()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
