"""Measures how many clips a second the generator delivers and training takes in, and the memory that each needs.

python benchmarks/throughput.py                          the built-in sample
python benchmarks/throughput.py --data DIR --epochs 10   your own keypoints; --help lists the few options

Prints what was measured and where, then one row a phase: clips a second (median and range over the epochs) and in the
first epoch, milliseconds of CPU a clip (median), clips a second as a multiple of training's, the peak memory of the phase's
own process, and how much of it the generator's cache holds; then the ratios that matter, and how far the LSTM is from what the
machine can compute. Parameters without an option are the defaults of notebooks/2_train.ipynb; the notes' pipeline is
reference_pipeline.py. Ends with status 0: done, 2: bad input, 130: interrupted.
"""

import argparse
import contextlib
import itertools
import multiprocessing
import os
import pathlib
import platform
import resource
import signal
import statistics
import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import signlib
from signlib import project
from signlib.errors import InputError

# The parent imports no TensorFlow and keeps no frames: on Linux the peak of a child begins at that of its parent.
FLOOR, TRAINING = "TensorFlow imported, nothing else", "training, from the cache, augmented"
LATER, PLAIN, NOTES = "the same, in a later run", "training, from the cache", "the notes' pipeline"
MEMORY, PLAIN_MEMORY = "the same batches, from memory", "its batches, from memory"
PHASES = {
    "generator, from disk": {"cached": False, "augmented": False, "trained": ""},
    "generator, from its cache": {"cached": True, "augmented": False, "trained": ""},
    "generator, from its cache, augmented": {"cached": True, "augmented": True, "trained": ""},
    TRAINING: {"cached": True, "augmented": True, "trained": "generator"},
    LATER: {"cached": True, "augmented": True, "trained": "generator", "stored": True},
    MEMORY: {"cached": True, "augmented": True, "trained": "arrays"},
    PLAIN: {"cached": True, "augmented": False, "trained": "generator"},
    PLAIN_MEMORY: {"cached": True, "augmented": False, "trained": "arrays"},
    NOTES: {"cached": True, "augmented": False, "trained": "reference"},
}


def main(arguments):
    """Measures the phases that the module's docstring names and prints them. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="", help="folder of the clips; empty: the built-in sample")
    parser.add_argument("--labels", default="", help="json of the glosses, where it is not in the data folder or beside it")
    parser.add_argument("--layout", default="auto", help="what the frames hold [auto: by their shape]")
    parser.add_argument("--landmarks", default="default", help="as LANDMARKS of the notebook, such as hands+pose [default]")
    parser.add_argument("--architecture", default="lstm", help="as ARCHITECTURE of the notebook [lstm]")
    parser.add_argument("--device", default="cpu", help="as DEVICE of the notebook: auto uses an accelerator [cpu]")
    parser.add_argument("--clips", type=int, default=0, help="so many training clips at most, evenly spaced [0: all]")
    parser.add_argument("--epochs", type=int, default=5, help="that are measured in each phase, after one that is not [5]")
    parser.add_argument("--rounds", type=int, default=1, help="times that all phases are measured, in turn [1]")
    given = parser.parse_args(arguments)
    try:
        measure_all(given)
    except InputError as error:
        print(f"throughput.py: {error}", file=sys.stderr)
        return 2
    except BrokenProcessPool:
        print("throughput.py: the process of this phase was killed; most likely memory ran out: try --clips", file=sys.stderr)
        return 1
    return 0


def measure_all(given):
    """Prints the header and the table for the options `given`. Raises InputError for data or options that cannot be used."""
    if given.clips < 0 or given.epochs < 1 or given.rounds < 1:
        asked = f"--clips {given.clips} --epochs {given.epochs} --rounds {given.rounds}"
        raise InputError(f"{asked}: expected 0 or more clips, at least 1 epoch and 1 round")
    if given.labels and not given.data:
        raise InputError("--labels needs --data: the built-in sample has its own")
    values = {name: default for name, (default, _) in project.notebook_parameters().items()}
    values |= {"DATA": given.data, "LABELS": given.labels, "LAYOUT": given.layout, "LANDMARKS": given.landmarks}
    values |= {"ARCHITECTURE": given.architecture, "DEVICE": given.device}
    values = signlib.check_parameters(values | {"SAMPLE": not given.data})
    clips, train, preprocessor = read_data(values, given.clips)
    device, floor = in_own_process(start_tensorflow, values)
    print(
        f"machine   {os.cpu_count()} cores, {platform.system()} {platform.machine()}, load {os.getloadavg()[0]:.1f} before\n"
        f"versions  Python {platform.python_version()}, NumPy {np.__version__}, {device}\n"
        f"data      {given.data or 'the built-in sample'}, layout {train[0].layout}: {len(train)} training clips of "
        f"{len(signlib.class_names(train))} glosses, {np.mean([clip.num_frames for clip in train]):.1f} frames on average\n"
        f"features  L = {preprocessor.output_shape[0]} frames, D = {preprocessor.output_shape[1]} a frame; batches of "
        f"{values['BATCH_SIZE']}, cache of at most {values['CACHE_MB']} MiB\n"
        f"measured  median and range of {given.rounds} x {given.epochs} epochs, after one that is not counted\n",
        flush=True,
    )
    with contextlib.redirect_stdout(sys.stderr):
        signlib.cache_points(clips, train, preprocessor, values["DISK_CACHE_MB"] * 2**20)
    rounds = {name: [] for name in PHASES}
    for _ in range(given.rounds):
        for name, phase in PHASES.items():
            print(f"{name} ", end="", file=sys.stderr, flush=True)
            try:
                rounds[name].append(in_own_process(measure, clips, train, preprocessor, values, given.epochs, **phase))
            finally:
                print(file=sys.stderr, flush=True)
    results = {name: summarise(found) for name, found in rounds.items()}
    training = statistics.median(results[TRAINING][0])
    head = f"{'phase':36}  {'clips/s':>8}  {'range':>17}  {'first':>7}  {'CPU ms':>6}  {'x training':>10}  {'peak MiB':>8}"
    print(f"{head}  {'cache MiB':>9}")
    print(f"{FLOOR:36}  {'':8}  {'':17}  {'':7}  {'':6}  {'':10}  {floor:8,.0f}")
    for name, (rates, cpu, first, peak, cache) in results.items():
        median, spread = statistics.median(rates), f"{min(rates):,.0f} to {max(rates):,.0f}"
        row = (
            f"{name:36}  {median:8,.0f}  {spread:>17}  {first:7,.0f}  {statistics.median(cpu):6.2f}  {median / training:10.2f}"
        )
        print(f"{row}  {peak:8,.0f}  {cache:9,.0f}")
    print_ratios(results)
    if values["ARCHITECTURE"] == "lstm" and device.endswith("CPU"):
        print_limit(train, preprocessor, training, in_own_process(sgemm))


def summarise(found):
    """Returns what `measure` does, of several rounds: the rates and times of all epochs, medians of the rest."""
    rates, cpu, *rest = zip(*found, strict=True)
    return [[*itertools.chain(*rates)], [*itertools.chain(*cpu)], *map(statistics.median, rest)]


def print_ratios(results):
    """Prints how many times as fast one phase is as another, by the clock, by CPU time and in the first epoch."""
    print(f"\n{'times as fast':60}  {'clock':>5}  {'CPU':>5}  {'first epoch':>11}")
    for fast, slow in ((TRAINING, NOTES), (LATER, NOTES), (PLAIN, NOTES), (TRAINING, MEMORY), (PLAIN, PLAIN_MEMORY)):
        (rates, cpu, first, *_), (rates_of, cpu_of, first_of, *_) = results[fast], results[slow]
        median = statistics.median
        clock, by_cpu = median(rates) / median(rates_of), median(cpu_of) / median(cpu)
        print(f"{f'{fast} / {slow}':60}  {clock:5.2f}  {by_cpu:5.2f}  {first / first_of:11.2f}")


def print_limit(clips, preprocessor, rate, flops):
    """Prints how far the LSTM is from what its products of matrices alone would take at the rate of large ones."""
    length, width = preprocessor.output_shape
    frames = np.mean([min(clip.num_frames, length) for clip in clips])
    a_clip = 3 * 2 * frames * (width * 128 + 2 * 128 * 512)  # forwards and twice as much backwards: projection, LSTM
    print(
        f"\nlimit     {a_clip / 1e6:.0f} MFLOP a clip at {flops / 1e9:.0f} GFLOP/s, as of products of 2048 x 2048: "
        f"{flops / a_clip:,.0f} clips/s.\n          Training reaches {rate * a_clip / flops:.0%} of it: the LSTM multiplies "
        f"32 x 128 by 128 x 512, {frames:.0f} times\n          one after the other, which are too small for more."
    )


def sgemm():
    """Returns the floating point operations a second of large products of float32 matrices on all cores."""
    from signlib.device import tf

    a, times = tf.ones((2048, 2048)), []
    for _ in range(20):
        start = time.perf_counter()
        tf.linalg.matmul(a, a).numpy()
        times.append(time.perf_counter() - start)
    return 2 * 2048**3 / statistics.median(times)


def read_data(values, count):
    """Returns (all clips, those to train on, preprocessor) as the notebook has them, or `count` of the second."""
    data, labels, sample = project.find_data(values)
    if sample:
        signlib.make_sample(project.project_path(project.SAMPLE))
    clips = signlib.load_clips(data, labels, values["LAYOUT"], values["MAX_BAD_SHARE"])
    train, _, _ = signlib.split_clips(clips, values["SPLIT"], values["VALIDATION_SPLIT"], seed=values["SEED"])
    if 0 < count < len(train):
        train = [train[i * len(train) // count] for i in range(count)]
    options = {name.lower(): values[name] for name in ("NORMALISE", "INTERPOLATE", "TRIM", "ASPECT")}
    length, landmarks, long_clips = (values[name] for name in ("SEQUENCE_LENGTH", "LANDMARKS", "LONG_CLIPS"))
    return clips, train, signlib.Preprocessor(length, landmarks, long_clips, clips.layout, kinds=values["FEATURES"], **options)


def in_own_process(function, *args, **kwargs):
    """Returns what the function does in a fresh process, so that its peak memory is its own."""
    spawn, quiet = multiprocessing.get_context("spawn"), (signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a trace
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=signal.signal, initargs=quiet) as process:
        return process.submit(function, *args, **kwargs).result()


def start_tensorflow(values):
    """Returns (a line on TensorFlow and its device, the peak memory so far in MiB)."""
    return signlib.use_device(values["DEVICE"], values["SEED"]), peak_memory()


def measure(everything, clips, preprocessor, values, epochs, *, cached, augmented, trained, stored=False):
    """Returns (clips a second of each epoch, milliseconds of CPU a clip of each, clips a second of the first, peak memory in
    MiB, MiB in the cache) of one phase. The first epoch, which fills the cache and compiles the model, counts by itself."""
    classes, size = signlib.class_names(clips), values["BATCH_SIZE"]
    if trained == "reference":  # without signlib, which also starts TensorFlow in its own way
        from benchmarks import reference_pipeline

        labels = [classes.index(clip.gloss) for clip in clips]
        batches = reference_pipeline.Sequences([clip.path for clip in clips], labels, len(classes))
        model = reference_pipeline.build(len(classes))
    else:
        signlib.use_device(values["DEVICE"], values["SEED"])
        options = {"augment": signlib.Augment() if augmented else None, "cache_bytes": values["CACHE_MB"] * 2**20 * cached}
        if stored:
            with contextlib.redirect_stdout(sys.stderr):
                options["stored"] = signlib.cache_points(everything, clips, preprocessor, values["DISK_CACHE_MB"] * 2**20)
        batches = signlib.KeypointGenerator(clips, preprocessor, classes, batch_size=size, seed=values["SEED"], **options)
        model = signlib.build_model(preprocessor.output_shape, len(classes), values["ARCHITECTURE"]) if trained else None
        if model:
            model.optimizer.build(model.trainable_variables)  # as `signlib.fit` does
    arrays = None
    if trained == "arrays":
        parts = zip(*(batches[index] for index in range(len(batches))), strict=True)
        arrays = [np.concatenate(part) for part in parts]
    ends = []

    def end_epoch(*_):
        ends.append((time.perf_counter(), time.process_time()))
        print(".", end="", file=sys.stderr, flush=True)

    end_epoch()
    if trained:
        import keras

        timer = keras.callbacks.LambdaCallback(on_epoch_end=end_epoch)
        options = {"epochs": epochs + 1, "verbose": 0, "shuffle": False, "callbacks": [timer]}
        if arrays:
            model.fit(*arrays, batch_size=size, **options)
        else:
            model.fit(batches, **options)
    else:
        for _ in range(epochs + 1):
            for index in range(len(batches)):
                batches[index]
            batches.on_epoch_end()
            end_epoch()
    wall, cpu = np.diff(ends, axis=0).T
    rates, cached = (len(clips) / wall).tolist(), getattr(batches, "cached_bytes", 0) / 2**20
    return rates[1:], (1000 * cpu[1:] / len(clips)).tolist(), rates[0], peak_memory(), cached


def peak_memory():
    """Returns the most memory that this process has had so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    warnings.formatwarning = lambda message, *_, **__: f"Warning: {message}\n"
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
