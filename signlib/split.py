"""Who learns and who judges: `split_clips`."""

import warnings

import numpy as np

from signlib.dataset import class_names
from signlib.errors import InputError

STRATEGIES = ("stratified", "official", "signer")
DRAWS = 200  # of signers for validation; the best is taken


def split_clips(clips, strategy="stratified", validation_split=0.2, groups=None, seed=42):
    """Returns `(train, val, test)`, lists of clips. Clips that the labels mark `test` are the test set whatever the
    strategy, never trained on. Depends on the clips and the seed alone, not on their order.

    "stratified": of each gloss a share of `validation_split`, but at least one clip where it has two, and never all.
    "official": the labels' own train and val.
    "signer": no signer on both sides; about a share of `validation_split` of the clips judges. Clips of unknown signer
    (-1) may show anyone, so they are on neither side.

    With the last two, clips of glosses without a training clip leave val. Warns of what the strategy ignores or leaves
    out. Raises InputError when a side would be empty.
    """
    if groups is not None:
        raise InputError("split_clips: groups are not supported yet; leave groups at None")
    clips = sorted(clips, key=lambda clip: clip.video_id)
    test = [clip for clip in clips if clip.split == "test"]
    rest = [clip for clip in clips if clip.split != "test"]
    if strategy == "stratified":
        train, val = _stratified(rest, validation_split, seed)
    elif strategy == "official":
        warnings.warn(
            f"SPLIT = 'official' takes validation clips from the labels: VALIDATION_SPLIT = {validation_split:g} "
            "is not used, nor is SEED for the split",
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
    else:
        raise InputError(f"split strategy is {strategy!r}; expected one of {', '.join(STRATEGIES)}")
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
    return train, val, test


def _stratified(clips, share, seed):
    by_gloss, train, val = {}, [], []
    for clip in clips:
        by_gloss.setdefault(clip.gloss, []).append(clip)
    rng = np.random.default_rng(seed)
    for gloss in sorted(by_gloss):
        members = by_gloss[gloss]
        order = rng.permutation(len(members))
        count = min(max(1, round(share * len(members))), len(members) - 1)
        val += [members[i] for i in order[:count]]
        train += [members[i] for i in order[count:]]
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
