"""MediaPipe Holistic."""

import numpy as np

from signlib.landmarks import LAYOUTS


class Holistic:
    def __init__(self, model=None, fps=25.0):
        import mediapipe

        self.version = f"mediapipe {mediapipe.__version__}"
        self._graph = mediapipe.solutions.holistic.Holistic()

    def __call__(self, image):
        found = self._graph.process(image)
        rows = []
        for block, count, _ in LAYOUTS["1629"].blocks:
            part = getattr(found, f"{block}_landmarks")
            rows.append([(p.x, p.y, p.z) for p in part.landmark] if part else np.zeros((count, 3)))
        return np.concatenate(rows).astype(np.float32).ravel()

    def close(self):
        self._graph.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def version(model=None):
    import mediapipe

    return mediapipe.__version__
