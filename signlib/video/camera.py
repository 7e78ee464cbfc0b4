"""A camera whose late frames are dropped: `Camera`. OpenCV."""

import threading
import time

import cv2

from signlib.errors import InputError

PATIENCE = 3.0  # seconds without a frame, after which a camera has stopped; some need two for the first
PAUSE = 0.02  # seconds until a camera that gave none is asked again


class Camera:
    """The newest frame of a camera, whenever one is asked for: `with Camera(0) as camera: for seconds, image in camera`.

    seconds: since the camera was opened, when the frame came; image: `(H, W, 3)` uint8 RGB. `.dropped` counts the frames that
    came while an older one was still worked on, and were replaced by a newer one. source: what cv2.VideoCapture takes. Raises
    InputError, naming the camera, where it cannot be opened, or gives no frame for PATIENCE seconds.
    """

    def __init__(self, source):
        self.dropped, self._source, self._newest, self._closing = 0, source, None, False
        cv2.setLogLevel(0)  # what is wrong the InputError says
        self._capture = cv2.VideoCapture(source)
        if not self._capture.isOpened():
            raise InputError(f"camera {source} cannot be opened: name another with --camera, or end what uses it")
        self._change, self._start = threading.Condition(), time.monotonic()
        self._reader = threading.Thread(target=self._read, daemon=True)  # a camera that hangs keeps no program from its end
        self._reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._closing = True
        self._reader.join(PATIENCE)
        if not self._reader.is_alive():  # else it is within OpenCV, and so is the camera
            self._capture.release()

    def __iter__(self):
        while True:
            with self._change:
                if not self._change.wait_for(lambda: self._newest is not None, PATIENCE):
                    raise InputError(f"camera {self._source} gives no more frames: is it still connected?")
                (seconds, image), self._newest = self._newest, None
            yield seconds, cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    def _read(self):
        while not self._closing:
            there, image = self._capture.read()
            if not there:
                time.sleep(PAUSE)
                continue
            with self._change:
                self.dropped += self._newest is not None
                self._newest = time.monotonic() - self._start, image
                self._change.notify()
