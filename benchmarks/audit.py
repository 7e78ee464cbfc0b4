"""Plants faults into clean clips and counts what the audit finds of them, and what it flags besides.

python benchmarks/audit.py                           the built-in sample: a few minutes on two cores
python benchmarks/audit.py --data DIR DIR            your own data too, 300 clips of each (--clips)
python benchmarks/audit.py --small                   a few faults of each kind, as continuous integration runs them
python benchmarks/audit.py --only "jump and back"    some kinds alone; --misses names what was not found
python benchmarks/audit.py --scale 12000             seconds and memory that the audit of so many clips takes

corrupt.py, beside this file, says what is planted and how strongly. Of each data set first the findings before anything was
planted; then of each kind how many faults were planted, how many of them found, also of the weaker and of the stronger
half, and how many of the other clips got a finding of that check that they had not before. Ends with status 1 where an
exact kind stays below 95 % found or above 2 % false, over all data sets; 2: bad input; 130: interrupted.
"""

import argparse
import contextlib
import dataclasses
import json
import math
import multiprocessing
import os
import pathlib
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import signlib
from benchmarks import corrupt
from signlib.errors import InputError
from signlib.labels import LABELS_NAME

FOUND, FALSE = 0.95, 0.02  # of the planted faults at least, of the other clips at most
COUNT, SMALL = 60, 4  # faults of a kind in a data set
PLANTED_SHARE = 0.1  # of the clips at once: an audit compares clips with most of the others
PER_GLOSS = 8  # clips at least, where there are as many
SMALL_KINDS = [kind for kind, known in corrupt.KINDS.items() if known.exact] + ["copy trimmed"]
SHOWN = 10  # of the faults that were not found
ROUNDS = 10  # of a kind that plants one fault of the whole data set at a time
# What needs more than a look at each clip and label alone: audit_clips(quick=True) leaves it out.
SLOW = {"copy", "two glosses", "crosses splits", "suspect label"}
SECONDS_LIMIT = 120  # the audit of 12,000 clips, says issue 5


@dataclasses.dataclass
class Count:
    """planted, found: of the faults; halves: the same of the weaker and of the stronger ones; false, clean: of the clips that
    nothing was planted in."""

    planted: int = 0
    found: int = 0
    halves: list = dataclasses.field(default_factory=lambda: [[0, 0], [0, 0]])
    false: int = 0
    clean: int = 0
    misses: list = dataclasses.field(default_factory=list)

    def add(self, other):
        self.planted, self.found = self.planted + other.planted, self.found + other.found
        self.false, self.clean = self.false + other.false, self.clean + other.clean
        self.halves = [[a + b for a, b in zip(*pair, strict=True)] for pair in zip(self.halves, other.halves, strict=True)]
        self.misses += other.misses

    def holds(self):
        return self.found >= FOUND * self.planted and self.false <= FALSE * self.clean


def main(arguments):
    """Measures what the options say and prints it. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", default=[], help="folders of <video_id>.npy with their json, besides the sample")
    parser.add_argument("--clips", type=int, default=300, help="of each folder at most, of whole glosses where possible [300]")
    parser.add_argument("--only", nargs="*", default=[], help=f"kinds of: {', '.join(corrupt.KINDS)}")
    parser.add_argument("--no-sample", action="store_true", help="leave the built-in sample out")
    parser.add_argument("--seed", type=int, default=0, help="draws other clips and faults [0]")
    parser.add_argument("--count", type=int, default=COUNT, help=f"faults of each kind in each data set [{COUNT}]")
    parser.add_argument("--small", action="store_true", help=f"{SMALL} faults of each kind in a small sample")
    parser.add_argument(
        "--quick", action="store_true", help="the quick audit, as 2_train does it; kinds that it cannot find are left out"
    )
    parser.add_argument("--misses", action="store_true", help="name faults that were not found, with their strength")
    parser.add_argument("--scale", type=int, default=0, help="measure time and memory on so many made-up clips instead")
    given = parser.parse_args(arguments)
    try:
        if unknown := [kind for kind in given.only if kind not in corrupt.KINDS]:
            raise InputError(f"--only: unknown kind {unknown[0]!r}; expected some of {', '.join(corrupt.KINDS)}")
        return measure_scale(given.scale) if given.scale else measure_kinds(given)
    except InputError as error:
        print(f"audit.py: {error}", file=sys.stderr)
        return 2


# What is found


def measure_kinds(given):
    """Prints a table for each data set and one of all; returns 1 where an exact kind misses its bound, else 0."""
    kinds = given.only or (SMALL_KINDS if given.small else corrupt.KINDS)
    kinds = [kind for kind in kinds if corrupt.KINDS[kind].quick or not given.quick]
    totals, exact = {}, {}
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        sources = {} if given.no_sample else {"the built-in sample": make_sample(scratch / "made", given.small)}
        sources |= {folder: pathlib.Path(folder) for folder in given.data}
        for name, source in sources.items():
            base = link_subset(source, scratch / "base", given.clips, given.seed)
            layout = corrupt.Data(base).layout
            before = audit(base, given.quick)
            befores = {given.quick: before}
            print_clean(name, layout, before)
            for kind in kinds:
                count = measure(kind, base, scratch, befores, given)
                is_exact = corrupt.KINDS[kind].is_exact(layout)
                print_count(kind, is_exact, count)
                if given.misses:
                    print("".join(f"    missed: {miss}\n" for miss in count.misses[:SHOWN]), end="", flush=True)
                if is_exact or not corrupt.KINDS[kind].exact:  # what only a pose tells counts where there is one
                    totals.setdefault(kind, Count()).add(count)
                    exact[kind] = is_exact
            remove(base)
    print(f"\nall data sets: {', '.join(sources)}")
    print_head()
    for kind, count in totals.items():
        print_count(kind, exact[kind], count)
    failed = [kind for kind, count in totals.items() if exact[kind] and not count.holds()]
    together = Count()
    for kind, count in totals.items():
        if exact[kind]:
            together.add(count)
    if together.planted:
        print_count("all exact kinds", True, together)
        bounds = f"{FOUND:.0%} found and at most {FALSE:.0%} false"
        print(f"\nmissed    {', '.join(failed)}: not {bounds}" if failed else f"\nkept      every exact kind planted: {bounds}")
    return int(bool(failed))


def make_sample(folder, small):
    """Writes the sample, or a small one, and returns its folder of keypoints."""
    return signlib.make_sample(folder, *((8, 20) if small else ()))


def link_subset(source, folder, limit, seed):
    """Fills a new folder with hard links, or copies, of at most `limit` clips and their labels; returns the folder. As many
    glosses as have PER_GLOSS clips or more each, of these the clips evenly."""
    data, rng = corrupt.Data(source), np.random.default_rng(seed)
    words = {word["gloss"]: [i for i in word["instances"] if i["video_id"] in set(data.ids)] for word in data.table}
    names = [gloss for gloss in rng.permutation(list(words)) if words[gloss]]
    if sum(map(len, words.values())) > limit:
        names = sorted(names, key=lambda gloss: -min(len(words[gloss]), PER_GLOSS))[: max(2, limit // PER_GLOSS)]
    each = math.ceil(limit / len(names))
    table = []
    for gloss in names:
        listed = (
            words[gloss] if len(words[gloss]) <= each else [words[gloss][i * len(words[gloss]) // each] for i in range(each)]
        )
        table.append({"gloss": str(gloss), "instances": listed})
    link(source, folder, [i["video_id"] for word in table for i in word["instances"]], table)
    return folder


def link(source, folder, ids, table):
    """Fills a new folder with links to the files of some ids, and writes the labels."""
    folder.mkdir()
    for video_id in set(ids):
        name = f"{video_id}.npy"
        try:
            os.link(pathlib.Path(source, name), folder / name)
        except OSError:  # another disk
            (folder / name).write_bytes(pathlib.Path(source, name).read_bytes())
    (folder / LABELS_NAME).write_text(json.dumps(table, indent=1))


def remove(folder):
    """Removes a folder of files."""
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def audit(folder, quick=False):
    """Returns the report of a folder however many of its files are bad, or the text of its error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return signlib.audit_clips(signlib.load_clips(folder, max_bad_share=1.0), **({"quick": True} if quick else {}))
        except Exception as error:  # an audit that fails has found nothing, and the table goes on
            return f"{type(error).__name__}: {error}"


def measure(kind, base, scratch, befores, given):
    """Plants faults of a kind into copies of `base` until there are enough, or in ROUNDS copies; returns the Count. befores:
    {quick: report of `base`} of the audits so far."""
    known, total, number, seed = corrupt.KINDS[kind], Count(), 0, given.seed
    count, rounds = (SMALL, 1) if given.small else (given.count, ROUNDS)
    quick = given.quick or not SLOW & set(known.checks) or (given.small and known.quick)
    if quick not in befores:
        befores[quick] = audit(base, quick)
    before = befores[quick]
    while total.planted < count and number < rounds:
        folder = scratch / "planted"
        data = corrupt.Data(base)
        link(base, folder, data.ids, data.table)
        corrupt.prepare(folder, kind, seed + number)
        before = audit(folder, quick) if known.prepare else before
        most = max(2, int(PLANTED_SHARE * len(data.ids)))
        planted = corrupt.plant(folder, kind, min(most, count - total.planted), seed + number)
        if planted:
            total.add(compare(kind, planted, before, audit(folder, quick), len(data.ids)))
        remove(folder)
        number += 1
        if not planted:
            break
    return total


def compare(kind, planted, before, after, clips):
    """Returns the Count of one audit: what it found of the planted faults, and what besides that was not there before."""
    known, count = corrupt.KINDS[kind], Count(planted=len(planted))
    if isinstance(after, str):
        count.misses = [f"all {len(planted)}: {after}"]
        return count
    rows = flagged(after, known.checks)
    groups = [set(group) for group in after.groups]
    matched = set()
    for fault in planted:
        there = [i for i, (clip, text) in enumerate(rows) if clip == fault.clip and (not fault.names or names_one(text, fault))]
        found = bool(there) and (not fault.partners or any({fault.clip, *fault.partners} <= group for group in groups))
        matched |= set(there)
        count.found += found
        half = count.halves[int(fault.strength >= 0.5)]
        half[0], half[1] = half[0] + 1, half[1] + found
        if not found:
            also = sorted(
                {c for c, clip in zip(after.findings.check, after.findings["clip"], strict=True) if clip == fault.clip}
            )
            count.misses.append(
                f"{fault.clip or fault.names} of strength {fault.strength:.2f}; reported of it: {', '.join(also)}"
            )
    touched = {v for fault in planted for v in (fault.clip, *fault.partners)}
    old = Counter(flagged(before, known.checks)) if not isinstance(before, str) else Counter()
    if planted[0].clip:
        clean = {clip for clip, _ in rows} - {clip for clip, _ in old} - touched
        count.false, count.clean = len(clean), clips - len(touched & set(before.verdicts))
    else:
        count.false = max(0, len(rows) - len(matched) - sum(old.values()))
        count.clean = clips
    return count


def flagged(report, checks):
    """Returns (clip, value as text) of the findings of some checks."""
    table = report.findings[report.findings.check.isin(checks)]
    return list(zip(table["clip"], map(str, table.value), strict=True))


def names_one(text, fault):
    return any(name.strip().lower() in text.lower() for name in fault.names)


def print_clean(name, layout, report):
    """Prints what an audit says of a data set in which nothing was planted."""
    if isinstance(report, str):
        raise InputError(f"{name} cannot be audited: {report}")
    clips, table = len(report.clips), report.findings
    print(f"\n{name}: {clips} clips of {report.clips.gloss.nunique()} glosses, layout {layout}; before anything is planted:")
    for (severity, check), rows in table.groupby(["severity", "check"]):
        on = rows["clip"][rows["clip"] != ""].nunique()
        which = ", ".join(sorted({c for c in rows["clip"] if c})[:5])
        print(
            f"  {check:16} {severity:8} "
            + (f"{on:4} clips, {on / clips:5.1%}: {which}" if on else str(rows.value.iloc[0])[:80])
        )
    print_head()


def print_head():
    print(f"{'kind':22}  {'':5}  {'planted':>7}  {'found':>6}  {'weak':>5}  {'strong':>6}  {'false':>5} {'of clean':>8}")


def print_count(kind, exact, count):
    if not count.planted:
        print(f"{kind:22}  {'exact' if exact else 'fuzzy'}  {'cannot be planted here':>7}", flush=True)
        return
    weak, strong = (f"{found / planted:.0%}" if planted else "" for planted, found in count.halves)
    print(
        f"{kind:22}  {'exact' if exact else 'fuzzy'}  {count.planted:7}  {count.found / count.planted:6.1%}  {weak:>5}  "
        f"{strong:>6}  {count.false:5} {count.false / max(count.clean, 1):8.2%}"
        + ("  missed" if exact and not count.holds() else ""),
        flush=True,
    )


# What it takes


def measure_scale(count):
    """Prints seconds and peak memory of auditing `count` clips, and of 100 of them. Returns 1 where 12,000 would take longer
    than SECONDS_LIMIT, else 0."""
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        print(f"making {count} clips", file=sys.stderr, flush=True)
        folder = make_many(scratch, count)
        frames = [len(np.load(path, mmap_mode="r")) for path in folder.glob("*.npy")]
        size = sum(path.stat().st_size for path in folder.glob("*.npy"))
        print(
            f"data      {count:,} clips of {np.mean(frames):.0f} frames on average ({min(frames)} to {max(frames)}), layout "
            f"1629, float32: {size / 2**30:.1f} GiB"
        )
        data = corrupt.Data(folder)
        few = [{"gloss": w["gloss"], "instances": w["instances"]} for w in data.table[: 100 // PER_GLOSS]]
        link(folder, scratch / "few", [i["video_id"] for w in few for i in w["instances"]], few)
        phases = {
            "nothing read": (sum, [0]),
            "100 clips audited": (audit_alone, scratch / "few", False),
            "reading alone": (read_all, folder),
            "audited, quick": (audit_alone, folder, True),
            "audited": (audit_alone, folder, False),
        }
        print(f"{'phase':20}  {'seconds':>8}  {'peak MiB':>8}")
        seconds = {}
        for name, (function, *args) in phases.items():
            seconds[name], peak, said = in_own_process(timed, function, *args)
            print(f"{name:20}  {seconds[name]:8.2f}  {peak:8,.0f}  {said}", flush=True)
    ratio = seconds["audited"] / seconds["reading alone"]
    print(f"\nThe audit took {ratio:.1f} times as long as reading alone.")
    return int(seconds["audited"] / count * 12_000 > SECONDS_LIMIT)


def make_many(scratch, count):
    """Makes a folder of `count` clips, of 20 to 150 frames, each of its own movement, as many to a gloss as WLASL has;
    returns it. The sample's clips, stretched, with hands that take another way in each."""
    per_gloss = math.ceil(count / 10)
    source = signlib.make_sample(scratch / "sample", 10, per_gloss)
    folder, rng = scratch / "many", np.random.default_rng(0)
    folder.mkdir()
    table = []
    by_gloss = json.loads((scratch / "sample" / LABELS_NAME).read_text())
    for video_id, instance in [(i["video_id"], i) for word in by_gloss for i in word["instances"]][:count]:
        frames = corrupt.Data.read(argparse.Namespace(path=lambda v: source / f"{v}.npy"), video_id)
        (source / f"{video_id}.npy").unlink()
        length = int(rng.triangular(20, 60, 150))
        frames = frames[np.round(np.linspace(0, len(frames) - 1, length)).astype(int)]
        way = [np.interp(np.arange(length), np.linspace(0, length, 6), rng.normal(0, 0.06, 6)) for _ in range(4)]
        view = corrupt.parts(frames, "1629")
        for number, (hand, wrists) in enumerate(zip(corrupt.HANDS, ([15, 17, 19, 21], [16, 18, 20, 22]), strict=True)):
            step = np.stack(way[2 * number : 2 * number + 2], axis=1)[:, None]
            view[hand][..., :2] += step * corrupt.seen(view[hand])[..., None]
            view["pose"][:, wrists, :2] += step * corrupt.seen(view["pose"])[:, wrists, None]
        corrupt.move(frames, "1629", lambda xyz: xyz + rng.normal(0, 0.002, xyz.shape).astype(xyz.dtype))
        np.save(folder / f"{video_id}.npy", frames)
        if not table or len(table[-1]["instances"]) == PER_GLOSS:
            table.append({"gloss": "".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), 9)), "instances": []})
        table[-1]["instances"].append(instance | {"frame_end": length, "signer_id": int(rng.integers(100))})
    (folder / LABELS_NAME).write_text(json.dumps(table))
    return folder


def in_own_process(function, *args):
    """Returns what the function does in a fresh process, so that its peak memory is its own."""
    spawn, quiet = multiprocessing.get_context("spawn"), (signal.SIGINT, signal.SIG_DFL)
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=signal.signal, initargs=quiet) as process:
        return process.submit(function, *args).result()


def timed(function, *args):
    """Returns (seconds, peak memory in MiB, what the function says)."""
    begin = time.perf_counter()
    said = function(*args)
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return seconds, peak, said


def read_all(folder):
    """Loads every file, one at a time; returns nothing to say."""
    for path in sorted(folder.glob("*.npy")):
        np.load(path)
    return ""


def audit_alone(folder, quick):
    """Audits a folder; returns in a few words what it found."""
    report = audit(folder, quick)
    if isinstance(report, str):
        raise InputError(report)
    kinds = ", ".join(f"{count} {check}" for check, count in Counter(report.findings["check"]).most_common(5))
    return f"{len(report.clips)} clips, {len(report.groups)} groups; {kinds or 'no finding'}"


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main(sys.argv[1:]))
    sys.exit(130)
