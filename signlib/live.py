"""The loss curve while `fit` trains in JupyterLab."""

import io
import sys
import time
import warnings

from signlib.device import keras

SHARE = 0.05  # of the training's time is the most that drawing takes, but for the first picture and the last


class Curve(keras.callbacks.Callback):
    """The loss so far, in one picture that is redrawn in place. It stands above the log, where it stays as the log grows.

    A context around the training: however that ends, the picture left is of its end. Where nobody looks on nothing is
    drawn, and a picture that cannot be drawn never costs the training.
    """

    def __init__(self, result):
        super().__init__()
        self.result, self.output, self.spent, self.failed = result, None, 0.0, False

    def __enter__(self):
        self.began = time.monotonic()
        if is_watched():
            from IPython.display import HTML, display

            self.output = display(HTML(""), display_id=True)
        return self

    def on_epoch_end(self, epoch, logs=None):
        if not self.failed and self.spent <= SHARE * (time.monotonic() - self.began):
            self._draw()

    def __exit__(self, *_):
        self._draw()

    def _draw(self):
        if self.output is None or not self.result.history:
            return
        began = time.monotonic()
        try:
            from IPython.display import Image

            from signlib import plots

            png = io.BytesIO()  # made here: an error while IPython makes it would be shown as the cell's, not raised
            plots.loss_curves(self.result.history, self.result.best_epoch).savefig(png, format="png")
            self.output.update(Image(png.getvalue()))
        except Exception as error:
            if not self.failed:
                warnings.warn(f"the live curve is older than the log: it cannot be drawn ({error})", stacklevel=2)
            self.failed = True
        self.spent += time.monotonic() - began


def is_watched():
    """Returns whether a cell of JupyterLab or the like runs this. What runs notebooks without a browser, as papermill does,
    answers no questions of a cell, and says so with each."""
    kernel = getattr(sys.modules["IPython"].get_ipython(), "kernel", None) if "IPython" in sys.modules else None
    return kernel is not None and kernel.get_parent("shell").get("content", {}).get("allow_stdin", False)
