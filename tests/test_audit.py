"""signlib.audit: what is wrong with a folder is found where it is, and said with what to do; clean clips are not flagged."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

import signlib.audit
from signlib import InputError, audit_clips, load_clips
from signlib.audit import main
from signlib.checks import LIMITS
from signlib.sample import make_sample

GLOSSES = {f"001{i:02d}": "book" if i % 2 else "drink" for i in range(12)}
LEFT, RIGHT, FACE = slice(1503, 1566), slice(1566, 1629), slice(99, 1503)
HANDS = slice(1503, 1629)
VICTIM = "00103"
LABELS = "WLASL_v0.3.json"


@pytest.fixture(scope="session")
def clean(tmp_path_factory, write_clips):
    """A folder of twelve good clips of two glosses, not to be changed."""
    return write_clips(tmp_path_factory.mktemp("clean") / "clips", GLOSSES, length=20)


@pytest.fixture
def folder(clean, tmp_path):
    """The same, to be changed."""
    return shutil.copytree(clean, tmp_path / "clips")


def audit(folder, **arguments):
    """The report of a folder; by default without the search for copies and suspect labels."""
    return audit_clips(load_clips(folder, max_bad_share=1.0), **({"quick": True} | arguments))


def damage(folder, change, video_id=VICTIM, **arguments):
    """Rewrites one clip as what `change(frames)` returns; returns the report of the folder."""
    path = folder / f"{video_id}.npy"
    np.save(path, change(np.load(path)))
    return audit(folder, **arguments)


def edit(folder, change):
    """Rewrites each entry {video_id, signer_id, split} of the labels as `change(gloss, entry)` returns it: a list of
    (gloss, entry)."""
    old = json.loads((folder / LABELS).read_text())
    pairs = [pair for word in old for entry in word["instances"] for pair in change(word["gloss"], entry)]
    table = {gloss: [] for gloss, _ in pairs}
    for gloss, entry in pairs:
        table[gloss].append(entry)
    (folder / LABELS).write_text(json.dumps([{"gloss": gloss, "instances": found} for gloss, found in table.items()]))


def found(report):
    return {(row.clip, row.check, row.severity) for row in report.findings.itertuples()}


def values(report, check):
    """{clip: value} of the findings of a check."""
    rows = report.findings[report.findings.check == check]
    assert rows["clip"].is_unique
    return dict(zip(rows["clip"], rows.value, strict=True))


def put(where, value):
    def change(frames):
        frames[where] = value
        return frames

    return change


def scatter(share, value):
    def change(frames):
        frames[np.random.default_rng(0).random(frames.shape) < share] = value
        return frames

    return change


def exchange(frames):
    frames[8:12, LEFT], frames[8:12, RIGHT] = frames[8:12, RIGHT], frames[8:12, LEFT].copy()
    return frames


def flip(frames):
    frames[:, 0::3] = 1 - frames[:, 0::3]
    return frames


# One clip


def test_clean_clips_are_not_flagged(clean):
    report = audit(clean)
    assert report.findings.empty and report.fit == "yes"
    assert list(report.findings.columns) == ["clip", "check", "severity", "value", "limit", "advice"]
    assert report.verdicts == dict.fromkeys(GLOSSES, "use")
    assert (report.groups, report.sizes, report.quick) == ([], {"book": 6, "drink": 6}, True)
    assert report.summary().startswith("Fit to train on: yes\n12 clips: 12 use, 0 use with care, 0 leave out\n2 glosses")


@pytest.mark.parametrize(
    ("change", "check", "severity"),
    [
        (lambda frames: frames[:6], "short", "warning"),
        (lambda frames: frames[:2], "short", "error"),
        (lambda frames: frames * 0, "empty", "error"),
        (scatter(0.02, np.nan), "non-finite", "warning"),
        (scatter(0.5, np.inf), "non-finite", "error"),
        (put((slice(0, 16), HANDS), 0), "hands missing", "warning"),
        (lambda frames: np.repeat(frames[:1], 20, axis=0), "frozen", "error"),
        (lambda frames: frames * np.float32(640), "outside", "error"),
        (exchange, "swapped hands", "warning"),
        (lambda frames: np.concatenate([frames[:10], frames[10:] + put((slice(None), LEFT), 0.5)(0 * frames[10:])]), "jumps",
         "warning"),
        (lambda frames: frames.astype(np.float64), "float64", "note"),
        (lambda frames: frames[:, :1000], "layout", "error"),
        (lambda frames: np.array([{"a": 1}]), "file", "error"),
    ],
)  # fmt: skip
def test_a_planted_fault_is_found_in_its_clip_alone(folder, change, check, severity):
    report = damage(folder, change)
    assert found(report) == {(VICTIM, check, severity)}
    expected = {"note": "use", "warning": "use with care", "error": "leave out"}[severity]
    assert report.verdicts == dict.fromkeys(GLOSSES, "use") | {VICTIM: expected}
    assert report.fit == ("yes" if severity == "note" else "with care")
    assert report.findings.advice[0]
    assert report.sizes == {"book": 5 if severity == "error" else 6, "drink": 6}


@pytest.mark.filterwarnings("ignore:.*of 12 clips that were looked at:UserWarning")
def test_values_in_another_order_are_left_out(folder, lay_out):
    report = damage(folder, lambda frames: lay_out(frames, "543").reshape(len(frames), 1629))
    assert (VICTIM, "order", "error") in found(report)
    assert values(report, "order") == {VICTIM: "fits layout 543"} and report.verdicts[VICTIM] == "leave out"


@pytest.mark.filterwarnings("ignore:in .* the left shoulder stands to the left:UserWarning")
@pytest.mark.parametrize("odd", [1, 11])
def test_clips_that_are_mirrored_unlike_most_are_named(folder, odd):
    for video_id in list(GLOSSES)[:odd]:
        report = damage(folder, flip, video_id)
    named = list(GLOSSES)[:1] if odd == 1 else list(GLOSSES)[11:]
    assert values(report, "mirrored") == {named[0]: "mirrored" if odd == 1 else "not mirrored"}
    assert {severity for clip, check, severity in found(report)} == {"warning"}
    assert report.findings.limit[0] == "11 of 12 clips are not so"


def test_clips_that_are_all_mirrored_are_alike(folder):
    for video_id in GLOSSES:
        np.save(folder / f"{video_id}.npy", flip(np.load(folder / f"{video_id}.npy")))
    with pytest.warns(UserWarning, match="in 12 of 12 clips"):
        assert audit(folder).findings.empty


def test_the_table_has_a_row_a_readable_clip(folder):
    def change(frames):
        frames = frames[:20]
        frames[:5, LEFT] = 0
        frames[:8, RIGHT] = np.nan
        frames[:, FACE] = 0
        return frames

    (folder / "00104.npy").write_bytes(b"")
    table = damage(folder, change).clips
    assert table.video_id.tolist() == [video_id for video_id in GLOSSES if video_id != "00104"]
    row = table.set_index("video_id").loc[VICTIM]
    assert (row.gloss, row.signer, row.split, row.frames, row.nonfinite) == ("book", 7, "train", 20, 0)
    assert (row.left_hand, row.right_hand, row.pose, row.face, row.both_hands) == (0.25, 0.4, 0, 1, 0.25)


def test_the_pictures_numbers_are_counted_over_all_clips(clean, folder):
    def change(frames):
        frames = np.resize(frames, (20, 1629))
        frames[:10, HANDS] = 0
        frames[10:, 1503:1505] = 0.92, -0.28  # the left wrist: right and above the picture
        return frames

    before, after = audit(clean), damage(folder, change)
    assert after.missing.index[[0, 19]].tolist() == [0.025, 0.975] and (before.missing == 0).all(axis=None)
    assert after.missing.both_hands.tolist() == after.missing.left_hand.tolist() == [1 / 12] * 10 + [0] * 10
    assert list(after.missing.columns) == ["left_hand", "right_hand", "pose", "face", "both_hands"]
    total = before.clips.frames.sum()
    assert before.places["left_hand"].shape == (40, 40) and before.places["left_hand"].sum() == total
    assert after.places["left_hand"][4, 28] == 10 and before.places["left_hand"][4, 28] == 0  # rows y, columns x
    assert after.places["right_hand"].sum() == total - before.clips.set_index("video_id").frames[VICTIM] + 10


def test_a_layout_without_a_face_has_no_row_of_it(tmp_path, write_tree, make_frames, lay_out):
    clips = {f"{g}/{i}.npy": lay_out(make_frames(12, i + 9 * (g == "a")), "126").astype("f4") for g in "ab" for i in range(5)}
    report = audit(write_tree(tmp_path, clips))
    assert found(report) == set()
    assert list(report.missing.columns) == ["left_hand", "right_hand", "both_hands"] and report.clips.face.isna().all()


def test_what_load_clips_left_out_or_found_odd_is_a_finding(folder, lay_out):
    (folder / "00101.npy").write_bytes(b"no array")
    (folder / "00102.npy").rename(folder / "99999.npy")
    np.save(folder / "00104.npy", lay_out(np.load(folder / "00104.npy"), "126"))

    def change(gloss, entry):
        twice = {"00105": [(gloss, entry)], "00106": [("pen", entry)]}
        return [(gloss, entry), *twice.get(entry["video_id"], [])]

    edit(folder, change)
    report = audit(folder)
    assert found(report) == {
        ("00101", "file", "error"),
        ("99999", "unlisted", "note"),
        ("00102", "missing", "note"),
        ("00104", "layout", "error"),
        ("00105", "listed twice", "warning"),
        ("00106", "label", "error"),
        ("", "few clips", "warning"),
    }
    assert "is not a .npy array" in values(report, "file")["00101"]
    assert values(report, "label") == {"00106": "the labels give it 2 glosses: drink, pen"}
    assert values(report, "few clips") == {"": "drink: 3"}
    left = {video_id for video_id, verdict in report.verdicts.items() if verdict == "leave out"}
    assert left == {"00101", "00104", "00106"} and report.verdicts["00105"] == "use with care"
    assert not {"00102", "99999"} & set(report.verdicts)  # one has no file, one no label
    last = [line.split(":")[0].strip() for line in report.summary().splitlines()[-2:]]
    assert last == ["1 missing (note)", "1 unlisted (note)"]  # what harms no one


def test_what_is_no_text_in_the_labels_is_written_as_its_escape(folder, tmp_path):
    table = json.loads((folder / LABELS).read_text())
    table[0]["instances"] += [{"video_id": "a\ud800"}]  # labelled, but there is no such file
    table[0]["instances"][0]["split"] = "x\ud800"
    (folder / LABELS).write_text(json.dumps(table))
    shutil.copyfile(folder / "00100.npy", folder / "00102.npy")  # identical, and on both sides of a split
    clips = load_clips(folder)
    assert "a\\ud800" in {problem.video_id for problem in clips.problems}
    written = audit_clips(clips, quick=True).save(tmp_path).read_text(encoding="utf-8")
    assert "train, x\\ud800" in written
    assert {finding["clip"] for finding in json.loads(written)["findings"]} == {"00100", "00102", "a\\ud800"}
    assert "train, x\\ud800" in (tmp_path / "audit.csv").read_text(encoding="utf-8")


def test_a_file_that_breaks_after_listing_is_a_finding(folder):
    clips = load_clips(folder)
    (folder / f"{VICTIM}.npy").unlink()
    (folder / "00104.npy").write_bytes((folder / "00104.npy").read_bytes()[:5000])
    np.save(folder / "00105.npy", np.zeros((20, 12)))
    report = audit_clips(clips, quick=True)
    assert found(report) == {(v, "file", "error") for v in (VICTIM, "00104", "00105")} | {("", "few clips", "warning")}
    assert len(report.clips) == 9
    for path in folder.glob("*.npy"):
        path.unlink()
    assert audit_clips(clips, quick=True).summary().startswith("Fit to train on: no: 0 glosses")


# Several ids of one recording


def test_identical_clips_are_grouped_and_flagged_where_they_harm(folder):
    edit(folder, lambda gloss, entry: [(gloss, entry | {"split": "test" if entry["video_id"] == "00107" else "train"})])
    for source, copy in (("00100", "00102"), ("00101", "00104"), ("00103", "00107")):
        shutil.copy(folder / f"{source}.npy", folder / f"{copy}.npy")
    report = audit(folder)
    assert report.groups == [["00100", "00102"], ["00101", "00104"], ["00103", "00107"]]
    assert {row for row in found(report) if row[0] and row[1] != "signers cross"} == {
        ("00100", "copy", "note"),
        ("00102", "copy", "note"),
        ("00101", "two glosses", "error"),
        ("00104", "two glosses", "error"),
        ("00103", "crosses splits", "warning"),
        ("00107", "crosses splits", "warning"),
    }
    assert values(report, "two glosses")["00101"].startswith("book, drink; of 00104: identical")
    assert values(report, "two glosses")["00104"].startswith("book, drink; of 00101: identical")
    assert values(report, "crosses splits")["00107"].startswith("test, train; of 00103")
    assert values(report, "copy")["00102"].startswith("of 00100: identical")
    verdicts = {v: report.verdicts[v] for v in ("00100", "00102", "00101", "00104", "00103", "00107")}
    assert list(verdicts.values()) == ["use", "use", "leave out", "leave out", "use with care", "use with care"]


def test_a_recording_that_is_on_both_sides_with_two_glosses_is_both(folder):
    edit(folder, lambda gloss, entry: [(gloss, entry | {"split": "test" if entry["video_id"] == "00104" else "train"})])
    shutil.copy(folder / "00101.npy", folder / "00104.npy")
    assert {row for row in found(audit(folder)) if row[0]} == {
        (clip, *rest) for clip in ("00101", "00104") for rest in (("two glosses", "error"), ("crosses splits", "warning"))
    }


def test_a_copy_that_the_labels_put_nowhere_crosses_nothing(folder):
    edit(folder, lambda gloss, entry: [(gloss, entry | {"split": "" if entry["video_id"] == "00102" else "train"})])
    shutil.copy(folder / "00100.npy", folder / "00102.npy")
    assert found(audit(folder)) == {("00100", "copy", "note"), ("00102", "copy", "note")}


def test_the_same_values_in_another_order_in_memory_are_identical_other_types_are_not(folder):
    frames = np.load(folder / "00100.npy")
    np.save(folder / "00102.npy", np.asfortranarray(frames))
    np.save(folder / "00104.npy", frames.astype(np.float64))
    np.save(folder / "00106.npy", frames[:-1])
    assert audit(folder).groups == [["00100", "00102"]]


def test_hard_links_are_identical_what_differs_in_one_number_is_not(folder):
    for copy in ("00102", "00104"):
        (folder / f"{copy}.npy").unlink()
        (folder / f"{copy}.npy").hardlink_to(folder / "00100.npy")
    assert audit(folder).groups == [["00100", "00102", "00104"]]
    frames = np.load(folder / "00100.npy")
    frames[3, 1600] += 1e-6
    np.save(folder / "00106.npy", frames)
    assert audit(folder).groups == [["00100", "00102", "00104"]]


@pytest.mark.parametrize("quick", [True, False])
def test_many_clips_are_looked_at_in_many_processes_and_the_report_is_the_same(folder, tmp_path, monkeypatch, quick):
    shutil.copy(folder / "00101.npy", folder / "00104.npy")
    damage(folder, scatter(0.1, np.nan))
    clips = load_clips(folder)
    (folder / "00105.npy").write_bytes(b"torn")
    one = audit_clips(clips, quick=quick)
    monkeypatch.setattr(signlib.audit, "MANY", 12)
    many = audit_clips(clips, quick=quick)
    assert one.save(tmp_path / "one").read_bytes() == many.save(tmp_path / "many").read_bytes()
    assert one.clips.equals(many.clips) and one.missing.equals(many.missing) and one.suspects.equals(many.suspects)
    assert {hand: counts.tolist() for hand, counts in one.places.items()} == {
        hand: counts.tolist() for hand, counts in many.places.items()
    }
    assert many.groups == [["00101", "00104"]] and ("00105", "file", "error") in found(many)


def test_the_command_works_for_many_clips_too(clean, tmp_path):
    frames = clean / "00100.npy"
    for number in range(2000):
        folder = tmp_path / "clips" / ("book" if number % 2 else "tea")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.npy").hardlink_to(frames)
    command = [sys.executable, "-m", "signlib.audit", str(tmp_path / "clips"), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "audit: 2,000 of 2,000 clips read" in done.stdout and "2000 two glosses" in done.stdout, done.stderr
    assert (done.returncode, done.stderr) == (1, "")


def test_one_recording_by_url_and_frames_is_grouped_whatever_its_values(folder):
    spans = {
        "00100": ("x://a", 1, 50), "00102": ("x://a", 1, 50), "00104": ("x://a", 51, 99), "00106": ("x://b", 1, 50),
        "00108": (" x://a ", "1", "50"), "00107": ("local", 1, 50), "00109": ("local", 1, 50),
        "00110": ("", 1, 50), "00101": ("", 1, 50), "00103": (None, 1, 50), "00105": (None, 1, 50),
    }  # fmt: skip

    def change(gloss, entry):
        if entry["video_id"] not in spans:
            return [(gloss, entry)]
        return [(gloss, entry | dict(zip(("url", "frame_start", "frame_end"), spans[entry["video_id"]], strict=True)))]

    edit(folder, change)
    report = audit(folder)
    assert report.groups == [["00100", "00102", "00108"]]
    assert found(report) == {(video_id, "copy", "note") for video_id in report.groups[0]}


def test_groups_that_share_a_clip_are_one(folder):
    shutil.copy(folder / "00102.npy", folder / "00104.npy")
    shutil.copy(folder / "00106.npy", folder / "00111.npy")
    joined = {"00100": "a", "00102": "a", "00104": "b", "00106": "b", "00108": "c", "00110": "c"}
    span = {"frame_start": 1, "frame_end": 9}
    edit(
        folder,
        lambda gloss, entry: [
            (gloss, entry | (span | {"url": "x://" + joined[v]} if (v := entry["video_id"]) in joined else {}))
        ],
    )
    report = audit(folder)
    assert report.groups == [["00100", "00102", "00104", "00106", "00111"], ["00108", "00110"]]
    assert {clip for clip, check, _ in found(report) if check == "two glosses"} == set(report.groups[0])
    assert [row[1:] for row in found(report) if row[0] == "00110"] == [("copy", "note")]


def test_empty_clips_are_no_copies_of_each_other(folder):
    for video_id in ("00102", "00103"):
        np.save(folder / f"{video_id}.npy", np.zeros((20, 1629), np.float32))
    report = audit(folder)
    assert report.groups == []
    assert found(report) == {("00102", "empty", "error"), ("00103", "empty", "error")}


# Labels and coverage


@pytest.mark.parametrize(
    ("a", "b", "severity"),
    [
        ("Thank you", "thank you", "warning"),
        ("thank you", "thankyou", "warning"),
        ("thank-you", "thank_you", "warning"),
        ("café", "cafe\u0301", "warning"),  # one letter, or two that are drawn as one
        ("café", "cafe", "warning"),
        ("cat", "CAT!", "warning"),
        ("believe", "bolieva", None),  # two letters
        ("believe", "beleive", "note"),  # one that stands elsewhere
        ("appointment", "apointment", "note"),
        ("appointment", "appointments", "note"),
        ("appointment", "appaintment", "note"),
        ("mother", "mather", "note"),
        ("hello", "hallo", None),
        ("cat", "car", None),
        ("cat", "cats", None),
        ("twenty1", "twenty2", "note"),
        ("!", "?", None),
        ("本", "木", None),
    ],
)  # fmt: skip
def test_glosses_that_may_be_one_are_named(folder, a, b, severity):
    edit(folder, lambda gloss, entry: [(a if gloss == "book" else b, entry)])
    report = audit(folder)
    assert found(report) == ({("", "similar glosses", severity)} if severity else set())
    if severity:
        assert values(report, "similar glosses")[""] in (f"{a!r} and {b!r}", f"{b!r} and {a!r}")
    assert audit(folder, limits="similar glosses=0").findings.empty == (severity != "warning")


def rename(folder, counts):
    """Gives the clips glosses in turn: {gloss: clips}; what is left over leaves the folder."""
    glosses = [gloss for gloss, count in counts.items() for _ in range(count)]
    of = dict(zip(GLOSSES, glosses, strict=False))
    for video_id in GLOSSES.keys() - of.keys():
        (folder / f"{video_id}.npy").unlink()
    edit(folder, lambda gloss, entry: [(of[entry["video_id"]], entry)] if entry["video_id"] in of else [])
    return folder


def test_glosses_with_too_few_clips_are_named(folder):
    report = audit(rename(folder, {"a": 5, "b": 4, "c": 1}))
    rows = report.findings[report.findings.check == "few clips"]
    assert sorted(zip(rows.value, rows.severity, rows.limit, strict=True)) == [
        ("b: 4", "warning", 4),
        ("c: 1", "warning", 4),
    ]
    for video_id in list(GLOSSES)[9:10]:
        report = damage(folder, lambda frames: frames * 0, video_id)
    assert ("", "few clips", "error") in found(report) and report.sizes["c"] == 0


def test_a_gloss_with_many_times_as_many_clips_is_named(folder):
    report = audit(rename(folder, {"a": 8, "b": 2, "c": 2}))
    assert values(report, "imbalance") == {}
    report = audit(folder, limits="imbalance=4; few clips=0")
    assert found(report) == {("", "imbalance", "warning")}
    assert values(report, "imbalance") == {"": "a: 8, the middle gloss: 2"}


def test_signers_who_judge_and_are_learnt_from_are_counted(folder):
    def label(gloss, entry):
        number = int(entry["video_id"])
        split = {100: "val", 101: "val", 102: "test", 103: "test", 104: "val"}.get(number, "train")
        signer = {100: 50, 101: 7, 102: -1, 103: None, 104: "anna", 105: "anna", 106: -1}.get(number, 7)
        return [(gloss, entry | {"split": split, "signer_id": signer})]

    edit(folder, label)
    report = audit(folder)
    assert found(report) == {("", "signers cross", "warning")}
    assert values(report, "signers cross") == {"": "val: 2 of 3 clips, of 7, anna"}  # an unknown signer is nobody


def test_coverage_counts_what_is_labelled_is_there_and_can_be_used(folder):
    def label(gloss, entry):
        number = int(entry["video_id"])
        entry |= {"source": "site" if number < 106 else "", "split": "test" if number == 100 else "train"}
        more = [("pen", {"video_id": "90000", "signer_id": 3, "split": "val", "source": "other"})] if number == 100 else []
        return [(gloss, entry | {"signer_id": -1 if number > 109 else 7}), *more]

    edit(folder, label)
    (folder / "00101.npy").write_bytes(b"")
    (folder / "00103.npy").unlink()
    (folder / "88888.npy").write_bytes((folder / "00102.npy").read_bytes())
    table = damage(folder, lambda frames: frames * 0, "00105").coverage
    assert list(table.columns) == ["by", "name", "labelled", "files", "usable"]
    assert {(row.by, row.name): (row.labelled, row.files, row.usable) for row in table.itertuples(index=False)} == {
        ("gloss", "book"): (6, 5, 3),
        ("gloss", "drink"): (6, 6, 6),
        ("gloss", "pen"): (1, 0, 0),
        ("split", "test"): (1, 1, 1),
        ("split", "train"): (11, 10, 8),
        ("split", "val"): (1, 0, 0),
        ("signer", "3"): (1, 0, 0),
        ("signer", "7"): (10, 9, 7),
        ("signer", "unknown"): (2, 2, 2),
        ("source", "site"): (6, 5, 3),
        ("source", "other"): (1, 0, 0),
    }


# As a whole


def test_data_that_cannot_be_learnt_from_is_called_unfit(tmp_path, write_clips, folder):
    one_gloss = write_clips(tmp_path / "one", dict.fromkeys(GLOSSES, "book"), length=20)
    assert audit(one_gloss).fit.startswith("no: 1 gloss with 2")
    for number, video_id in enumerate(GLOSSES, 1):
        if number in (6, 7, 10):
            report = audit(folder)
            expected = {6: "with care", 7: "with care", 10: "no: 1 gloss with 2 or more usable clips, 2 are needed"}[number]
            assert report.fit == expected
        np.save(folder / f"{video_id}.npy", np.zeros((20, 1629), np.float32))
        if number == 7:
            assert audit(folder).fit == "no: 7 of 12 clips are to be left out"


def test_limits_can_be_changed_and_the_report_says_which_there_were(folder):
    np.save(folder / f"{VICTIM}.npy", np.load(folder / f"{VICTIM}.npy")[:6])
    report = audit(folder)
    table = report.limits.set_index("check")
    assert list(report.limits.columns) == ["check", "care", "leave_out", "reason"] and table.index.tolist() == list(LIMITS)
    assert table.care["short"] == 7 and table.reason.str.len().min() > 20
    report = audit(folder, limits="short=5; few clips=6")
    assert found(report) == {("", "few clips", "warning")} and len(report.findings) == 2
    table = report.limits.set_index("check")
    assert (table.care["short"], table.leave_out["short"], table.reason["short"]) == (5, 2, "set by LIMITS")
    assert audit(folder, limits={"short": (9, 6)}).verdicts[VICTIM] == "leave out"
    with pytest.raises(InputError, match="no limit 'shot'"):
        audit(folder, limits="shot=3")


def test_the_saved_report_has_the_same_bytes_whatever_the_order(folder, tmp_path):
    shutil.copy(folder / "00101.npy", folder / "00104.npy")
    damage(folder, scatter(0.1, np.nan))
    clips = load_clips(folder)
    first = audit_clips(clips)
    first.save(tmp_path / "a")
    clips.reverse()
    again = audit_clips(clips)
    path = again.save(tmp_path / "deep" / "b")
    assert first.clips.equals(again.clips) and first.coverage.equals(again.coverage)
    for name in ("audit.json", "audit.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (path.parent / name).read_bytes()
    saved = json.loads(path.read_text())
    assert saved["fingerprint"] == clips.fingerprint and not saved["quick"]
    assert saved["groups"] == [["00101", "00104"]]
    assert saved["verdicts"][VICTIM] == "use with care"
    assert [finding["clip"] for finding in saved["findings"]] == ["00101", VICTIM, "00104"]


def test_a_part_of_the_clips_can_be_audited(clean):
    report = audit_clips(load_clips(clean)[:3], quick=True)
    assert list(report.verdicts) == ["00100", "00101", "00102"] and report.fingerprint == ""
    assert report.coverage.labelled.max() == 3
    assert audit_clips([], quick=True).fit.startswith("no: 0 glosses")


@pytest.mark.parametrize("same_signer", [True, False])
def test_a_copy_that_is_cut_and_moved_is_found_unless_another_one_signs_or_the_audit_is_quick(tmp_path, same_signer):
    clips = load_clips(make_sample(tmp_path / "sample", glosses=2, clips_per_gloss=6))
    source = max((clip for clip in clips if clip.gloss == "see"), key=lambda clip: clip.num_frames)
    other = next(clip for clip in clips if clip.gloss == "hide" and (clip.signer == source.signer) == same_signer)
    frames = source.read()[3:]
    np.save(other.path, np.where(frames == 0, frames, frames * np.float32(0.9) + np.float32(0.03)))
    clips = load_clips(clips.folder)
    assert audit_clips(clips, quick=True).groups == []
    report = audit_clips(clips)
    rows = report.findings[report.findings.check == "two glosses"]
    if not same_signer:  # two people are no copies of each other, however alike they move
        assert report.groups == [] and rows.empty
        return
    assert report.groups == [sorted([source.video_id, other.video_id])]
    assert rows["clip"].tolist() == report.groups[0] and set(rows.severity) == {"warning"}  # nobody can be sure
    assert values(report, "two glosses")[other.video_id].startswith(f"hide, see; of {source.video_id}: ")
    assert report.verdicts[other.video_id] == "use with care"


def test_progress_is_said_where_it_takes_long(clean, capsys, monkeypatch):
    monkeypatch.setattr("signlib.audit.SHOW_EVERY", 5)
    audit(clean)
    assert capsys.readouterr().out == "audit: 5 of 12 clips read\naudit: 10 of 12 clips read\n"


# The command line


def test_the_command_says_what_the_report_says_and_whether_there_are_errors(folder, capsys, tmp_path):
    assert main([str(folder), "--quick"]) == 0
    out, err = capsys.readouterr()
    assert out == audit(folder).summary() + "\n" and err == ""
    damage(folder, lambda frames: frames[:6])
    assert main([str(folder), "--quick", "--save", str(tmp_path / "deep/report")]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "Fit to train on: with care"
    assert out.splitlines()[-1] == str(tmp_path / "deep/report/audit.json")
    assert json.loads((tmp_path / "deep/report/audit.json").read_text())["summary"] == out.splitlines()[:-1]
    assert (tmp_path / "deep/report/audit.csv").is_file()
    assert main([str(folder), "--quick", "--limits", "short=7,6"]) == 1
    assert "leave out" in capsys.readouterr().out


def test_the_command_takes_labels_and_layout(folder, tmp_path, capsys):
    (folder / LABELS).rename(tmp_path / "mine.json")
    assert main([str(folder), "--quick"]) == 2
    assert main([str(folder), "--quick", "--labels", str(tmp_path / "mine.json")]) == 0
    assert main([str(folder), "--quick", "--labels", str(tmp_path / "mine.json"), "--layout", "126"]) == 2
    assert main([str(folder), "--quick", "--labels", str(tmp_path / "mine.json"), "--layout", "1629"]) == 0
    assert "error: no labels" in capsys.readouterr().err


def test_many_bad_files_do_not_stop_the_command(folder, capsys):
    for video_id in list(GLOSSES)[:10]:
        (folder / f"{video_id}.npy").write_bytes(b"")
    assert main([str(folder), "--quick"]) == 1
    assert "10 file (error)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "error: no data folder at nowhere"),
        (["clips", "--limits", "shot=3"], "error: LIMITS: no limit 'shot'"),
        (["clips", "--layout", "77"], "error: layout is '77'"),
        (["clips", "--labels", "none.json"], "error: cannot read the labels none.json"),
        (["clips", "--save", "clips/00100.npy"], "error: "),
    ],
)
def test_what_cannot_be_audited_is_said_in_one_line(folder, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(folder.parent)
    assert main([*arguments, "--quick"]) == 2
    err = capsys.readouterr().err
    assert err.startswith(message) and err.count("\n") == 1


def test_the_command_runs_as_a_module_without_tensorflow(clean, tmp_path):
    code = (
        "import runpy, sys\n"
        "try:\n    runpy.run_module('signlib.audit', run_name='__main__', alter_sys=True)\n"
        "finally:\n    assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(clean), "--save", str(tmp_path)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Fit to train on: yes\n") and (tmp_path / "audit.json").is_file()


def test_labels_of_a_part_of_the_files_are_fit_to_train_on(folder):
    table = json.loads((folder / "WLASL_v0.3.json").read_text())
    keep = [{"gloss": word["gloss"], "instances": word["instances"][:2]} for word in table]
    keep[0]["instances"].append({"video_id": "00999"} | {"url": ""})
    (folder / "WLASL_v0.3.json").write_text(json.dumps(keep))
    report = audit(folder)
    assert len(report.verdicts) == 4 and set(report.verdicts.values()) == {"use"} and not report.fit.startswith("no")


def test_what_most_clips_have_is_one_finding_of_the_data_and_leaves_none_out(folder):
    for path in folder.glob("*.npy"):
        np.save(path, 640 * np.load(path))
    report = audit(folder)
    assert found(report) == {("", "outside", "warning")}
    assert values(report, "outside") == {"": f"{len(report.clips)} of {len(report.clips)} clips"}
    assert set(report.verdicts.values()) == {"use"}
