"""signlib.make_ensemble: the mean of its members in one file, and a folder like that of a run or nothing that looks so."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

import signlib
from signlib import ensemble, predict
from signlib.device import keras
from signlib.diagnose import diagnose
from signlib.errors import InputError, SaveError
from signlib.files import sha256
from signlib.model import ARCHITECTURES, average_models
from signlib.predictions import Predictions, read_predictions
from signlib.preprocess import Preprocessor
from signlib.project import notebook_parameters
from signlib.runs import load_runs, read_run
from signlib.safe_save import make_record
from signlib.three_numbers import three_numbers
from tests.test_predictions import predictions

pytestmark = pytest.mark.stack
CLASSES = ["book", "drink", "tea"]
P = Preprocessor(6, landmarks="hands")
DEFAULTS = {name: default for name, (default, _) in notebook_parameters().items()}


def features(clips=12):
    """`(12, L, D)` of clips of 1 to L frames."""
    drawn = np.random.default_rng(0).normal(size=(clips, *P.output_shape)).astype(np.float32)
    drawn *= (np.arange(P.sequence_length) <= np.arange(clips)[:, None] % P.sequence_length)[:, :, None]
    drawn[:, :, -1] = drawn[:, :, -1] != 0
    return drawn


def random_model(seed, architecture="lstm"):
    signlib.use_device("cpu", seed)
    model, rng = signlib.build_model(P.output_shape, len(CLASSES), architecture), np.random.default_rng(seed)
    model.set_weights([weight + rng.uniform(-0.1, 0.1, weight.shape) for weight in model.get_weights()])
    return model


def probabilities(model):
    return model(features(), training=False).numpy()


def write_run(folder, seed):
    """Leaves what a finished run of random weights leaves in `folder`; returns it."""
    model = random_model(seed)
    parameters = DEFAULTS | {"SEED": seed, "RUN_DIR": str(folder)}
    record = make_record(CLASSES, P, "1629", {"architecture": "lstm"}, parameters, "abc")
    saved = signlib.save_model(model, folder / "model.h5", record | {"epoch": seed, "val_loss": 1.0 + seed})
    judged = predictions(np.arange(12) % 3, np.arange(12) % 3, CLASSES)
    replace(judged, probabilities=probabilities(model)).save(folder / "predictions.npz")
    (folder / "split.json").write_text('{"the": "split"}')
    state = {
        "status": "finished",
        "parameters": parameters,
        "data": "clips",
        "sample": False,
        "code": "one",
        "history": {"loss": [1.0]},
        "model": {"path": str(saved.path), "sha256": sha256(saved.path)},
    }
    state |= {name: record[name] for name in ("classes", "layout", "data_fingerprint", "versions")}
    (folder / "run.json").write_text(json.dumps(state))
    return folder


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    """The folders of three runs that differ in SEED alone."""
    return [write_run(tmp_path_factory.mktemp("runs") / f"seed={seed}", seed) for seed in (1, 2, 3)]


@pytest.fixture
def copies(members, tmp_path):
    """Folders of two of them that a test may change."""
    return [shutil.copytree(folder, tmp_path / "runs" / folder.name) for folder in members[:2]]


def edit(folder, **changed):
    """Changes values in a run's run.json."""
    state = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(state | changed))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_average_of_models_loads_back_bit_for_bit(tmp_path, architecture):
    models = [random_model(seed, architecture) for seed in (1, 2)]
    record = make_record(CLASSES, P, "1629", {"architecture": architecture}) | {"members": [{"seed": 1}, {"seed": 2}]}
    path = signlib.save_model(average_models(models), tmp_path / "m.h5", record).path
    loaded = signlib.load_model(path)
    own = [weight for model in models for weight in model.get_weights()]
    for found, weight in zip(loaded.model.get_weights(), own, strict=True):
        assert found.tobytes() == weight.tobytes()
    expected = np.mean([probabilities(model) for model in models], axis=0, dtype=float)
    assert np.abs(probabilities(loaded.model) - expected).max() < 1e-6
    assert np.ptp(expected, axis=0).max() > 0.005  # it tells these clips apart


def test_identical_members_say_what_one_says_and_their_order_changes_nothing(members):
    models = [signlib.load_model(folder / "model.h5").model for folder in members]
    one = models[0](features(), training=False).numpy()
    for given, expected in (([models[0]] * 3, one), (models[::-1], average_models(models)(features()).numpy())):
        assert np.abs(average_models(given)(features()).numpy() - expected).max() < 1e-6
    assert np.abs(average_models(models)(features()).numpy() - one).max() > 1e-3


def test_the_folder_of_an_ensemble_is_read_like_that_of_a_run(members, tmp_path, capsys, folder):
    out = signlib.make_ensemble([str(folder) for folder in members], tmp_path / "runs" / "ensemble")
    printed = capsys.readouterr().out.splitlines()
    saved = read_predictions(out / "predictions.npz")
    each = [read_predictions(folder / "predictions.npz") for folder in members]
    assert (saved.probabilities == np.mean([one.probabilities for one in each], axis=0, dtype=float).astype(np.float32)).all()
    for name in ("video_ids", "labels", "nearest", "signers"):
        assert (getattr(saved, name) == getattr(each[0], name)).all()
    shares = [np.mean(one.predicted == one.labels) for one in each]
    (name, share, low, high), *_ = saved.rows()
    assert printed == [
        "3 members; 95 % interval over 12 clips",
        *(f"{f'seed={seed}':19} {100 * value:5.1f}%" for seed, value in zip((1, 2, 3), shares, strict=True)),
        f"mean of the members {100 * np.mean(shares):5.1f}%",
        f"the ensemble        {100 * share:5.1f}%  ({100 * low:.1f}% to {100 * high:.1f}%)",
        printed[-1],
    ]
    assert printed[-1].startswith(f"saved {out / 'model.h5'} (") and "verified" in printed[-1]

    found, run = read_run("ensemble", tmp_path / "runs")
    assert (found, run["status"], run["reason"], run["history"], run["best_epoch"]) == (out, "finished", "", {}, 0)
    assert list(run["ensemble"]) == ["seed=1", "seed=2", "seed=3"] and run["metrics"][name] == share
    assert run["parameters"] == DEFAULTS | {"SEED": 1, "RUN_DIR": str(out)}
    assert (run["data"], run["sample"], run["code"], run["classes"]) == ("clips", False, "one", CLASSES)
    assert run["model"] == {"path": str(out / "model.h5"), "sha256": sha256(out / "model.h5")}
    assert load_runs(tmp_path / "runs").loc[0, name] == share
    assert (out / "split.json").read_bytes() == (members[0] / "split.json").read_bytes()
    assert names(out) == ["model.h5", "model.json", "predictions.npz", "run.json", "split.json"]
    assert diagnose(run) == [] and three_numbers(out, run, runs=tmp_path / "runs")[0].accuracy[0] == share

    plain = keras.models.load_model(signlib.publish(out / "model.h5", tmp_path / "models" / "m.h5"), compile=False)
    assert np.abs(probabilities(plain) - saved.probabilities).max() < 1e-6
    record = signlib.load_model(tmp_path / "models" / "m.h5").record
    of = {"run": "seed=3", "seed": 3, "epoch": 3, "val_loss": 4.0}
    assert record["members"][2] == of and [member["seed"] for member in record["members"]] == [1, 2, 3]
    assert record["parameters"] == run["parameters"] and "epoch" not in record
    assert predict.main([str(out / "model.h5"), str(folder / "00123.npy")]) == 0
    assert capsys.readouterr().out.count("%") == 3


def resave(folder, **changed):
    """Saves the model of a run anew, with another record."""
    loaded = signlib.load_model(folder / "model.h5")
    path = signlib.save_model(loaded.model, folder / "model.h5", loaded.record | changed).path
    edit(folder, model={"path": str(path), "sha256": sha256(path)})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"parameters": DEFAULTS | {"BATCH_SIZE": 16}}, "BATCH_SIZE is 16 in .*seed=2, but 32 in .*seed=1; expected runs that"),
        ({"architecture": {"architecture": "lstm", "l2": 0.1}}, "architecture l2 is 0.1 in .*seed=2, but None in"),
        ({"preprocessor": P.config() | {"trim": False}}, "preprocessor trim is False in .*seed=2, but True in"),
        ({"classes": ["book", "drink", "eat"]}, r"classes is \['book', 'drink', 'eat'\] in .*seed=2"),
        ({"layout": "126"}, "layout is '126' in .*seed=2, but '1629' in"),
        ({"data_fingerprint": "xyz"}, "data_fingerprint is 'xyz' in .*seed=2, but 'abc' in"),
    ],
)
def test_a_run_of_another_recipe_is_refused_naming_what_differs(copies, tmp_path, changed, message):
    resave(copies[1], **changed)
    with pytest.raises(InputError, match=message):
        signlib.make_ensemble(copies, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def damage(folder):
    data = bytearray((folder / "model.h5").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "model.h5").write_bytes(data)


def judge_others(folder):
    judged = read_predictions(folder / "predictions.npz")
    replace(judged, video_ids=judged.video_ids[::-1]).save(folder / "predictions.npz")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (damage, r"seed=2/model\.h5 cannot be used as a model: damaged"),
        (lambda folder: (folder / "model.h5").unlink(), r"no model at .*seed=2/model\.h5"),
        (lambda folder: resave(folder, epoch=7) or edit(folder, model={"path": "/spare/m.h5", "sha256": "0"}),
         r"seed=2/model\.h5 is not the model that the run ended with, /spare/m\.h5: copy that here"),
        (lambda folder: (folder / "predictions.npz").write_bytes(b"torn"), r"seed=2/predictions\.npz holds no predictions"),
        (lambda folder: (folder / "run.json").unlink(), "no run '.*seed=2'"),
        (lambda folder: edit(folder, status="interrupted"), "seed=2 is interrupted, expected a finished run: RESUME it"),
        (lambda folder: edit(folder, ensemble=["a", "b"]), "seed=2 is an ensemble, expected a run: name its members, a, b"),
        (judge_others, r"seed=2 was judged by other clips than .*seed=1: .* SPLIT .*seed=1/split\.json"),
    ],
)  # fmt: skip
def test_a_run_that_cannot_be_a_member_is_named_and_nothing_is_written(copies, tmp_path, change, message):
    change(copies[1])
    with pytest.raises(InputError, match=message):
        signlib.make_ensemble(copies, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_may_differ_does_not_keep_runs_apart(copies, tmp_path):
    resave(copies[1], parameters=DEFAULTS | {"SEED": 5, "RUN_DIR": "x", "DATA": "moved", "CACHE_MB": 7})
    edit(copies[1], code="another", git_revision="abc")
    run = read_run(signlib.make_ensemble(copies, tmp_path / "out"))[1]
    assert (run["code"], run["git_revision"]) == ("of several versions", "of several versions")


def test_one_run_alone_is_refused(members, tmp_path):
    with pytest.raises(InputError, match="made of two runs or more, got 1"):
        signlib.make_ensemble(members[:1], tmp_path / "out")


def test_only_an_ensemble_is_replaced(members, copies, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    before = contents(tmp_path)
    for out in (copies[0], tmp_path / "mine", tmp_path / "mine" / "notes.txt"):
        with pytest.raises(InputError, match=rf"{out} is there and is no ensemble.* name another folder"):
            signlib.make_ensemble(copies, out)
    with pytest.raises(SaveError, match=r"cannot write .*notes\.txt/out \(Not a directory\): once that is mended"):
        signlib.make_ensemble(copies, tmp_path / "mine" / "notes.txt" / "out")
    assert contents(tmp_path) == before
    out = signlib.make_ensemble(copies, tmp_path / "out")
    (out / "predictions_test.npz").write_text("of the old one")
    (copies[1] / "split.json").unlink()
    assert signlib.make_ensemble([copies[1], members[2]], out) == out
    assert list(read_run(out)[1]["ensemble"]) == ["seed=2", "seed=3"]
    assert names(out) == ["model.h5", "model.json", "predictions.npz", "run.json"]


def test_an_interruption_leaves_nothing_that_looks_finished_and_it_can_be_made_again(copies, tmp_path, monkeypatch):
    out, write_json = tmp_path / "out", ensemble.write_json

    def interrupted(*given):
        if "failed" in str(given):  # the first of what is written
            return write_json(*given)
        raise KeyboardInterrupt

    steps = ((ensemble, "save_model"), (ensemble, "atomic_path"), (Predictions, "save"), (ensemble, "write_json"))
    for place, step in steps:  # at first there is nothing, then a whole one
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(place, step, interrupted)
            signlib.make_ensemble(copies, out)
        run = read_run(out)[1]
        assert (run["status"], run["reason"]) == ("failed", "making the ensemble did not reach its end: make it again")
        assert "metrics" not in run
        assert read_run(signlib.make_ensemble(copies, out))[1]["status"] == "finished"


def test_what_a_killed_process_left_before_run_json_is_no_obstacle(copies, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".run-0123abcd-tmp.json").write_text("{")
    (tmp_path / "out" / ".run.json.lock").write_text("process 7")
    signlib.make_ensemble(copies, tmp_path / "out")
    assert not [name for name in names(tmp_path / "out") if name.startswith(".")]
