"""signlib.live: the loss curve while training, in a real kernel and against a clock that the test turns. That nothing is drawn
without a browser is seen in tests/notebooks, by the pictures in a headless run's notebook."""

import base64

import pytest

from signlib import live
from signlib.training import FitResult

TRAIN = """
import signlib
from signlib import plots
signlib.use_device("cpu", 1)
p = signlib.Preprocessor(12, landmarks="hands")
train, val, _ = signlib.split_clips(signlib.load_clips({!r}))
batches, val_batches = (signlib.KeypointGenerator(clips, p, ["book", "tea"], batch_size=8) for clips in (train, val))
model = signlib.build_model(p.output_shape, 2)
model.run_eagerly = True
{}
result = signlib.fit(model, batches, val_batches, record={{}}, epochs=4)
"""
SAVE = "plots.loss_curves(result.history, result.best_epoch).savefig({!r}); weights = model.get_weights()"
FAIL = "drawn = plots.loss_curves; plots.loss_curves = lambda *_: 1 / 0"


@pytest.fixture
def clips(tmp_path, write_clips):
    return str(write_clips(tmp_path / "clips", {f"{i:05d}": ["book", "tea"][i % 2] for i in range(10)}))


def printed(outputs, stream="stdout"):
    """The text of outputs that hold nothing but text."""
    assert all(output.keys() <= {"stdout", "stderr"} for output in outputs)
    return "".join(output.get(stream, "") for output in outputs)


def test_training_by_hand_leaves_one_picture_above_the_log_of_its_end(shown, clips, tmp_path):
    outputs, _ = shown(TRAIN.format(clips, ""), SAVE.format(str(tmp_path / "loss.png")), watched=True)
    place = next(number for number, output in enumerate(outputs) if "stdout" not in output)
    picture, (before, after) = outputs[place], (printed(outputs[:place]), printed(outputs[place + 1 :]))
    assert before.startswith("start loss") and after.strip().startswith("epoch") and "4/4" in after
    assert base64.b64decode(picture["image/png"]) == (tmp_path / "loss.png").read_bytes()


def test_a_picture_that_cannot_be_drawn_costs_no_training_and_is_said_once(shown, clips):
    outputs = shown(TRAIN.format(clips, FAIL), watched=True)[0]
    place = outputs.index({"text/html": "", "text/plain": "<IPython.core.display.HTML object>"})
    assert "4/4" in printed(outputs[place + 1 :]) and "finished" in printed(outputs[place + 1 :])
    assert printed(outputs[place + 1 :], "stderr").count("it cannot be drawn (division by zero)") == 1


class Clock:
    """Stands in for `time`, and for the picture's place: drawing takes two seconds."""

    def __init__(self):
        self.now, self.drawn = 100.0, []

    def monotonic(self):
        return self.now

    def update(self, picture):
        self.now += 2
        self.drawn.append(self.now)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(live, "time", clock)
    return clock


def test_it_is_redrawn_only_while_drawing_takes_a_small_share_of_the_time(clock):
    result = FitResult(history={"loss": [1.0], "val_loss": [1.0]}, best_epoch=1)
    with live.Curve(result) as curve:
        curve.output = clock
        for epoch in range(150):
            clock.now += 1
            curve.on_epoch_end(epoch)
            assert curve.spent == 2 * len(clock.drawn) <= 2 + live.SHARE * (clock.now - 100)
        during = list(clock.drawn)
    assert len(during) == 4 and during[0] == 103 and len(clock.drawn) == 5


def test_an_end_in_the_midst_is_drawn_too(clock):
    result = FitResult()
    with pytest.raises(KeyboardInterrupt), live.Curve(result) as curve:
        curve.output = clock
        result.history = {"loss": [1.0]}
        raise KeyboardInterrupt
    assert len(clock.drawn) == 1


def test_nothing_is_drawn_of_no_epoch(clock):
    with live.Curve(FitResult()) as curve:
        curve.output = clock
    assert clock.drawn == []


def test_a_script_is_not_watched():
    assert not live.is_watched()
