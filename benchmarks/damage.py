"""Damaged inputs by the thousand: keypoint files, labels and parameters that nobody planned for.

python benchmarks/damage.py [COUNT [SEED [FIRST]]]     prints what did not survive; 2,000 tries, seed 0, from try 0

Each try draws, from the seed and its number alone, one damaged input among good clips, and does with it what a user would:
load, audit, split, describe, make batches, predict; or it gives parameters. It survives where the input is used as a plain
reading of it says, or refused or listed by a name that its user finds, and the good clips' features are bit for bit those
of before. Nothing else may be raised, NumPy may not warn, nothing in a file may run, memory may not grow beyond bounds.
"""

import contextlib
import functools
import io
import json
import pathlib
import resource
import signal
import sys
import tempfile
import warnings

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # for train.py, whoever imports this
import signlib
import train
from benchmarks import damage_kinds, damage_oracle
from benchmarks.damage_kinds import (
    FILES,
    KEYPOINTS,
    LABELS,
    LABELS_FINE,
    LABELS_NEVER,
    NAMES,
    NEVER,
    ODD,
    STRANGE_NAMES,
    TEXTS,
    pick,
)
from signlib import project
from signlib.errors import InputError
from signlib.labels import LABELS_NAME
from signlib.parameters import AUDIT_PARAMETERS, DIAGNOSE_PARAMETERS, PARAMETERS, check_parameters
from signlib.split import STRATEGIES

HANG_SECONDS, GROWTH_MB = 60, 500  # of one try; of all: the longest clip, of 100,000 frames, takes 350
GOOD = {f"0000{i}": ("book" if i < 3 else "drink", ("train", "train", "val")[i % 3], 1 + i % 3) for i in range(6)}
VICTIM = ("book", "train", 1)  # gloss, split and signer of the damaged clip
WIDTHS = ("126", "258", "1629")  # layouts that are tried
KINDS = {**dict.fromkeys(KEYPOINTS, 2), **dict.fromkeys(LABELS, 1), "parameters": 6, "command line": 6}  # how often


class DamageError(Exception):
    """A promise that was not kept."""


class HangError(BaseException):
    """A try took too long; no `except Exception` swallows it."""


def survive(count, seed, kinds=tuple(KINDS), first=0):
    """Returns (tries, what did not survive, a text each). kinds: names of damages; all by default. first: the number of the
    first try, to repeat one.

    Starting TensorFlow and making the models takes a few seconds, a try 30 ms. Imports train.py.
    """
    failures, weights = [], np.array([KINDS[kind] for kind in kinds], float)
    for layout in WIDTHS:
        world(layout)
    before = peak_mb()
    for number in range(first, first + count):
        rng = np.random.default_rng([seed, number])
        kind = kinds[rng.choice(len(kinds), p=weights / weights.sum())]
        attempt = TRIES.get(kind) or (try_labels if kind in LABELS else try_keypoints)
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as caught, alarm(HANG_SECONDS):
            warnings.simplefilter("always")
            try:
                attempt(rng, pathlib.Path(folder), kind)
                require(not pathlib.Path(folder, "trace").exists(), "the pickle ran")
                for warning in caught:
                    known = issubclass(warning.category, UserWarning) and "/numpy/" not in warning.filename
                    require(known or "Python 2" in str(warning.message), f"warned: {warning.message} in {warning.filename}")
            except (Exception, HangError) as error:
                failures.append(f"try {number} of seed {seed}, {kind}: {type(error).__name__}: {error!s:.500}")
    if (growth := peak_mb() - before) > GROWTH_MB:
        failures.append(f"{count} tries of seed {seed}: memory grew by {growth:.0f} MB")
    return count, failures


def require(kept, what):
    """Raises DamageError, which says what, unless something was kept."""
    if not kept:
        raise DamageError(what)


@contextlib.contextmanager
def alarm(seconds):
    """Raises HangError after so many seconds; works in the main thread alone."""

    def ring(*_):
        raise HangError(f"nothing after {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def peak_mb():
    """Returns the most memory that this process has had so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


@functools.cache
def world(layout):
    """Returns (preprocessor, {id: frames} of the good clips and "damaged", a LoadedModel, {form: {id: features}} of before)
    of a layout."""
    from signlib.predict import LoadedModel

    names = [*GOOD, "damaged"]
    clips = {name: damage_kinds.make_frames(np.random.default_rng(i), layout, 9 + i) for i, name in enumerate(names)}
    plain = {"kinds": "position", "interpolate": False, "trim": False}  # what the oracle knows
    preprocessor = signlib.Preprocessor(8, layout=layout, **plain)
    record = signlib.make_record(["book", "drink"], preprocessor, layout, {})
    loaded = LoadedModel(signlib.build_model(preprocessor.output_shape, 2), record)
    before = {}
    for form in ("flat", "gloss", "sequence"):
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data, _, _ = lay(pathlib.Path(folder), clips, form, None)
            before[form] = {name: features for name, (_, features) in use(data, None, preprocessor, None)[0].items()}
    return preprocessor, clips, loaded, before


def lay(folder, clips, form, name):
    """Lays out the good clips in a form; returns (the data folder, the path for the damaged clip `name`, its id)."""
    data, table = folder / "data", {}
    for video_id, (gloss, split, signer) in (GOOD | ({} if name is None else {name: VICTIM})).items():
        path = data / ("" if form == "flat" else gloss) / (video_id if form == "sequence" else f"{video_id}.npy")
        path.parent.mkdir(parents=True, exist_ok=True)
        table.setdefault(gloss, []).append({"video_id": video_id, "split": split, "signer_id": signer, "bbox": [1, 2, 3, 4]})
        if form == "sequence":
            path.mkdir()
            for number, frame in enumerate(clips["damaged" if video_id == name else video_id][: damage_kinds.SEQUENCE]):
                np.save(path / f"{number}.npy", frame)
        elif video_id != name:
            np.save(path, clips[video_id])
    if form == "flat":
        labels = [{"gloss": gloss, "instances": instances} for gloss, instances in table.items()]
        (data / LABELS_NAME).write_text(json.dumps(labels))
    return data, path, name if form == "flat" else f"{gloss if name is None else VICTIM[0]}/{name}"


def use(data, labels, preprocessor, strategy):
    """Returns ({id: (clip, features plain and augmented)}, {id: why it is not used}, {id: verdict}). strategy: of the split;
    None where damaged labels may leave nothing to split."""
    clips = signlib.load_clips(data, labels)
    report = signlib.audit_clips(clips)
    report.summary().encode()
    report.save(data.parent / "audit")
    with contextlib.nullcontext() if strategy else contextlib.suppress(InputError):
        sides = signlib.split_clips(clips, strategy or "stratified")
        signlib.describe(clips, *sides, preprocessor).encode()
    classes = signlib.class_names(clips)
    batches = [
        signlib.KeypointGenerator(clips, preprocessor, classes, batch_size=99, shuffle=False, augment=augment)[0]
        for augment in (None, signlib.Augment())
    ]
    features = np.stack([batch for batch, _ in batches], axis=1)
    require(np.isfinite(features).all(), "features that are not finite")
    used = {clip.video_id: (clip, both) for clip, both in zip(clips, features, strict=True)}
    return used, {problem.video_id: problem.reason for problem in clips.problems}, report.verdicts


def check_good(used, problems, before, listed=False):
    """Every good clip is used, or listed where that may be, with its features of before."""
    for name, features in before.items():
        require(name in used or (listed and name in problems), f"the good clip {name} is not used: {problems.get(name)}")
        require(name not in used or np.array_equal(used[name][1], features), f"the good clip {name} has other features")


def try_keypoints(rng, folder, kind):
    """A file, or one frame's file, is damaged."""
    layout, form = pick(rng, WIDTHS), pick(rng, ["flat", "flat", "flat", "gloss", "sequence"])
    preprocessor, clips, loaded, before = world(layout)
    name = pick(rng, NAMES) if rng.random() < 0.3 else NAMES[0]
    data, path, video_id = lay(folder, clips, form, name)
    if form == "sequence":
        damage_kinds.damage_frame(kind, rng, clips["damaged"], folder, path)
    else:
        damage_kinds.put(path, KEYPOINTS[kind](rng, clips["damaged"], folder))
    readable, frames = damage_oracle.read_clip(path, layout)
    require(not (readable and kind in NEVER), "the oracle reads what nobody can")
    if name == NAMES[-1]:
        frames = None  # no UTF-8
    strategy = pick(rng, STRATEGIES if form == "flat" else STRATEGIES[:1])
    used, problems, verdicts = use(data, None, preprocessor, strategy)
    check_good(used, problems, before[form])
    if video_id in used:
        clip, (features, _) = used[video_id]
        require(frames is not None, "used, though it cannot be read")
        require(np.array_equal(clip.read(), frames, equal_nan=True), "read as other values than it holds")
        expected, tolerance = damage_oracle.make_features(frames, layout, preprocessor)
        require(np.abs(features - expected).max() <= tolerance, f"features are {np.abs(features - expected).max()} off")
        require(features[:, :-1].any() or verdicts[video_id] == "leave out", "nothing is seen in it, and the audit is content")
    else:
        require(frames is None, f"good, but not used: {problems}")
        require(len(problems) == 1 and all(problems.values()), f"not listed: {problems}")
    try:
        found = loaded.predict(path)
    except InputError as error:
        require(str(path) in str(error), f"predict does not name it: {error}")
        require(frames is None or "its values fit" in str(error), f"good, but not predicted: {error}")
    else:
        require(readable or kind in FILES, f"predicts {found} of it")
        if video_id in used and layout != "1629":  # which may be taken for layout 543
            expected = loaded.model.predict_on_batch(features[None])[0]
            require(
                dict(found) == dict(zip(loaded.classes, expected.tolist(), strict=True)), f"predicts {found}, not {expected}"
            )


def try_labels(rng, folder, kind):
    """The labels json is damaged, or has an unusual content that is fine."""
    preprocessor, clips, _, before = world("126")
    data, path, _ = lay(folder, clips, "flat", NAMES[0])
    np.save(path, clips["damaged"])
    labels = data / LABELS_NAME
    table = json.loads(labels.read_text())
    labels.unlink()
    damage_kinds.put(labels, LABELS[kind](rng, table))
    meant = damage_oracle.read_labels(labels)
    require(meant is None or kind not in LABELS_NEVER, "the oracle reads what nobody can")
    try:
        used, problems, _ = use(data, pick(rng, [None, labels]), preprocessor, None)
    except InputError as error:
        require(str(data) in str(error), f"the labels are not named: {error}")
        require(kind not in LABELS_FINE, f"refused: {error}")
    else:
        require(meant is not None, "used, though it is no list of json")
        check_good(used, problems, before["flat"], listed=kind not in LABELS_FINE)
        for name, (clip, _) in used.items():
            require(meant.get(name) == {clip.gloss}, f"{name} is {clip.gloss}, but the labels say {meant.get(name)}")


def try_parameters(rng, folder, kind):
    """One to three parameters of a notebook are anything at all."""
    table = pick(rng, [PARAMETERS, AUDIT_PARAMETERS, DIAGNOSE_PARAMETERS])
    cells = [project.notebook_parameters(path) for path in sorted(project.NOTEBOOK.parent.glob("*.ipynb"))]
    given = {name: default for cell in cells for name, (default, _) in cell.items()}
    wild = {pick(rng, list(table)): pick(rng, ODD) for _ in range(rng.integers(1, 4))}
    if rng.random() < 0.3:
        wild[pick(rng, STRANGE_NAMES)] = pick(rng, ODD)
    given = {name: given[name] for name in table} | wild
    try:
        checked = check_parameters(given, table)
    except InputError as error:
        require(any(str(name).lower() in str(error).lower() for name in wild), f"none of {list(wild)} is named: {error}")
        fair = all(name in table and damage_oracle.is_allowed(table[name], value) for name, value in wild.items())
        require(not fair or wild.keys() & {"LANDMARKS", "LAYOUT", "SAMPLE"}, f"refused: {error}")
    else:
        require(checked == {name: given[name] for name in table}, f"other parameters come out: {checked}")
        require(all(damage_oracle.is_allowed(table[name], value) for name, value in checked.items()), f"accepted {list(wild)}")


def try_command(rng, folder, kind):
    """One to three options of train.py have any text, or none."""
    wild = {pick(rng, list(PARAMETERS)): pick(rng, TEXTS) for _ in range(rng.integers(1, 4))}
    options = {name: "--" + name.lower().replace("_", "-") for name in wild}
    words = [pick(rng, [[options[n], text], [f"{options[n]}={text}"], [options[n]]]) for n, text in wild.items()]
    stderr = io.StringIO()
    try:
        with contextlib.redirect_stderr(stderr):
            checked = train.read_arguments([word for some in words for word in some])
    except (InputError, SystemExit) as error:
        told = f"{error} {stderr.getvalue()}"
        known = [*options, *options.values(), *filter(None, wild.values())]
        require(any(text.lower() in told.lower() for text in known), f"none of {words} is named: {told}")
    else:
        require(all(damage_oracle.is_allowed(PARAMETERS[name], value) for name, value in checked.items()), f"accepted {words}")
        for name, said in zip(wild, words, strict=True):
            if type(checked[name]) is not bool:
                meant = type(checked[name])(wild[name])
                require(len(said + said[0].split("=")) > 2 and checked[name] == meant, f"{said} is taken for {checked[name]!r}")


TRIES = {"parameters": try_parameters, "command line": try_command}

if __name__ == "__main__":
    count, seed, first = [*map(int, sys.argv[1:]), *(2000, 0, 0)[len(sys.argv) - 1 :]]
    tries, failures = survive(count, seed, first=first)
    print("\n".join([*failures, f"{tries - len(failures)} of {tries} survived"]))
    sys.exit(bool(failures))
