"""signlib.diagnose_browser: what stands below the cells, in a real kernel; the widgets are set as a hand would set them."""

import json

import numpy as np
import pytest

import signlib
from signlib import InputError
from signlib.diagnose_browser import choose_runs
from tests.test_predictions import predictions


@pytest.fixture
def runs(tmp_path, write_clips):
    """A folder of two finished runs over six clips, and one that failed."""
    glosses = {f"{i:05d}": ["book", "drink", "tea"][i % 3] for i in range(12)}
    clips = signlib.load_clips(write_clips(tmp_path / "clips", glosses))
    train, val, test = signlib.split_clips(clips, validation_split=0.5)
    classes = signlib.class_names(train)
    labels = [classes.index(clip.gloss) for clip in val]
    judged = predictions(
        labels, [1 if label == 0 else label for label in labels], video_ids=np.array([c.video_id for c in val])
    )
    for number, name in enumerate(("first", "second", "failed")):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        state = {
            "status": "finished",
            "reason": "",
            "metrics": {},
            "best_value": 1.0,
            "best_epoch": 2,
            "history": {"loss": [2.0, 1.0 + number], "accuracy": [0.1, 0.2 + number / 10], "learning_rate": [1e-3, 1e-3]},
            "parameters": {"LABELS": "", "LAYOUT": "auto"},
            "data": str(tmp_path / "clips"),
            "data_fingerprint": clips.fingerprint,
        }
        if name != "failed":
            judged.save(folder / "predictions.npz")
            signlib.save_split(folder / "split.json", train, val, test)
        (folder / "run.json").write_text(json.dumps(state))
    return tmp_path / "runs"


def test_choosing_runs_and_the_scale_redraws_the_curves(shown, runs):
    begun, both, log = shown(
        f"import signlib\npanel = signlib.choose_runs('first', runs={str(runs)!r})",
        "assert set(panel['runs'].options) == {'first', 'second', 'failed'}; panel['runs'].value = ('first', 'second')",
        "panel['log'].value = True",
    )
    widgets, loss, accuracy, rate = begun
    assert "application/vnd.jupyter.widget-view+json" in widgets
    assert all("image/png" in picture for picture in (loss, accuracy, rate))
    assert all(both[i]["image/png"] != begun[i]["image/png"] for i in (1, 2, 3))
    assert log[1]["image/png"] != both[1]["image/png"] and log[2]["image/png"] == both[2]["image/png"]


def test_a_pair_is_shown_and_played_and_a_lost_file_is_named(shown, runs):
    judged = "signlib.read_predictions(folder / 'predictions.npz')"
    begun, played, torn = shown(
        f"import signlib\nfolder, run = signlib.read_run({str(runs / 'first')!r})\n"
        f"player = signlib.play_pairs(folder, run, {judged})",
        "assert player['pair'].options[0][0] == 'book → drink: 2 of 2, confusion'; player['play'].click()",
        "import pathlib; [p.write_bytes(b'torn') for p in pathlib.Path(run['data']).glob('*.npy')]; player['play'].click()",
    )
    assert "image/png" in begun[1] and begun[2]["text/html"] == ""
    assert played[2]["text/html"].count('= "data:image/png') >= 6
    assert "is not a .npy array" in torn[2]["text/html"]


def test_without_errors_or_without_the_data_it_says_so(runs, capsys):
    folder, run = signlib.read_run(str(runs / "first"))
    judged = signlib.read_predictions(folder / "predictions.npz")
    right = predictions(judged.labels, judged.labels)
    assert signlib.play_pairs(folder, run, right) == {} and "no clip was read wrongly" in capsys.readouterr().out
    assert (
        signlib.play_pairs(folder, run | {"data": "gone"}, judged) == {} and "no clip can be shown" in capsys.readouterr().out
    )


def test_an_unknown_run_is_refused(runs):
    with pytest.raises(InputError, match="no run 'third'"):
        choose_runs("first, third", runs=str(runs))
