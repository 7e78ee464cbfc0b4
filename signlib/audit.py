"""Know your data before training on it: `audit_clips`, and `python -m signlib.audit DIR`. Never imports TensorFlow."""

import argparse
import contextlib
import functools
import hashlib
import sys
from collections import Counter

import numpy as np
from joblib import Parallel, delayed

from signlib.checks import LIMITS, PLACES, check_clip, parse_limits
from signlib.copies import find_copies, sketch
from signlib.dataset import Clips, load_clips
from signlib.errors import InputError
from signlib.files import say
from signlib.gloss_checks import check_glosses
from signlib.labels import Label
from signlib.preprocess import Preprocessor
from signlib.report import ADVICE, FINDING, VERDICTS, AuditReport
from signlib.suspects import embedder, find_suspects

BLOCKS = ["left_hand", "right_hand", "pose", "face", "both_hands"]
MOMENTS, BINS = 20, 40  # of the pictures of missing parts over time, and of where hands are
FOLDER_WIDE = {"outside", "order", "hands missing", "non-finite"}  # what need not be a fault where all clips have it
SAMPLED = 8  # every so manyth frame tells clips that are not identical; all bytes of the others are compared
MANY = 2000  # clips, from which on more processes than one are worth their start
SHOW_EVERY = 1000  # clips, a line of progress
LIMIT_COLUMNS, COVERED = ["check", "care", "leave_out", "reason"], ["gloss", "split", "signer", "source"]
# What `load_clips` or a failed reading says of a clip: its severity, and what was expected.
PROBLEMS = {
    "file": ("error", "a readable .npy of keypoints"),
    "layout": ("error", "the layout of the other files"),
    "label": ("error", "one gloss an id"),
    "unlisted": ("note", "a label"),
    "missing": ("note", "a file for each id"),
    "listed twice": ("warning", "one entry an id"),
}


def audit_clips(clips, quick=False, limits=None):
    """Returns the `AuditReport` of the `Clips` that `load_clips` gave (a plain list of clips has no problems and no
    fingerprint). Reads each file once, where there are many in as many processes as there are cores; a file that has become
    unreadable is a finding. The report does not depend on the order of the clips.

    quick: neither copies other than byte-identical ones nor suspect labels are looked for. limits: others than those of
    `checks.LIMITS`, see `checks.parse_limits`.
    """
    import pandas as pd

    limits = parse_limits(limits)
    if not isinstance(clips, Clips):
        clips = Clips(clips, "", "", [], "")
    clips_in_order = sorted(clips, key=lambda clip: clip.video_id)
    found = [_problem(p.video_id, p.kind, p.reason) for p in clips.problems]
    rows, digests, sketches, embedded, spans = [], {}, {}, {}, {}
    missing, wrists = {block: np.zeros(MOMENTS) for block in BLOCKS}, {}
    looks = Parallel(1 if len(clips) < MANY else -1, return_as="generator")(
        delayed(_look)(clip, quick, limits) for clip in clips_in_order
    )
    for number, (clip, (row, findings, look)) in enumerate(zip(clips_in_order, looks, strict=True), 1):
        if number % SHOW_EVERY == 0:
            print(f"audit: {number:,} of {len(clips):,} clips read", flush=True)
        found += [(clip.video_id, *finding) for finding in findings]
        if row is None:
            continue
        rows.append({"video_id": clip.video_id, "gloss": clip.gloss, "signer": clip.signer, "split": clip.split} | row)
        for block, lost in look["missing"].items():
            missing[block] += lost
        for hand, places in look["wrists"].items():
            wrists.setdefault(hand, []).append(places)
        if any(finding[0] == "empty" for finding in findings):
            continue  # empty clips are all alike, and copies of nothing
        digests.setdefault(look["digest"], []).append(clip)
        if clip.recording:
            spans.setdefault(clip.recording, []).append(clip.video_id)
        if not quick:
            sketches[clip.video_id], embedded[clip.video_id] = look["sketch"], look["embedded"]

    table = pd.DataFrame(rows, columns=["video_id", "gloss", "signer", "split", "frames", "nonfinite", *BLOCKS, "mirrored"])
    found = _what_most_have(found, len(table)) + _mirrored(table, limits["mirrored"])
    identical = [ids for alike in digests.values() if len(alike) > 1 for ids in _identical(alike)]
    identical, recorded = (_merge([ids for ids in some if len(ids) > 1]) for some in (identical, spans.values()))
    # One of each is enough: where many are identical, they would fill each other's neighbourhoods.
    copies = find_copies({v: sketches[v] for v in sorted(sketches.keys() - {v for group in identical for v in group[1:]})})
    signers = {clip.video_id: clip.signer for clip in clips}  # two people are no copies of each other, however alike they move
    copies = [(a, b, how) for a, b, how in copies if signers[a] == signers[b] or -1 in (signers[a], signers[b])]
    groups = _merge([*identical, *recorded, *((a, b) for a, b, _ in copies)])
    found += _groups_findings({clip.video_id: clip for clip in clips_in_order}, identical, recorded, groups, copies)
    glosses = dict(zip(table.video_id, table.gloss, strict=True))
    suspects = find_suspects(embedded, glosses, groups, limits["suspect label"].care)
    for suspect in suspects.itertuples():
        value = f"{suspect.share:.0%} of its neighbours are {suspect.looks_like}"
        found.append((suspect.clip, "suspect label", "warning", value, limits["suspect label"].care))

    severities = {video_id: ["note"] for video_id in glosses}
    for video_id, check, severity, *_ in found:
        # Without a file there is nothing to judge, and what nobody labelled belongs to the next data set perhaps.
        if check != "unlisted" and (video_id in signers or video_id in clips.paths):
            severities.setdefault(video_id, []).append(severity)
    worst = {v: max(severities[v], key=list(VERDICTS).index) for v in sorted(severities) if v}
    verdicts = {video_id: VERDICTS[severity] for video_id, severity in worst.items()}
    usable = Counter(glosses[v] for v in glosses if verdicts[v] != "leave out")
    sizes = {gloss: usable[gloss] for gloss in sorted(set(glosses.values()))}
    found += check_glosses(sizes, clips_in_order, limits)
    shown = [(*f, ADVICE[f[1]]) for f in sorted(found, key=lambda f: (f[0], f[1], str(f[3])))]
    wrists = {hand: np.concatenate(places).T for hand, places in wrists.items()}
    places = {hand: np.histogram2d(y, x, BINS, (PLACES, PLACES))[0].astype(int) for hand, (x, y) in wrists.items()}
    moments = (np.arange(MOMENTS) + 0.5) / MOMENTS
    blocks = [block for block in BLOCKS if not table[block].isna().all()]
    return AuditReport(
        findings=pd.DataFrame(shown, columns=FINDING, dtype=object),
        groups=groups,
        verdicts=verdicts,
        limits=pd.DataFrame([(n, v.care, v.out, v.reason) for n, v in limits.items()], columns=LIMIT_COLUMNS),
        fingerprint=clips.fingerprint,
        quick=quick,
        sizes=sizes,
        clips=table,
        coverage=_coverage(clips, verdicts),
        suspects=suspects,
        missing=pd.DataFrame({block: missing[block] / max(len(table), 1) for block in blocks}, index=moments),
        places=places,
    )


def _look(clip, quick, limits):
    """(row, findings, what else is kept of it) of one clip, as `check_clip` returns them; (None, findings, None) of a file that
    has become unreadable."""
    everything, embed = _tools(clip.layout)
    try:
        frames = clip.read()
    except InputError as error:
        return None, [_problem("", "file", str(error).replace(f"{clip.path} ", ""))[1:]], None
    row, findings, looks = check_clip(frames, clip.layout, everything, limits)
    moments = ((np.arange(MOMENTS) + 0.5) * len(frames) / MOMENTS).astype(int)
    kept = {
        "missing": {block: lost[moments] for block, lost in looks["missing"].items()},
        "wrists": {hand: places.copy() for hand, places in looks["wrists"].items()},  # no view of all of the clip
        "digest": _digest(frames, SAMPLED),
    }
    if not quick:
        kept |= {"sketch": sketch(looks["points"], everything.blocks), "embedded": embed(frames)}
    return row, findings, kept


def _digest(frames, step=1):
    digest = hashlib.sha256(f"{frames.dtype} {frames.shape}".encode())
    digest.update(np.ascontiguousarray(frames[::step]))
    return digest.digest()


def _identical(alike):
    """Groups of ids of clips that are equal in all bytes, of those that are in some; a file with many names is read once."""
    files, groups = {}, {}
    for clip in alike:
        with contextlib.suppress(OSError):  # it has gone meanwhile
            stat = clip.path.stat()
            files.setdefault((stat.st_dev, stat.st_ino), []).append(clip)
    for clips in files.values():
        with contextlib.suppress(InputError):
            groups.setdefault(_digest(clips[0].read()) if len(files) > 1 else 0, []).extend(clip.video_id for clip in clips)
    return groups.values()


@functools.cache
def _tools(layout):
    everything = Preprocessor(landmarks="all", layout=layout, trim=False)
    return everything, embedder(layout, everything.blocks)


def _problem(video_id, kind, reason):
    severity, limit = PROBLEMS[kind]
    return video_id, kind, severity, reason, limit


def _mirrored(table, limit):
    """Clips that are mirrored where most are not, or the other way round."""
    judged = table[~table.mirrored.isna()]
    mirrored = judged.mirrored > limit.care
    odd, value = (judged[~mirrored], "not mirrored") if mirrored.mean() > 0.5 else (judged[mirrored], "mirrored")
    limit = f"{len(judged) - len(odd)} of {len(judged)} clips are not so"
    return [(video_id, "mirrored", "warning", value, limit) for video_id in odd.video_id]


def _merge(groups):
    """Groups that share a member become one; returns them sorted, their members too."""
    of = {}
    for group in groups:
        merged = set(group).union(*(of[member] for member in group if member in of))
        of |= dict.fromkeys(merged, merged)
    return sorted({min(group): sorted(group) for group in of.values()}.values())


def _what_most_have(found, count):
    """What more than half of the clips have is how this data is made: one finding of it all, and no clip is left out for it."""
    numbers = Counter(f[1] for f in found)
    often = sorted(check for check in FOLDER_WIDE if 2 * numbers[check] > count)
    wide = [("", check, "warning", f"{numbers[check]} of {count} clips", "few clips") for check in often]
    return [f for f in found if f[1] not in often] + wide


def _groups_findings(clips, identical, recorded, groups, copies):
    """identical: groups of equal bytes, which alone prove it; recorded: of one url and frames; groups: those, and copies."""
    how = {}
    for text, same in (("identical", identical), ("one url and frames", recorded)):
        for group in same:
            for video_id in group:
                how.setdefault(video_id, f"of {group[video_id == group[0]]}: {text}")
    for a, b, text in copies:
        how.setdefault(a, f"of {b}: {text}")
        how.setdefault(b, f"of {a}: {text}")
    proven = {v for group in identical if len({clips[w].gloss for w in group}) > 1 for v in group}
    for group in groups:
        glosses, splits = sorted({clips[v].gloss for v in group}), sorted({clips[v].split for v in group} - {""})
        for video_id in group:
            if len(glosses) > 1:
                severity = "error" if video_id in proven else "warning"
                yield video_id, "two glosses", severity, f"{', '.join(glosses)}; {how[video_id]}", "one gloss"
            if len(splits) > 1:
                yield video_id, "crosses splits", "warning", f"{', '.join(splits)}; {how[video_id]}", "one split"
            if len(glosses) < 2 and len(splits) < 2:
                yield video_id, "copy", "note", how[video_id], "one id a recording"


def _coverage(clips, verdicts):
    """How many clips are labelled, have a file and are usable: by gloss, split, signer and source."""
    import pandas as pd

    own = {clip.video_id: Label(clip.gloss, clip.signer, clip.split) for clip in clips}
    absent = {p.video_id for p in clips.problems if p.kind == "missing"}
    labels = own | clips.labels
    table = pd.DataFrame(
        [(v, m.gloss, m.split or "none", m.signer, m.source) for v, m in labels.items()], columns=["id", *COVERED]
    )
    table["signer"] = table.signer.map(lambda signer: "unknown" if signer == -1 else str(signer))
    table["labelled"], table["files"] = 1, (~table.id.isin(absent)).astype(int)
    table["usable"] = table.id.map(lambda v: v in own and verdicts.get(v) != "leave out").astype(int)
    counts = {by: table[table[by] != ""].groupby(by)[["labelled", "files", "usable"]].sum() for by in COVERED}
    return pd.concat(counts, names=["by", "name"]).reset_index()


def main(arguments=None):
    """`python -m signlib.audit DIR`: prints the summary; returns 1 where there are errors, 2 where nothing can be audited."""
    parser = argparse.ArgumentParser(prog="python -m signlib.audit", description="What is wrong with a folder of keypoints.")
    parser.add_argument("folder", help="the clips, in any form that train.py --data takes")
    parser.add_argument("--labels", help="json of the glosses; by default WLASL_v0.3.json in the folder or beside it")
    parser.add_argument("--layout", default="auto", help="what the frames hold; by default found by their shape")
    parser.add_argument("--quick", action="store_true", help="look for neither copies nor suspect labels")
    parser.add_argument("--limits", help=f"other limits, as 'short=10,3; few clips=5'; of {', '.join(LIMITS)}")
    parser.add_argument("--save", metavar="FOLDER", help="write audit.json and audit.csv there")
    options = parser.parse_args(arguments)
    try:
        clips = load_clips(options.folder, options.labels, options.layout, max_bad_share=1.0)
        report = audit_clips(clips, options.quick, options.limits)
        say(report.summary())
        if options.save:
            say(report.save(options.save))
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return int((report.findings.severity == "error").any())


if __name__ == "__main__":
    import signlib.audit  # by its own name, by which a process that is sent work finds its functions

    sys.exit(signlib.audit.main())
