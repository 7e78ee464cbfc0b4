"""Measures what a data set of WLASL2000's size takes: the index, the quick audit, points on disk, epochs, memory.

python benchmarks/size.py                      21,083 clips of 2,000 glosses: 6 GB of disk for a while, about five minutes
python benchmarks/size.py --clips 400 --glosses 40 --epochs 1    only that it runs

The clips are made up: the sample's movements in WLASL's lengths (20 to 146 frames, 72 on average), 1629 float64 a frame. There
are three files a gloss under many names (hard links), so all of them stay in the system's memory: this is no measure of a disk.
"""

import argparse
import json
import os
import pathlib
import sys
import tempfile
import time
import warnings

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import signlib
from benchmarks.throughput import in_own_process, peak_memory
from signlib import project


def main(arguments):
    """Measures and prints. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=21083, help="[21083]")
    parser.add_argument("--glosses", type=int, default=2000, help="[2000]")
    parser.add_argument("--epochs", type=int, default=3, help="that are measured, after one that is not [3]")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        data = make(folder, given.clips, given.glosses)
        size = sum(path.stat().st_size for path in data.glob("*.npy"))
        print(f"data                    {given.clips:,} clips of {given.glosses:,} glosses, {size / 2**30:.1f} GiB by name")
        index, audit, peak = in_own_process(audit_time, data)
        print(f"index, quick audit      {index:.1f} s and {audit:.1f} s, {index + audit:.1f} s together; peak {peak:,.0f} MiB")
        floor = in_own_process(framework)
        for part in (2, 1):
            cached, again, first, epoch, cpu, count, peak = in_own_process(train, folder, data, part, given.epochs)
            print(
                f"training {count:6,} clips   on disk {cached:.1f} s, in a later run {again:.1f} s; first epoch {first:.1f} s, "
                f"then {epoch:.1f} s\n{'':23} {1000 * cpu / count:.3f} ms of CPU a clip; peak {peak - floor:,.0f} MiB above "
                f"TensorFlow's {floor:,.0f}",
                flush=True,
            )
    return 0


def make(folder, clips, glosses, seed=0):
    """Writes the clips and their labels; returns the folder of the .npy files."""
    files, data = folder / "files", folder / "clips"
    files.mkdir()
    data.mkdir()
    source = sorted(signlib.make_sample(folder / "sample").glob("*.npy"))
    rng, table, number = np.random.default_rng(seed), [], 0
    for gloss in range(glosses):
        for split in ("train", "val", "test"):
            frames = np.load(source[rng.integers(len(source))]).astype(float)
            length = int(rng.triangular(20, 50, 146))
            frames = frames[np.round(np.linspace(0, len(frames) - 1, length)).astype(int)]
            frames = np.where(np.nan_to_num(frames) == 0, 0, frames + rng.normal(0, 0.002, frames.shape))
            np.save(files / f"{gloss}_{split}.npy", frames)
        instances = []
        for i in range((gloss + 1) * clips // glosses - gloss * clips // glosses):
            split = {3: "val", 8: "val", 5: "test"}.get(i, "train")
            os.link(files / f"{gloss}_{split}.npy", data / f"{number:05d}.npy")
            instances.append({"video_id": f"{number:05d}", "split": split, "signer_id": int(rng.integers(100))})
            number += 1
        table.append({"gloss": f"gloss{gloss:04d}", "instances": instances})
    (folder / "WLASL_v0.3.json").write_text(json.dumps(table))
    return data


def audit_time(data):
    """Returns (seconds of `load_clips`, of the quick audit, the process' peak memory in MiB)."""
    start = time.perf_counter()
    clips = signlib.load_clips(data)
    middle = time.perf_counter()
    signlib.audit_clips(clips, quick=True)
    return middle - start, time.perf_counter() - middle, peak_memory()


def framework():
    """Returns the peak memory in MiB of a process that has started TensorFlow."""
    signlib.use_device()
    return peak_memory()


def train(folder, data, part, epochs):
    """Returns (seconds to keep the points on disk, to find them there, of the first epoch, of the median of the others, of CPU
    of these, clips that are trained on, peak memory in MiB); `part` 2: half of the clips."""
    project.ROOT = folder  # points are kept there, and go with it
    signlib.use_device()
    from signlib.device import keras

    clips = signlib.load_clips(data)
    chosen = [clip for clip in clips if clip.split == "train"][::part]
    preprocessor = signlib.Preprocessor(layout=clips.layout)
    times = [time.perf_counter()]
    for _ in range(2):
        stored = signlib.cache_points(clips, chosen, preprocessor, 8 << 30)
        times.append(time.perf_counter())
    cached, again = np.diff(times)
    classes = signlib.class_names(chosen)
    batches = signlib.KeypointGenerator(chosen, preprocessor, classes, augment=signlib.Augment(), stored=stored)
    model = signlib.build_model(preprocessor.output_shape, len(classes))
    model.optimizer.build(model.trainable_variables)  # as `signlib.fit` does
    ends = [(time.perf_counter(), time.process_time())]
    timer = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: ends.append((time.perf_counter(), time.process_time())))
    model.fit(batches, epochs=epochs + 1, verbose=0, shuffle=False, callbacks=[timer])
    seconds = np.diff(ends, axis=0)
    return cached, again, seconds[0, 0], *np.median(seconds[1:], axis=0), len(chosen), peak_memory()


if __name__ == "__main__":
    warnings.formatwarning = lambda message, *_, **__: f"Warning: {message}\n"
    sys.exit(main(sys.argv[1:]))
