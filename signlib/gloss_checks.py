"""What is wrong with the glosses of a data set, and its splits, as a whole: `check_glosses`."""

import unicodedata

import numpy as np

from signlib.report import NAMED

LONG_NAME = 6  # letters, from which names that differ in one of them may be one name: cat and car are not


def check_glosses(sizes, clips, limits):
    """Yields (clip, here always "", check, severity, value, limit) of what is wrong with the glosses and splits as a whole.

    sizes: {gloss: usable clips}; clips: all of them; limits: as `checks.LIMITS`.
    """
    few, many = limits["few clips"], limits["imbalance"]
    for gloss, size in sizes.items():
        if size <= few.care:
            yield "", "few clips", "error" if size <= few.out else "warning", f"{gloss}: {size}", few.care
    middle = float(np.median(list(sizes.values()))) if sizes else 0
    if middle and (largest := max(sizes, key=sizes.get)) and sizes[largest] >= many.care * middle:
        yield "", "imbalance", "warning", f"{largest}: {sizes[largest]}, the middle gloss: {middle:g}", many.care
    for a, b, same in _similar(sizes, limits["similar glosses"].care):
        yield "", "similar glosses", "warning" if same else "note", f"{a!r} and {b!r}", "one spelling a gloss"
    learnt = {clip.signer for clip in clips if clip.split == "train"} - {-1}
    for split in ("val", "test"):
        judges = [clip for clip in clips if clip.split == split]
        if shared := [clip.signer for clip in judges if clip.signer in learnt]:
            who = ", ".join(sorted(set(map(str, shared)))[:NAMED])
            yield (
                "",
                "signers cross",
                "warning",
                f"{split}: {len(shared)} of {len(judges)} clips, of {who}",
                "no signer on both",
            )


def _similar(glosses, letters):
    """(gloss, other, are they one but for case, spaces and marks) of pairs that are, or are long and differ
    in one: names that leave the same rest when a letter is dropped (the deletion neighbourhood of spelling correctors)."""
    rest, pairs = {}, {}
    for gloss in glosses:
        plain = "".join(c for c in unicodedata.normalize("NFKD", gloss).casefold() if c.isalnum()) or gloss
        shorter = [plain[:i] + plain[i + 1 :] for i in range(len(plain))] if len(plain) >= LONG_NAME and letters >= 1 else []
        for key in [plain, *shorter]:
            for other, other_plain in rest.setdefault(key, []):
                pairs[other, gloss] = other_plain == plain
        for key in {plain, *shorter}:
            rest[key].append((gloss, plain))
    return sorted((a, b, same) for (a, b), same in pairs.items() if a != b)


def synonyms(classes, groups, gloss):
    """Returns `(C,)`: for each of the classes the first that stands for the same sign, itself where none does: one recording
    carries both glosses, or they are spelt alike but for case, spaces and marks.

    groups: lists of ids of one recording each; gloss: {video_id: gloss}.
    """
    place = {name: i for i, name in enumerate(classes)}
    pairs = [(a, b) for a, b, same in _similar(place, 0) if same]
    for members in groups:
        names = sorted({gloss[v] for v in members if gloss.get(v) in place}, key=place.get)
        pairs += [(names[0], other) for other in names[1:]]
    merged = np.arange(len(classes))
    for a, b in pairs:
        low, high = sorted((merged[place[a]], merged[place[b]]))
        merged[merged == high] = low
    return merged
