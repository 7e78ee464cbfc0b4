"""What is wrong with clips and labels, found before training on them: `audit_clips`. Never imports TensorFlow."""

import hashlib
import json
import pathlib
from dataclasses import dataclass

import numpy as np

from signlib.errors import InputError
from signlib.preprocess import Preprocessor

# The limits are pairs: from the first on a clip needs care, from the second on it is left out.
SHORT_FRAMES = (7, 2)  # at most; at 25 fps even a quick sign takes a third of a second, and two frames hold no movement
NONFINITE_SHARE = (0.01, 0.5)  # of the values of detected parts; MediaPipe writes none, a few do no harm
HANDS_MISSING_SHARE = (0.65, 0.95)  # of frames; a quarter of WLASL's clips lack both hands half the time, 1 in 24 in 65 %
FROZEN_SHARE = (0.6, 0.95)  # of steps without any change; a video stored at twice its frame rate repeats half its frames
MIN_CLIPS = 2  # usable clips of a gloss: one to learn from, one to judge by
MAX_LEFT_OUT = 0.5  # of the clips; when more than half are bad, suspect the extraction, not the clips

VERDICTS = {"note": "use", "warning": "use with care", "error": "leave out"}
FINDING = ["clip", "check", "severity", "value", "limit", "advice"]
BLOCKS = ["left_hand", "right_hand", "pose", "face"]
# What `load_clips` or a failed reading says of a clip: its severity, and what was expected.
PROBLEMS = {
    "file": ("error", "a readable .npy of keypoints"),
    "label": ("error", "one gloss an id"),
    "missing": ("note", "a file for each id"),
}
ADVICE = {
    "file": "extract this video again, or delete the file",
    "label": "mend the labels json",
    "missing": "nothing, or fetch the video and extract it",
    "empty": "no frame in which anything was detected: extract this video again",
    "short": "see whether the video was cut",
    "non-finite": "values are broken inside detected parts: extract this video again",
    "hands missing": "no hand in most frames: see whether the video shows them",
    "frozen": "frames repeat: see whether the video plays",
    "two glosses": "identical clips carry different glosses: keep one gloss, or none of them",
    "crosses splits": "identical clips stand on both sides of the labels' splits: keep one side",
}


@dataclass(frozen=True)
class AuditReport:
    """What an audit found. A plain picture of the data: it changes no file and leaves nothing out by itself.

    findings: DataFrame, a row a finding: clip, check, severity ("error", "warning", "note"), value, limit, advice.
    clips: DataFrame, a row a readable clip: video_id, gloss, signer, split, frames, nonfinite (share of the values of
    detected parts), and the share of frames in which left_hand, right_hand, pose, face and both_hands are missing (NaN:
    the layout has none).
    groups: lists of the video ids of byte-identical clips.
    verdicts: {video_id: "use", "use with care" or "leave out"} of each id with a file or a contradictory label.
    fingerprint: of the data, as `load_clips` gave it.
    """

    findings: object
    clips: object
    groups: list
    verdicts: dict
    fingerprint: str

    def summary(self):
        """Returns a few lines of plain text: whether this data is fit to train on, and why; frequent findings first."""
        verdicts = list(self.verdicts.values())
        counts = {name: verdicts.count(name) for name in VERDICTS.values()}
        usable = self.clips[self.clips.video_id.map(self.verdicts) != "leave out"]
        glosses = usable.gloss.value_counts()
        learnable = int((glosses >= MIN_CLIPS).sum())
        if learnable < 2:
            fit = f"no: {learnable} gloss{'es' * (learnable != 1)} with {MIN_CLIPS} or more usable clips, 2 are needed"
        elif counts["leave out"] > MAX_LEFT_OUT * len(verdicts):
            fit = f"no: {counts['leave out']} of {len(verdicts)} clips are to be left out"
        elif counts["leave out"] or counts["use with care"] or learnable < len(glosses):
            fit = "with care"
        else:
            fit = "yes"
        lines = [
            f"Fit to train on: {fit}",
            f"{len(verdicts)} clips: " + ", ".join(f"{count} {name}" for name, count in counts.items()),
            f"{self.clips.gloss.nunique()} glosses, {len(glosses) - learnable} of them with fewer than {MIN_CLIPS} usable "
            f"clips; {len(self.groups)} groups of byte-identical clips",
        ]
        kinds = self.findings.groupby(["severity", "check", "advice"]).size().items()
        for (severity, check, advice), count in sorted(kinds, key=lambda kind: (kind[0][0] == "note", -kind[1], kind[0])):
            lines.append(f"  {count:5} {check} ({severity}): {advice}")
        return "\n".join(lines)

    def save(self, folder):
        """Writes `audit.json` (everything but the table of clips) and `audit.csv` (the findings) into `folder`; the same
        data gives the same bytes. Returns the path of the json."""
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        record = {
            "fingerprint": self.fingerprint,
            "summary": self.summary().splitlines(),
            "groups": self.groups,
            "verdicts": self.verdicts,
            "findings": self.findings.to_dict("records"),
        }
        text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
        # Half a surrogate pair, which a json can hold, is written as its escape.
        (folder / "audit.json").write_bytes(text.encode(errors="backslashreplace") + b"\n")
        table = self.findings.to_csv(index=False, lineterminator="\n")
        (folder / "audit.csv").write_bytes(table.encode(errors="backslashreplace"))
        return folder / "audit.json"


def audit_clips(clips):
    """Returns the `AuditReport` of the `Clips` that `load_clips` gave (a plain list of clips has no problems and no
    fingerprint). Reads each file once, one at a time; a file that has become unreadable is a finding. The report does
    not depend on the order of the clips."""
    import pandas as pd

    everything = {layout: Preprocessor(landmarks="all", layout=layout) for layout in {clip.layout for clip in clips}}
    found = [_problem(p.video_id, p.kind, p.reason) for p in getattr(clips, "problems", ())]
    rows, same = [], {}
    for clip in sorted(clips, key=lambda clip: clip.video_id):
        try:
            frames = clip.read()
        except InputError as error:
            found.append(_problem(clip.video_id, "file", str(error).replace(f"{clip.path} ", "")))
            continue
        row, checks = _look(frames, clip.layout, everything[clip.layout])
        rows.append({"video_id": clip.video_id, "gloss": clip.gloss, "signer": clip.signer, "split": clip.split} | row)
        found += [(clip.video_id, *check) for check in checks]
        if not any(check[0] == "empty" for check in checks):  # empty clips are all alike, and copies of nothing
            digest = hashlib.sha256(f"{frames.dtype} {frames.shape}".encode())
            digest.update(np.ascontiguousarray(frames))
            same.setdefault(digest.digest(), []).append(clip)

    groups = [group for group in same.values() if len(group) > 1]
    for group in groups:
        glosses, splits = sorted({clip.gloss for clip in group}), sorted({clip.split for clip in group} - {""})
        for clip in group:
            if len(glosses) > 1:
                found.append((clip.video_id, "two glosses", "error", ", ".join(glosses), "one gloss"))
            if len(splits) > 1:
                found.append((clip.video_id, "crosses splits", "warning", ", ".join(splits), "one split"))

    severities = {row["video_id"]: ["note"] for row in rows}
    for video_id, check, severity, *_ in found:
        if check != "missing":  # no file, nothing to judge
            severities.setdefault(video_id, []).append(severity)
    worst = {v: max(severities[v], key=list(VERDICTS).index) for v in sorted(severities)}
    columns = ["video_id", "gloss", "signer", "split", "frames", "nonfinite", *BLOCKS, "both_hands"]
    return AuditReport(
        findings=pd.DataFrame([(*f, ADVICE[f[1]]) for f in sorted(found, key=lambda f: f[:2])], columns=FINDING, dtype=object),
        clips=pd.DataFrame(rows, columns=columns),
        groups=[[clip.video_id for clip in group] for group in groups],
        verdicts={video_id: VERDICTS[severity] for video_id, severity in worst.items()},
        fingerprint=getattr(clips, "fingerprint", ""),
    )


def _problem(video_id, kind, reason):
    severity, limit = PROBLEMS[kind]
    return video_id, kind, severity, reason, limit


def _look(frames, layout, everything):
    """The numbers of one clip for its row, and its findings as (check, severity, value, limit)."""
    points = everything.points(frames, layout)
    lost = np.isnan(points[:, :, 0])
    missing = {block: lost[:, indices].all(axis=1) for block, indices in everything.blocks.items()}
    missing["both_hands"] = missing["left_hand"] & missing["right_hand"]
    # Lost landmarks of a block that was otherwise detected: NaN throughout a block is how some files say "undetected".
    stray = sum(lost[~missing[block]][:, indices].sum() for block, indices in everything.blocks.items())
    seen = sum((~missing[block]).sum() * len(indices) for block, indices in everything.blocks.items())
    shown = ~lost.all(axis=1)
    still = ~np.diff(np.nan_to_num(points), axis=0).any(axis=(1, 2))[shown[1:]]  # of steps to a frame that shows anything

    row = {"frames": len(frames), "nonfinite": round(float(stray / max(seen, 1)), 4)}
    row |= dict.fromkeys(BLOCKS, np.nan) | {block: round(float(share.mean()), 4) for block, share in missing.items()}
    if not shown.any():
        return row, [("empty", "error", 0, 1)]
    values = [  # the higher the worse
        ("short", -len(frames), [-limit for limit in SHORT_FRAMES]),
        ("non-finite", row["nonfinite"], NONFINITE_SHARE),
        ("hands missing", row["both_hands"], HANDS_MISSING_SHARE),
        ("frozen", round(float(still.mean()), 4) if still.size else 0, FROZEN_SHARE),
    ]
    return row, [
        (check, "error" if value >= out else "warning", abs(value), abs(out if value >= out else care))
        for check, value, (care, out) in values
        if value >= care
    ]
