"""Who learns and who judges: `split_clips`, and splits in files."""

import json
import pathlib
import warnings

import numpy as np

from signlib.dataset import class_names
from signlib.errors import InputError
from signlib.files import write_json

STRATEGIES = ("stratified", "official", "signer")
SIDES = ("train", "val", "test")  # a recording that is on several stays on the last of them
DRAWS = 200  # of signers for validation; the best is taken


def split_clips(clips, strategy="stratified", validation_split=0.2, groups=None, seed=42, strict=False):
    """Returns `(train, val, test)`, lists of clips. Clips that the labels mark `test` are the test set, never trained on,
    unless a split's file says otherwise. Depends on the clips and the seed alone, not on their order.

    "stratified": of each gloss a share of `validation_split`, but at least one clip where it has two, and never all.
    "official": the labels' own train and val.
    "signer": no signer on both sides; about a share of `validation_split` of the clips judges. Clips of unknown signer
    (-1) may show anyone, so they are on neither side.
    The path of a file that `save_split` wrote: its three sides; clips that it does not list are not used.

    groups: lists of ids of one recording each, as `AuditReport.groups`. They are divided as one clip where the strategy
    divides; elsewhere, what stands on several sides stays on that which judges, test before val.

    With all but the first, clips of glosses without a training clip leave val. Warns of what the strategy ignores or leaves
    out. Raises InputError when a side would be empty; where `strict`, also when the result would be meaningless: one
    gloss, or a validation side of which more than half is in train too.
    """
    clips = sorted(clips, key=lambda clip: clip.video_id)
    group = {video_id: number for number, members in enumerate(groups or ()) for video_id in members}
    test = [clip for clip in clips if clip.split == "test"]
    rest = [clip for clip in clips if clip.split != "test"]
    if strategy == "stratified":
        judged = {group[clip.video_id] for clip in test if clip.video_id in group}
        free = [clip for clip in rest if group.get(clip.video_id) not in judged]
        train, val = _stratified(free, validation_split, seed, group)
        train += [clip for clip in rest if group.get(clip.video_id) in judged]  # to be left out below, and counted
    elif strategy == "official":
        warnings.warn(
            f"SPLIT = 'official' takes validation clips from the labels: VALIDATION_SPLIT = {validation_split:g} "
            "is not used, nor is SPLIT_SEED",
            stacklevel=2,
        )
        train, val = ([clip for clip in rest if clip.split == name] for name in ("train", "val"))
        if neither := len(rest) - len(train) - len(val):
            warnings.warn(f"{neither} clips are marked neither train, val nor test and are not used", stacklevel=2)
    elif strategy == "signer":
        known = [clip for clip in rest if clip.signer != -1]
        if len({clip.signer for clip in known}) < 2:
            who = "one signer" if known else "no signer: signer_id is -1 or missing for all of them"
            raise InputError(
                f"SPLIT = 'signer' cannot be done: the labels of these {len(rest)} clips name {who}. Expected two or more. "
                "Set SPLIT to stratified, and expect less of the model on new people"
            )
        if unknown := len(rest) - len(known):
            warnings.warn(f"{unknown} clips of unknown signer (-1) are not used: they may show anyone", stacklevel=2)
        train, val = _by_signer(known, validation_split, seed)
    elif str(strategy).endswith(".json"):
        train, val, test = _read_split(strategy, clips)
    else:
        raise InputError(f"split strategy is {strategy!r}; expected one of {', '.join(STRATEGIES)}, or a split's .json")
    train, val, test = _without_leaks((train, val, test), group, strict)
    learnt = set(class_names(train))
    if strange := [clip for clip in val if clip.gloss not in learnt]:
        glosses = ", ".join(sorted({clip.gloss for clip in strange})[:5])
        warnings.warn(f"{len(strange)} validation clips leave: no training clip of {glosses}", stacklevel=2)
        val = [clip for clip in val if clip.gloss in learnt]
    for name, side in (("training", train), ("validation", val)):
        if not side:
            raise InputError(
                f"the {strategy} split leaves no {name} clip of {len(clips)} ({len(test)} are marked test). "
                + ("Bring two or more clips a gloss" if strategy == "stratified" else "Set SPLIT to stratified")
            )
    if strict and len(learnt) < 2:
        raise InputError(
            f"all {len(train)} training clips are of one gloss, {train[0].gloss!r}: every accuracy would be 100 %. Bring clips "
            "of a second one; AUDIT = 'warn' trains anyway"
        )
    return train, val, test


def save_split(path, train, val, test):
    """Writes the ids of the three sides to `path`, a json, atomically; `split_clips` reads it as a strategy."""
    write_json(path, {name: [clip.video_id for clip in side] for name, side in zip(SIDES, (train, val, test), strict=True)})


def _read_split(path, clips):
    """The sides of a split's file, as far as `clips` has them; raises InputError naming the file where it is no split."""
    path = pathlib.Path(path)
    try:
        sides = json.loads(path.read_bytes())
        ids = [video_id for name in SIDES for video_id in sides[name]]
        if not all(isinstance(sides[name], list) for name in SIDES) or not all(isinstance(v, str) for v in ids):
            raise TypeError
    except OSError as error:
        raise InputError(f"SPLIT: cannot read {path}: {error.strerror}; expected a file that save_split wrote") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f'SPLIT: {path} is no split; expected {{"train": [ids], "val": [ids], "test": [ids]}}') from None
    if twice := [video_id for video_id, count in zip(*np.unique(ids, return_counts=True), strict=True) if count > 1]:
        raise InputError(f"SPLIT: {path} lists {len(twice)} ids twice, {twice[0]} for one; expected each on one side")
    there = {clip.video_id: clip for clip in clips}
    if absent := [video_id for video_id in ids if video_id not in there]:
        warnings.warn(f"{len(absent)} clips of {path.name} are not among the usable ones, {absent[0]} for one", stacklevel=3)
    if marked := [v for name in SIDES[:2] for v in sides[name] if v in there and there[v].split == "test"]:
        warnings.warn(f"{path.name} uses {len(marked)} clips that the labels mark test, {marked[0]} for one", stacklevel=3)
    return tuple([there[video_id] for video_id in sorted(sides[name]) if video_id in there] for name in SIDES)


def _without_leaks(sides, group, strict):
    """The sides without clips whose recording also stands on a side that judges more: test before val before train."""
    held = [{group[clip.video_id] for clip in side if clip.video_id in group} for side in sides]
    leaking = [clip for clip in sides[1] if group.get(clip.video_id) in held[0]]
    if strict and 2 * len(leaking) > len(sides[1]):
        raise InputError(
            f"validation is contained in training: {len(leaking)} of {len(sides[1])} validation clips are copies of training "
            f"clips, {leaking[0].video_id} for one. Set SPLIT to stratified; AUDIT = 'warn' trains anyway, without the copies"
        )
    above = [held[1] | held[2], held[2], set()]
    kept = [[c for c in side if group.get(c.video_id) not in judges] for side, judges in zip(sides, above, strict=True)]
    for name, before, after in zip(("training", "validation"), sides, kept, strict=False):
        if left := len(before) - len(after):
            warnings.warn(f"{left} {name} clips leave: their recordings stand among those who judge, too", stacklevel=3)
    return kept


def _stratified(clips, share, seed, group):
    """Divides each gloss; the clips of one recording, which count for the gloss of the first, are not torn apart."""
    recordings, by_gloss, train, val = {}, {}, [], []
    for clip in clips:
        recordings.setdefault(group.get(clip.video_id, clip.video_id), []).append(clip)
    for recording in recordings.values():
        by_gloss.setdefault(recording[0].gloss, []).append(recording)
    rng = np.random.default_rng(seed)
    for gloss in sorted(by_gloss):
        members = by_gloss[gloss]
        wanted = max(1, round(share * sum(map(len, members)))) if len(members) > 1 else 0
        order, judging = rng.permutation(len(members)), 0
        for left, i in zip(range(len(order) - 1, -1, -1), order, strict=True):
            nearer = abs(judging + len(members[i]) - wanted) < abs(judging - wanted)
            # One recording at least learns, and one at least judges.
            if left and (nearer or (left == 1 and not judging)):
                val += members[i]
                judging += len(members[i])
            else:
                train += members[i]
    return sorted(train, key=lambda c: c.video_id), sorted(val, key=lambda c: c.video_id)


def _by_signer(clips, share, seed):
    """The best of DRAWS: in each, signers in a random order join validation, the first always, the others where they bring
    it nearer to its share of the clips. Best is the one with the fewest clips of glosses that training then lacks, and
    clips beside the share."""
    signers, of = np.unique([clip.signer for clip in clips], return_inverse=True)
    glosses, meant = np.unique([clip.gloss for clip in clips], return_inverse=True)
    counts = np.zeros((len(signers), len(glosses)), int)
    np.add.at(counts, (of, meant), 1)
    sizes, wanted = counts.sum(axis=1), share * len(clips)
    rng, best = np.random.default_rng(seed), None
    for _ in range(DRAWS):
        judges, size = np.zeros(len(signers), bool), 0
        for signer in rng.permutation(len(signers)):
            if judges.sum() < len(signers) - 1 and (size == 0 or abs(size + sizes[signer] - wanted) < abs(size - wanted)):
                judges[signer], size = True, size + sizes[signer]
        unlearnt = counts[judges][:, counts[~judges].sum(axis=0) == 0].sum()
        cost = unlearnt + abs(size - unlearnt - wanted) if unlearnt < size else np.inf
        if best is None or cost < best[0]:
            best = cost, judges
    on_val = best[1][of]
    return [c for c, judge in zip(clips, on_val, strict=True) if not judge], [
        c for c, judge in zip(clips, on_val, strict=True) if judge
    ]
