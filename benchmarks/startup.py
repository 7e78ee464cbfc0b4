"""Measures how long it takes from `python train.py` to the end of the first epoch, beside what nobody can avoid.

python benchmarks/startup.py             three rounds, about a minute
python benchmarks/startup.py --rounds 1

Trains two glosses of the built-in sample for one epoch, a second of work. What cannot be avoided is importing TensorFlow and
starting a kernel. Prints medians of the rounds, and the CPU time of `import signlib`. No option but the rounds.
"""

import argparse
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
TRAIN = ["train.py", "--sample", "--max-glosses", "2", "--epochs", "1"]


def main(arguments):
    """Measures and prints. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="[3]")
    rounds = parser.parse_args(arguments).rounds
    found = []
    with tempfile.TemporaryDirectory() as folder:
        train_until(["--run-dir", f"{folder}/first", "--models-dir", folder])  # makes the sample
        for number in range(rounds):
            signlib, wall = cpu_seconds("import signlib"), cpu_seconds("import tensorflow", wall=True)
            kernel = start_kernel()
            found.append((wall, kernel, train_until(["--run-dir", f"{folder}/{number}", "--models-dir", folder]), signlib))
    tensorflow, kernel, first, signlib = (statistics.median(values) for values in zip(*found, strict=True))
    ratio = statistics.median(train / (tf + start) for tf, start, train, _ in found)
    print(f"import tensorflow                       {tensorflow:6.2f} s")
    print(f"starting a kernel                       {kernel:6.2f} s")
    print(f"python train.py, until its first epoch  {first:6.2f} s, {ratio:.2f} times both")
    print(f"import signlib                          {signlib:6.2f} s of CPU")
    return 0


def train_until(options):
    """Returns the seconds until train.py shows its first epoch."""
    start = time.perf_counter()
    command = [sys.executable, *TRAIN, *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        for line in run.stdout:
            if line.strip().startswith("1/1 "):
                seconds = time.perf_counter() - start
        if run.wait():
            raise RuntimeError(f"{' '.join(command)} ended with {run.returncode}")
    return seconds


def cpu_seconds(code, wall=False):
    """Returns the seconds of CPU, or by the clock, that a fresh Python takes for `code`, its own start included."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True, stderr=subprocess.DEVNULL, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - start if wall else after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def start_kernel():
    """Returns the seconds until a Jupyter kernel answers."""
    from jupyter_client.manager import start_new_kernel

    start = time.perf_counter()
    manager, client = start_new_kernel(kernel_name="python3", extra_arguments=["--log-level=ERROR"])
    seconds = time.perf_counter() - start
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    return seconds


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
