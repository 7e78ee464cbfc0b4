"""MediaPipe Holistic, from a frame to its keypoints: `Holistic`."""

import contextlib
import itertools
import pathlib
import re

import numpy as np

from signlib.errors import InputError
from signlib.files import sha256
from signlib.landmarks import LAYOUTS
from signlib.stderr import without_noise
from signlib.video import LAYOUT

MODEL = "holistic_landmarker.task"
WHERE = "the page of the Holistic Landmarker on MediaPipe's site"
PINNED = "0.10.21"  # the last release with `mp.solutions`, whose models are inside; it opens no connection
LANDMARKER_HELP = f"a {MODEL}, where MediaPipe has no models inside, which is newer than {PINNED}"
# How lines begin that are no errors, of absl and of TensorFlow Lite. GLOG_minloglevel, TF_CPP_MIN_LOG_LEVEL and the like change
# nothing (measured): MediaPipe never starts the library that would heed them.
_NOISE = re.compile(rb"^[IW]\d{4} |^INFO: |^WARNING: ")


class Holistic:
    """MediaPipe Holistic over the frames of one video, whose signer it follows from frame to frame: a new one for each video.
    The same frames give the same numbers, bit for bit, in every process on one machine.

    landmarker: path of a `holistic_landmarker.task`, for a MediaPipe that has no models inside, those after PINNED. fps:
    frames a second, by which that one smooths; PINNED smooths as if it were 30 whatever it is. `.version`: what the keypoints
    are from.

    Raises InputError where MediaPipe is not installed, or a model is missing, not one, or named where none is needed.
    """

    def __init__(self, landmarker=None, fps=25.0):
        try:
            import mediapipe
        except ImportError as error:
            raise InputError(
                f"MediaPipe cannot be imported ({error}); `make extract VIDEOS=FOLDER` sets up an environment with it, or in "
                f"one of Python 3.11 or 3.12: pip install -e '.[video]'"
            ) from None
        self._seen = False
        with without_noise(_NOISE):
            if hasattr(mediapipe, "solutions"):
                self.version = f"mediapipe {mediapipe.__version__}, solutions.holistic"
                if landmarker is not None:
                    raise InputError(f"mediapipe {mediapipe.__version__} has its models inside: leave {landmarker} out")
                self._graph = mediapipe.solutions.holistic.Holistic(static_image_mode=False, model_complexity=1)
                self._graph._graph.wait_until_idle()  # it starts in threads of its own; nothing public waits for them
                self._detect = self._graph.process
            else:
                self._graph = graph = _landmarker(mediapipe, landmarker)
                self.version = f"mediapipe {mediapipe.__version__}, HolisticLandmarker of the model {sha256(landmarker)[:8]}"
                times = (round(frame * 1000 / fps) for frame in itertools.count())  # milliseconds
                self._detect = lambda image: graph.detect_for_video(
                    mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image), next(times)
                )

    def __call__(self, image):
        """Returns the keypoints of the next frame, `(1629,)` float32; a part that was not found is zeros.

        image: `(H, W, 3)` uint8, RGB.
        """
        image = np.ascontiguousarray(image)
        with self._starting():
            found = self._detect(image)
        rows = []
        for block, count, _ in LAYOUTS[LAYOUT].blocks:
            part = getattr(found, f"{block}_landmarks")
            points = getattr(part, "landmark", part) or ()  # the HolisticLandmarker gives a list
            rows += [(p.x, p.y, p.z) for p in points[:count]] or [(0.0, 0.0, 0.0)] * count  # its face goes on with the irises
        self._seen = self._seen or bool(found.pose_landmarks)
        return np.array(rows, np.float32).ravel()

    def close(self):
        """Frees what MediaPipe holds."""
        with self._starting():
            self._graph.close()

    def _starting(self):
        """What comes before the first person: some of MediaPipe starts only then."""
        return contextlib.nullcontext() if self._seen else without_noise(_NOISE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _landmarker(mediapipe, path):
    from mediapipe.tasks.python import vision

    inside = f"install mediapipe {PINNED}, which has its models inside: `make extract VIDEOS=FOLDER`"
    if not hasattr(vision, "HolisticLandmarker"):  # 0.10.30 to 0.10.32
        raise InputError(f"mediapipe {mediapipe.__version__} has no Holistic; {inside}")
    if path is None:
        raise InputError(
            f"mediapipe {mediapipe.__version__} has no models inside: download {MODEL} from {WHERE} and name it "
            f"with --landmarker FILE, or {inside}"
        )
    if not pathlib.Path(path).is_file():
        raise InputError(f"no model at {path}; expected a {MODEL}, from {WHERE}")
    options = vision.HolisticLandmarkerOptions(
        base_options=mediapipe.tasks.BaseOptions(model_asset_path=str(path)), running_mode=vision.RunningMode.VIDEO
    )
    try:
        return vision.HolisticLandmarker.create_from_options(options)
    except (RuntimeError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(
            f"{path} cannot be used as a model: {reason}; expected a {MODEL} as it is downloaded from {WHERE}"
        ) from None
