"""What training takes from an audit: `apply_audit`."""

import contextlib

from signlib.audit import MANY, audit_clips
from signlib.errors import InputError
from signlib.labels import Problem
from signlib.project import audit_folder
from signlib.report import NAMED, read_report


def apply_audit(clips, how="on", folder=None):
    """Returns `(clips, groups)`: the `Clips` without those that the audit leaves out, and its groups of one recording each,
    for `split_clips`. Prints what is left out and why; they join the problems.

    The audit is the one that `1_audit.ipynb` saved of the same data, or else its quick part, made now. It is written into
    `folder`, the run's, for the record. how: "on"; "warn": as well, and goes on where "on" raises InputError because
    the result would be meaningless; "off": nothing is left out, and there are no groups.
    """
    if how == "off":
        print("audit         off")
        return clips, []
    saved = audit_folder(clips)
    report = read_report(saved, clips.fingerprint)
    if report is None:
        report = audit_clips(clips, quick=True)
        if len(clips) >= MANY:  # it takes a while, so the next run takes this one
            with contextlib.suppress(OSError):
                report.save(saved)
    quick = "quick: of exactly this data there is none by 1_audit.ipynb, which also finds copies"
    whose = quick if report.quick else "of 1_audit.ipynb"
    if folder:
        report.save(folder)
    verdicts = [report.verdicts.get(clip.video_id, "use") for clip in clips]
    out, care = verdicts.count("leave out"), verdicts.count("use with care")
    print(f"audit         {out} of {len(clips)} clips are left out, {care} are to be used with care;")
    print(f"              {len(report.groups)} groups of clips show one recording ({whose})")
    left = {clip.video_id for clip, verdict in zip(clips, verdicts, strict=True) if verdict == "leave out"}
    errors = report.findings[(report.findings.severity == "error") & report.findings["clip"].isin(left)]
    for (check, advice), ids in errors.groupby(["check", "advice"])["clip"]:
        more = ", …" * (len(ids) > NAMED)
        print(f"              left out for {check} ({len(ids)}: {', '.join(ids[:NAMED])}{more}): {advice}")
    if report.fit.startswith("no"):
        if how == "on":
            raise InputError(
                f"the audit calls this data unfit to train on: {report.fit[4:]}. Mend it as notebooks/1_audit.ipynb says, or "
                "set AUDIT to warn (goes on with the rest) or off (trains on everything)"
            )
        print(f"              unfit to train on ({report.fit[4:]}), and yet it goes on: AUDIT = 'warn'")
    if len(left) == len(clips):
        raise InputError("the audit leaves out every clip: mend them as notebooks/1_audit.ipynb says, or set AUDIT to off")
    problems = [Problem(video_id, "audit", "left out by the audit") for video_id in sorted(left)]
    return clips.keep(lambda clip: clip.video_id not in left, problems), report.groups


def recordings(clips, folder):
    """Returns the groups of one recording each, lists of ids, as the audit in `folder` has them, else that of `1_audit.ipynb`,
    else its quick part, made now: with AUDIT = "off" they are in no split, but every result must know them."""
    for place in (folder, audit_folder(clips)):
        if (report := read_report(place, clips.fingerprint)) is not None:
            return report.groups
    return audit_clips(clips, quick=True).groups
