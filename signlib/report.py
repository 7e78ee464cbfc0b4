"""What an audit found: `AuditReport`, its summary, and how it is saved and read again."""

import json
import math
import pathlib
from dataclasses import dataclass, field

from signlib.files import atomic_path

VERSION = 1  # raise it when checks change: reports of before are then not taken for those of now
MIN_CLIPS = 2  # usable clips of a gloss: one to learn from, one to judge by
MAX_LEFT_OUT = 0.5  # of the clips; when more than half are bad, suspect the extraction, not the clips
NAMED = 5  # clips named in a line of the summary

VERDICTS = {"note": "use", "warning": "use with care", "error": "leave out"}
UNTRUE = ["two glosses", "crosses splits", "signers cross"]  # these make the measured accuracy mean something else
FINDING = ["clip", "check", "severity", "value", "limit", "advice"]
ADVICE = {
    "file": "extract this video again, or delete the file",
    "layout": "extract this video as the others were, or move the file to a folder of its own",
    "label": "mend the labels json: one gloss an id",
    "unlisted": "add the id to the labels json, or delete the file",
    "missing": "nothing, or fetch the video and extract it",
    "listed twice": "mend the labels json: one entry an id",
    "empty": "no frame in which anything was detected: extract this video again",
    "short": "see whether the video was cut",
    "non-finite": "values are broken inside detected parts: extract this video again",
    "frozen": "frames repeat: see whether the video plays",
    "outside": "points far outside the picture: an extraction that failed; where all are so, pixels instead of shares of it",
    "jumps": "a hand is elsewhere from one frame to the next: something else was taken for it, or frames lack",
    "loose end": "the first or the last frame jumps, as where it belongs to another recording: then drop it when extracting",
    "swapped hands": "left and right are exchanged in part of the clip: extract it again, or with a steadier model",
    "order": "its values stand in another order: move such clips to a folder of their own, and name its LAYOUT",
    "mirrored": "left is right: extract again from the video flipped back",
    "hands missing": "no hand in most frames: see whether the video shows them",
    "float64": "float32 holds all that MediaPipe computes, on half the disk",
    "copy": "nothing; the same recording counts twice",
    "two glosses": "one recording carries different glosses: keep one of them",
    "crosses splits": "one recording stands on both sides of the labels' splits: keep one side; training leaves it out",
    "signers cross": "people who judge are also learnt from: expect less on new people, or set SPLIT to signer",
    "few clips": "bring more clips, or leave the gloss out with MIN_CLIPS",
    "imbalance": "bring more clips of the others, or expect this gloss to be guessed too often",
    "similar glosses": "two spellings of one gloss? then give them one",
    "suspect label": "look at it beside its neighbours: is the label right?",
}


@dataclass(frozen=True)
class AuditReport:
    """What an audit found. A plain picture of the data: it changes no file and leaves nothing out by itself.

    findings: DataFrame, a row a finding: clip (empty: of the data as a whole), check, severity ("error", "warning",
    "note"), value, limit, advice.
    groups: lists of video ids, each one recording under several ids.
    verdicts: {video_id: "use", "use with care" or "leave out"} of each id with a file or a contradictory label.
    limits: DataFrame of the limits in use: check, care, leave_out, reason.
    fingerprint: of the data, as `load_clips` gave it. quick: copies and suspect labels were not looked for.
    sizes: {gloss: usable clips}.

    Not in a saved report: clips: DataFrame, a row a readable clip: video_id, gloss, signer, split, frames, nonfinite
    (share of the values of detected parts), and the share of frames in which left_hand, right_hand, pose, face and
    both_hands are missing (NaN: the layout has none). coverage: DataFrame, for each gloss, split, signer and source how
    many clips are labelled, have a file, and are usable. suspects: see `find_suspects`. missing: DataFrame, 20 moments of
    a clip's time by part: share of the clips. places: {hand: `(40, 40)` counts of its wrist in PLACES, rows y}.
    """

    findings: object
    groups: list
    verdicts: dict
    limits: object
    fingerprint: str
    quick: bool
    sizes: dict
    clips: object = None
    coverage: object = None
    suspects: object = None
    missing: object = None
    places: dict = field(default_factory=dict)

    @property
    def fit(self):
        """ "yes", "with care" or "no: " and why, in plain words: whether this data is fit to train on."""
        verdicts = list(self.verdicts.values())
        learnable = sum(size >= MIN_CLIPS for size in self.sizes.values())
        if learnable < 2:
            return f"no: {learnable} gloss{'es' * (learnable != 1)} with {MIN_CLIPS} or more usable clips, 2 are needed"
        if verdicts.count("leave out") > MAX_LEFT_OUT * len(verdicts):
            return f"no: {verdicts.count('leave out')} of {len(verdicts)} clips are to be left out"
        return "yes" if (self.findings.severity == "note").all() else "with care"

    def kinds(self):
        """Returns a DataFrame, a row a kind of finding, what to mend first on top: check, severity, advice, count, examples.
        Errors come before warnings; then what makes any result untrue, then what concerns many clips."""
        rank = 2 * self.findings.severity.map(list(VERDICTS)[::-1].index) + ~self.findings.check.isin(UNTRUE)
        table = self.findings.assign(rank=rank)
        named = table["clip"].where(table["clip"] != "", table.value.astype(str))
        examples = named.groupby([table["rank"], table.check, table.severity], sort=False)
        kinds = examples.agg(count="size", examples=lambda names: ", ".join(names.iloc[:NAMED])).reset_index()
        kinds["advice"] = kinds.check.map(ADVICE)
        return kinds.sort_values(["rank", "count", "check"], ascending=[True, False, True], ignore_index=True).drop(
            columns="rank"
        )

    def summary(self):
        """Returns plain text: whether this data is fit to train on, the three things to mend first, and all counts."""
        verdicts = list(self.verdicts.values())
        counts = ", ".join(f"{verdicts.count(name)} {name}" for name in VERDICTS.values())
        few, kinds = sum(size < MIN_CLIPS for size in self.sizes.values()), self.kinds()
        lines = [f"Fit to train on: {self.fit}"]
        worst = kinds[kinds.severity != "note"].drop_duplicates("check")[:3]
        lines += ["Mend first:"] * bool(len(worst))
        for number, kind in enumerate(worst.itertuples(), 1):
            more = ", …" * (kind.count > NAMED)
            lines.append(
                f"  {number}. {kind.check}: {kind.count} ({kind.examples}{more}). {kind.advice[:1].upper()}{kind.advice[1:]}"
            )
        lines += [
            f"{len(verdicts)} clips: {counts}",
            f"{len(self.sizes)} glosses, {few} of them with fewer than {MIN_CLIPS} usable clips; "
            f"{len(self.groups)} groups of clips of one recording{' (identical, or one url and frames)' if self.quick else ''}",
        ]
        lines += [f"  {kind.count:5} {kind.check} ({kind.severity}): {kind.advice}" for kind in kinds.itertuples()]
        return "\n".join(lines)

    def save(self, folder):
        """Writes `audit.json` (everything but the tables of clips) and `audit.csv` (the findings) into `folder`; the same
        data gives the same bytes. Returns the path of the json."""
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        record = {
            "version": VERSION,
            "fingerprint": self.fingerprint,
            "quick": self.quick,
            "summary": self.summary().splitlines(),
            "limits": self.limits.astype(str).to_dict("records"),
            "sizes": self.sizes,
            "groups": self.groups,
            "verdicts": self.verdicts,
            "findings": self.findings.replace({math.inf: "inf"}).to_dict("records"),
        }
        text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        for name, content in (("audit.csv", self.findings.to_csv(index=False, lineterminator="\n")), ("audit.json", text)):
            with atomic_path(folder / name) as temporary:
                # Half a surrogate pair, which a json can hold, is written as its escape.
                temporary.write_bytes(content.encode(errors="backslashreplace"))
        return folder / "audit.json"


def read_report(folder, fingerprint):
    """Returns the `AuditReport` saved in `folder`, or None where there is none of this data and these checks."""
    import pandas as pd

    try:
        record = json.loads((pathlib.Path(folder) / "audit.json").read_bytes())
        if (record.pop("version"), record["fingerprint"]) != (VERSION, fingerprint):
            return None
        del record["summary"]
        known = set(record["verdicts"].values()) <= set(VERDICTS.values()) and all(
            type(n) is int for n in record["sizes"].values()
        )
        if not known or not all(isinstance(video_id, str) for group in record["groups"] for video_id in group):
            return None
        findings, limits = (pd.DataFrame(record.pop(name), dtype=object) for name in ("findings", "limits"))
        return AuditReport(findings.reindex(columns=FINDING), limits=limits, **record)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
