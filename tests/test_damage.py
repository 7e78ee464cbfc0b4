"""benchmarks/damage.py: damaged inputs in small numbers, a few that must stay for ever, and that what breaks is reported."""

import io
import pickle
import re
import subprocess
import sys
import time
import types
import warnings

import numpy as np
import pytest

import signlib
from benchmarks import damage
from benchmarks.damage_kinds import Bomb, lie, npy
from signlib import InputError, dataset, frames, labels, parameters, predict, project

TRIES = 80  # of `make test`; benchmarks/reliability.py makes 2,000


def test_each_kind_of_damage_is_used_as_it_is_or_refused_by_name():
    assert [failure for kind in damage.KINDS for failure in damage.survive(1, 0, kinds=(kind,))[1]] == []


@pytest.mark.slow
def test_damage_drawn_at_random_is_used_as_it_is_or_refused_by_name():
    assert damage.survive(TRIES, 4) == (TRIES, [])


def test_a_try_can_be_repeated_alone(monkeypatch):
    seen = []
    monkeypatch.setattr(damage.damage_kinds, "put", lambda path, content: seen.append(repr(content)) or path.write_bytes(b""))
    for count, first in ((3, 0), (1, 2)):
        damage.survive(count, 5, kinds=("bytes flipped",), first=first)
    assert len(seen) == 4 and seen[2] == seen[3] != seen[1]


@pytest.mark.parametrize("form", ["object array", "pickle", "npz"])
def test_a_pickle_does_not_run_whatever_is_done_with_it(folder, tmp_path, form):
    bomb = Bomb(tmp_path)
    file = io.BytesIO()
    np.savez(file, np.array([bomb]))
    content = {"object array": npy(np.full((9, 1629), bomb)), "pickle": pickle.dumps(bomb), "npz": file.getvalue()}[form]
    path = folder / "00456.npy"
    path.write_bytes(content)
    clips = signlib.load_clips(folder)
    report = signlib.audit_clips(clips)
    assert "00456" not in {clip.video_id for clip in clips} and report.verdicts["00456"] == "leave out"
    with pytest.raises(InputError, match=r"00456\.npy"):
        damage.world("1629")[2].predict(path)
    assert not (tmp_path / "trace").exists()
    pickle.loads(pickle.dumps(bomb)).close()
    assert (tmp_path / "trace").exists()  # the trap does work


CHILD = """
import pathlib, resource, sys
import numpy as np
from signlib import InputError, load_clips
from signlib.frames import open_frames

now = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + 2**28, now + 2**28))
try:
    np.ones(2**26)
except MemoryError:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
else:
    sys.exit("the limit does not hold")
for path in sorted(pathlib.Path(sys.argv[1]).glob("claim*.npy")):
    for how in (None, "r"):
        try:
            open_frames(path, how)
        except InputError as error:
            assert str(path) in str(error), error
        else:
            sys.exit(f"{path} was read")
assert len(load_clips(sys.argv[1], max_bad_share=0.9)) == 5
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="macOS does not keep RLIMIT_AS")
def test_huge_claims_take_no_memory_where_there_is_hardly_any(folder):
    for number, shape in enumerate([(10**5, 1629), (10**6, 1629), (10**9, 1629), (10**12, 3), (2**62, 4), (10**5,) * 5]):
        (folder / f"claim{number}.npy").write_bytes(lie(np.ones((9, 1629), "f4"), shape=shape))
    done = subprocess.run([sys.executable, "-c", CHILD, folder], cwd=project.ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout) < 50_000  # KiB


def test_huge_claims_are_refused_without_numpys_warnings(tmp_path):
    for shape in damage.damage_kinds.CLAIMS:
        (tmp_path / "a.npy").write_bytes(lie(np.ones((9, 126), "f4"), shape=shape))
        for how in (None, "r"):
            with warnings.catch_warnings(record=True) as told, pytest.raises(InputError, match=r"a\.npy"):
                warnings.simplefilter("always")
                frames.open_frames(tmp_path / "a.npy", how)
            assert told == []


def test_good_clips_keep_their_features_among_all_kinds_of_bad_ones(folder, make_frames):
    def features():
        clips = signlib.load_clips(folder, max_bad_share=0.9)
        preprocessor = signlib.Preprocessor(16)
        batches = signlib.KeypointGenerator(clips, preprocessor, ["book", "drink"], batch_size=99, shuffle=False)
        return [clip.video_id for clip in clips], batches[0][0]

    ids, before = features()
    rng = np.random.default_rng(0)
    for number, make in enumerate([*damage.NEVER.values(), *damage.FILES.values()]):
        damage.damage_kinds.put(folder / f"bad{number}.npy", make(rng, make_frames().astype(np.float32), folder))
    after_ids, after = features()
    assert after_ids == ids
    np.testing.assert_array_equal(after, before)


# What breaks is reported


def change(monkeypatch, module, name, make):
    """Replaces a function by what `make` makes of it."""
    monkeypatch.setattr(module, name, make(getattr(module, name)))


def let_pickles_run(monkeypatch):
    careless = {**vars(np), "load": lambda path, mmap_mode, allow_pickle: np.load(path, allow_pickle=True)}
    monkeypatch.setattr(frames, "np", types.SimpleNamespace(**careless))


def read_garbage(monkeypatch):
    change(monkeypatch, dataset, "open_frames", lambda read: lambda path, mmap_mode="r": read(path, mmap_mode) * 1.001)


def stumble(monkeypatch):
    def make(read):
        return lambda path, mmap_mode="r": read(path, mmap_mode) if path.stem in damage.GOOD else {}[path]

    change(monkeypatch, dataset, "open_frames", make)


def warn(monkeypatch):
    def make(read):
        return lambda path, mmap_mode="r": np.float32(3e38) * np.float32(9) and read(path, mmap_mode)

    change(monkeypatch, dataset, "open_frames", make)


def wait(monkeypatch):
    monkeypatch.setattr(damage, "HANG_SECONDS", 1)
    change(monkeypatch, dataset, "open_frames", lambda read: lambda *_, **__: time.sleep(600))


def list_nothing(monkeypatch):
    change(monkeypatch, dataset, "Problem", lambda problem: lambda video_id, kind, reason: problem("00000", kind, ""))


def predict_without_a_name(monkeypatch):
    def read(path, mmap_mode):
        raise InputError("something is wrong somewhere")

    monkeypatch.setattr(predict, "open_frames", read)


def predict_anything(monkeypatch):
    monkeypatch.setattr(predict, "open_frames", lambda path, mmap_mode: np.ones((9, 126)))


def be_unsteady(monkeypatch):
    calls = iter(range(10**9))

    def make(write_features):
        def unsteady(self, clips, out):
            write_features(self, clips, out)
            for features in out:
                features += np.float32(1e-6) * next(calls)

        return unsteady

    change(monkeypatch, signlib.Preprocessor, "write_features", make)


def mix_labels_up(monkeypatch):
    def make(read):
        def exchanged(path):
            entries, problems = read(path)
            other = {"book": "drink", "drink": "book"}
            return {v: m._replace(gloss=other.get(m.gloss, m.gloss)) for v, m in entries.items()}, problems

        return exchanged

    change(monkeypatch, labels, "read_labels", make)


def refuse_labels(monkeypatch):
    def refuse(path):
        raise InputError(f"{path} is not to my taste")

    monkeypatch.setattr(labels, "read_labels", refuse)


def check_nothing(monkeypatch):
    monkeypatch.setattr(parameters.Parameter, "check", lambda self, name, value: value)


def check_without_a_name(monkeypatch):
    def make(check):
        def nameless(self, name, value):
            try:
                return check(self, name, value)
            except InputError:
                raise InputError("something is out of range") from None

        return nameless

    change(monkeypatch, parameters.Parameter, "check", make)


@pytest.mark.parametrize(
    ("harm", "kind", "message"),
    [
        (let_pickles_run, "objects", "the pickle ran|used, though it cannot be read"),
        (read_garbage, "order", "other values than it holds|other features"),
        (stumble, "order", "KeyError"),
        (warn, "order", "warned: overflow"),
        (wait, "order", "HangError"),
        (list_nothing, "two arrays", "not listed"),
        (predict_without_a_name, "two arrays", "predict does not name it"),
        (predict_anything, "two arrays", r"predicts \[\('(book|drink)'"),
        (be_unsteady, "order", "the good clip 00000 has other features"),
        (mix_labels_up, "encoding", "is drink, but the labels say {'book'}"),
        (refuse_labels, "encoding", "refused: .*not to my taste"),
        (check_nothing, "parameters", "accepted"),
        (check_without_a_name, "parameters", "is named: something is out of range"),
        (check_nothing, "command line", "accepted"),
        (check_without_a_name, "command line", "is named: something is out of range"),
    ],
)
def test_what_breaks_is_reported_with_its_try(monkeypatch, harm, kind, message):
    damage.survive(0, 0)  # the models and the features of before
    harm(monkeypatch)
    failures = damage.survive(1 if harm is wait else 60 if kind == "command line" else 12, 0, kinds=(kind,))[1]
    assert any(re.search(message, failure) for failure in failures), failures
    assert all(failure.startswith("try ") and f"of seed 0, {kind}: " in failure for failure in failures)


def test_memory_beyond_the_bound_is_reported(monkeypatch):
    monkeypatch.setattr(damage, "GROWTH_MB", -1)
    assert "memory grew by" in damage.survive(1, 0, kinds=("order",))[1][0]
