"""The command prints what `predict` says, and of what cannot be predicted why not; `predict` refuses what it cannot know."""

import json
import subprocess
import sys

import numpy as np
import pytest

import signlib
from signlib import predict
from signlib.errors import InputError
from signlib.preprocess import Preprocessor
from signlib.project import ROOT
from signlib.safe_save import make_record

pytestmark = pytest.mark.stack
CLASSES = ["book", "thank you", "tee"]


def save(path, learnt="1629", **settings):
    """Saves a small model of clips of layout `learnt`; returns its path."""
    signlib.use_device("cpu", 3)
    p = Preprocessor(12, **settings)
    model = signlib.build_model(p.output_shape, len(CLASSES))
    record = make_record(CLASSES, p, learnt, {"architecture": "lstm"})
    return signlib.save_model(model, path / "m.h5", record).path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save(tmp_path_factory.mktemp("model"))


@pytest.fixture
def clips(tmp_path, make_frames, write_tree):
    """A folder of two good clips, and between them one that is broken and one without a face."""
    contents = {"1.npy": make_frames(20), "2.npy": b"broken", "3.npy": make_frames(9)[:, -126:], "4.npy": make_frames(9, 4)}
    return write_tree(tmp_path / "clips", contents)


def test_the_command_prints_the_glosses_of_each_clip(model, tmp_path, make_frames, capsys):
    np.save(tmp_path / "7.npy", make_frames(20))
    (tmp_path / "8").mkdir()
    for number, frame in enumerate(make_frames(9, 8)):
        np.save(tmp_path / "8" / f"{number}.npy", frame)
    for given in (["7.npy", "8"], ["."]):
        assert predict.main([str(model), *(str(tmp_path / name) for name in given), "--top", "2"]) == 0
        out, err = capsys.readouterr()
        loaded = signlib.load_model(model)
        for line, name in zip(out.splitlines(), given if "8" in given else ["7.npy"], strict=True):
            (first, p), (second, q) = loaded.predict(tmp_path / name, top=2)
            assert line == f"{tmp_path / name}: {first} {p:.1%}, {second} {q:.1%}" and not err


def test_json_is_one_document_of_all_clips(model, clips, capsys):
    assert predict.main([str(model), str(clips), str(clips / "4.npy"), "--json"]) == 2
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["model"] == str(model)
    assert [row["clip"] for row in found["clips"]] == [str(clips / f"{n}.npy") for n in (1, 2, 3, 4, 4)]
    expected = [{"gloss": gloss, "probability": p} for gloss, p in signlib.load_model(model).predict(clips / "1.npy")]
    assert found["clips"][0]["glosses"] == expected and len(expected) == len(CLASSES)
    assert [row["error"] for row in found["clips"] if "error" in row] == [
        line.removeprefix("error: ") for line in err.splitlines()
    ]


def test_a_bad_clip_hides_no_other(model, clips, capsys):
    assert predict.main([str(model), str(clips / "nothing.npy"), str(clips)]) == 2
    out, err = capsys.readouterr()
    assert [line.partition(": ")[0] for line in out.splitlines()] == [str(clips / "1.npy"), str(clips / "4.npy")]
    assert [line.split(maxsplit=2)[1].strip(":") for line in err.splitlines()] == [
        str(clips / name) for name in ("nothing.npy", "2.npy", "3.npy")
    ]


def test_the_command_names_what_it_cannot_use(model, clips, tmp_path, capsys):
    assert predict.main([str(tmp_path / "no.h5"), str(clips)]) == 2
    assert "no.h5; expected an .h5 file that signlib saved" in capsys.readouterr().err
    assert predict.main([str(tmp_path / ("x" * 999)), str(clips)]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    with pytest.raises(SystemExit) as ended:
        predict.main([str(model), str(clips), "--top", "0"])
    assert ended.value.code == 2 and "--top is 0; expected" in capsys.readouterr().err


def test_an_interrupted_command_says_so(model, clips, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(predict.LoadedModel, "predict", interrupt)
    assert predict.main([str(model), str(clips), "--json"]) == 130
    assert capsys.readouterr() == ("", "interrupted\n")


def test_the_command_runs_by_its_name_and_stops_with_its_reader(model, clips):
    command = f"{sys.executable} -m signlib.predict {model} {clips} | head -1"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith(f"{clips / '1.npy'}: ") and done.stderr.count("\n") == 2, done.stderr


@pytest.mark.parametrize(("layout", "lacking", "able"), [("225", "face", "1629 or"), ("126", "face, pose", "1662 or 543")])
def test_a_clip_that_lacks_what_the_model_learnt_from_is_refused(model, tmp_path, make_frames, lay_out, layout, lacking, able):
    np.save(tmp_path / "7.npy", lay_out(make_frames(20), layout))
    message = rf"7\.npy: the model learnt from {lacking}, which layout {layout} does not hold.*{able}.*LANDMARKS.* hands"
    with pytest.raises(InputError, match=message):
        signlib.load_model(model).predict(tmp_path / "7.npy")


@pytest.mark.parametrize(
    ("learnt", "settings", "usable"),
    [
        ("258", {"layout": "258"}, {"1629", "1662", "258", "225", "543"}),
        ("126", {"layout": "126"}, {"1629", "1662", "258", "225", "126", "543"}),
        ("543", {"layout": "543"}, {"1629", "1662", "543"}),
        ("1629", {"landmarks": "hands"}, {"1629", "1662", "258", "225", "126", "543"}),
        ("1629", {"landmarks": "hands+eyes"}, {"1629", "1662", "543"}),
    ],
)
def test_a_clip_is_used_in_every_layout_that_holds_the_landmarks(tmp_path, make_frames, lay_out, learnt, settings, usable):
    loaded, read = signlib.load_model(save(tmp_path, learnt, **settings)), {}
    for layout in ("1629", "1662", "258", "225", "126", "543"):
        np.save(tmp_path / f"{layout}.npy", lay_out(make_frames(20), layout))
        try:
            read[layout] = loaded.features(tmp_path / f"{layout}.npy")
        except InputError as error:
            assert f"{layout}.npy: the model learnt from" in str(error)
    assert set(read) == usable
    for features in read.values():
        np.testing.assert_allclose(features, read[learnt], atol=1e-5)


def test_what_the_training_clips_did_not_hold_is_not_asked_of_a_clip(tmp_path, make_frames, lay_out):
    np.save(tmp_path / "7.npy", lay_out(make_frames(20), "258"))
    assert signlib.load_model(save(tmp_path, "258", landmarks="default")).predict(tmp_path / "7.npy")
