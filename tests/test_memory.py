"""signlib.memory: a training that does not fit is refused with what would, in a process that really has no more."""

import re
import subprocess
import sys

import pytest

from signlib import (
    Augment,
    InputError,
    KeypointGenerator,
    Preprocessor,
    build_model,
    check_memory,
    load_clips,
    memory,
    use_device,
)
from signlib.memory import MIB

GLOSSES = {f"{i:05d}": ["book", "tea"][i % 2] for i in range(8)}
PREPROCESS = Preprocessor(50, "hands")

# In a process of its own, which cannot have more than so many MiB beyond what it has once TensorFlow is there.
LIMITED = """
import resource, sys
import psutil
import signlib
signlib.use_device()
clips = signlib.load_clips(sys.argv[1])
preprocessor = signlib.Preprocessor(50, "hands")
model = signlib.build_model(preprocessor.output_shape, 2)
big = clips * (5000 // len(clips))
for line in sys.stdin:
    more, batch_size, cache = map(int, line.split())
    options = {"batch_size": batch_size, "cache_bytes": cache << 20}
    made = [signlib.KeypointGenerator(big, preprocessor, ["book", "tea"], **options) for _ in "ab"]
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + (more << 20), resource.RLIM_INFINITY))
    try:
        signlib.check_memory(model, *made)
        print("fits", flush=True)
    except signlib.InputError as error:
        print("refused:", error, flush=True)
"""


@pytest.fixture
def limited(clips):
    """The function `limited(MiB more, batch size, MiB of cache)`: what such a process says."""
    with subprocess.Popen(
        [sys.executable, "-c", LIMITED, clips], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:

        def ask(*numbers):
            print(*numbers, file=child.stdin, flush=True)
            return child.stdout.readline()

        yield ask
        child.stdin.close()
        assert child.wait(60) == 0


@pytest.fixture
def clips(tmp_path, write_clips):
    return write_clips(tmp_path, GLOSSES, length=50)


def test_what_does_not_fit_is_refused_with_what_would(limited):
    said = limited(320, 4096, 64)
    fits = re.search(r"refused: memory is short: .* BATCH_SIZE = (\d+) with CACHE_MB = (\d+) would fit", said)
    batch_size, cache = map(int, fits.groups())
    assert 32 < batch_size < 4096 and cache <= 64
    assert limited(320, batch_size, cache) == "fits\n"
    assert "not even BATCH_SIZE = 1 fits" in limited(100, 32, 0)


@pytest.mark.parametrize("long_clips", ["resample", "stretch"])
def test_a_cache_holds_no_more_than_is_counted(tmp_path, write_clips, long_clips):
    preprocessor = Preprocessor(30, "hands", long_clips)
    some = load_clips(write_clips(tmp_path, GLOSSES, length=28))
    plain = KeypointGenerator(some, preprocessor, ["book", "tea"])
    augmented = KeypointGenerator(some, preprocessor, ["book", "tea"], augment=Augment(preprocessor.selected))
    for batches in (plain, augmented):
        batches[0]
        assert 0.7 * batches.cacheable_bytes < batches.cached_bytes <= batches.cacheable_bytes


def test_the_cache_counts_as_far_as_there_are_clips_to_fill_it(clips, monkeypatch):
    use_device()
    some = load_clips(clips)
    model = build_model(PREPROCESS.output_shape, 2)
    small, large = (KeypointGenerator(some * n, PREPROCESS, ["book", "tea"], cache_bytes=1 << 30) for n in (1, 800))
    features = sum(min(clip.num_frames, 50) for clip in some) * PREPROCESS.output_shape[1] * 4
    assert (small.cacheable_bytes, large.cacheable_bytes) == (features, 800 * features)
    for batches in (small, large):
        for index in range(len(batches)):
            batches[index]
        assert batches.cached_bytes <= batches.cacheable_bytes
    assert small.cached_bytes == features
    step = memory.step_memory(model, small, 32)
    monkeypatch.setattr(memory, "free_memory", lambda: 2 * step)
    check_memory(model, small, small)
    large.cache_bytes = 800 * features
    assert 801 * features > step
    said = rf"needs about {(step + 801 * features) / MIB:,.0f} MiB .*BATCH_SIZE = 32 with CACHE_MB = {0.6 * step / MIB:.0f} "
    with pytest.raises(InputError, match=said):
        check_memory(model, large, small)


def test_a_larger_batch_more_frames_and_a_wider_model_take_more(clips):
    use_device()
    batches = KeypointGenerator(load_clips(clips), PREPROCESS, ["book", "tea"])
    long = KeypointGenerator(load_clips(clips), Preprocessor(200, "hands"), ["book", "tea"])
    lstm, wide = (build_model((50, PREPROCESS.output_shape[1]), 2, name) for name in ("lstm", "conv_transformer"))
    sizes = [memory.step_memory(lstm, batches, 32), memory.step_memory(lstm, batches, 64), memory.step_memory(lstm, long, 64)]
    assert sizes == sorted(set(sizes)) and memory.step_memory(wide, batches, 32) > sizes[0]


@pytest.mark.parametrize("old", ["", "memory"])
def test_a_containers_limit_counts_and_what_files_take_of_it_does_not(tmp_path, old):
    names = ("limit_in_bytes", "usage_in_bytes") if old else ("max", "current")
    for name, value in zip(names, ("8000", "7000"), strict=True):
        (tmp_path / f"memory.{name}").write_text(f"{value}\n")
    prefix = "total_" * bool(old)
    (tmp_path / "memory.stat").write_text(f"anon 400\n{prefix}active_file 5000\n{prefix}inactive_file 500\n")
    assert memory._free_of(tmp_path, old) == 6500
    (tmp_path / f"memory.{names[0]}").write_text("max\n")
    assert memory._free_of(tmp_path, old) == memory._free_of(tmp_path / "none", old) == float("inf")


def test_this_machine_has_some_memory_left():
    assert 50 * MIB < memory.free_memory() < 2**50
