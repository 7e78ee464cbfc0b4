"""signlib.suspects: a clip among another gloss's clips is named, with what it lies beside; clips of few are not judged."""

import json

import numpy as np
import pytest

from signlib import audit_clips, load_clips
from signlib.checks import LIMITS
from signlib.sample import make_sample
from signlib.suspects import NEIGHBOURS, embedder, find_suspects

LIMIT = 0.7


def clouds(sizes, seed=0, apart=10.0):
    """({id: row}, {id: gloss}) of one cloud a gloss, `sizes` clips each, far from each other."""
    rng, rows, glosses = np.random.default_rng(seed), {}, {}
    for gloss, size in sizes.items():
        centre = apart * rng.normal(size=96)
        for _ in range(size):
            video_id = f"{len(rows):03d}"
            rows[video_id], glosses[video_id] = (centre + rng.normal(size=96)).astype(np.float16), gloss
    return rows, glosses


@pytest.mark.parametrize("seed", range(5))
def test_planted_wrong_labels_are_found_and_no_others(seed):
    rows, truth = clouds({"book": 25, "drink": 25, "tea": 25}, seed)
    glosses = dict(truth)
    rng = np.random.default_rng(seed)
    wrong = [f"{first + rng.integers(25):03d}" for first in (0, 25, 50)]
    for video_id in wrong:
        glosses[video_id] = next(gloss for gloss in ("book", "drink", "tea") if gloss != truth[video_id])
    table = find_suspects(rows, glosses, [], LIMIT)
    assert list(table.columns) == ["clip", "gloss", "looks_like", "share", "neighbours"]
    assert sorted(table["clip"]) == wrong
    for row in table.itertuples():
        assert (row.gloss, row.looks_like) == (glosses[row.clip], truth[row.clip])
        near = sorted((v for v in rows if v != row.clip), key=lambda v: np.linalg.norm(rows[v] - rows[row.clip].astype(float)))
        assert set(row.neighbours) <= {v for v in truth if truth[v] == truth[row.clip]} - {row.clip}
        assert len(row.neighbours) == NEIGHBOURS and set(near[:3]) & set(row.neighbours[:6])
        assert row.share == sum(glosses[v] == row.looks_like for v in row.neighbours) / NEIGHBOURS
    assert table.share.is_monotonic_decreasing


def test_nothing_depends_on_the_order_of_the_clips():
    rows, glosses = clouds({"book": 20, "drink": 20, "tea": 20})
    glosses["003"], glosses["030"], glosses["044"] = "drink", "book", "book"
    for video_id in list(rows):  # each twice, so that neighbours are equally far
        rows[f"{video_id}x"], glosses[f"{video_id}x"] = rows[video_id], glosses[video_id]
    first = find_suspects(rows, glosses, [], LIMIT)
    again = find_suspects(dict(reversed(rows.items())), dict(reversed(glosses.items())), [], LIMIT)
    assert len(first) == 6 and first.equals(again)


def test_clips_that_sit_between_two_glosses_are_not_suspect():
    rows, glosses = clouds({"book": 20, "drink": 20})
    middle = (np.float64(rows["000"]) + rows["039"]) / 2
    rows["x"], glosses["x"] = middle.astype(np.float16), "book"
    assert find_suspects(rows, glosses, [], LIMIT).empty
    rows["y"], glosses["y"] = rows["039"], "sun"
    rows["z"], glosses["z"] = rows["038"], "sun"  # beside each other, and no third one
    assert set(find_suspects(rows, glosses, [], LIMIT)["clip"]) == {"y", "z"}


def test_duplicates_are_no_evidence_for_each_other():
    rows, glosses = clouds({"book": 20, "drink": 20})
    group = [f"dup{i:02d}" for i in range(15)]
    rng = np.random.default_rng(9)
    for video_id in group:  # fifteen times one recording among the books, called drink
        rows[video_id], glosses[video_id] = rows["000"] + np.float16(0.01) * rng.normal(size=96).astype("f2"), "drink"
    assert find_suspects(rows, glosses, [], LIMIT)["clip"].tolist() == ["000"]  # as if the one book were wrong
    found = find_suspects(rows, glosses, [group], LIMIT)
    assert set(group) <= set(found["clip"])
    for row in found[found["clip"].isin(group)].itertuples():
        assert not set(row.neighbours) & set(group) and len(row.neighbours) == NEIGHBOURS


@pytest.mark.parametrize("sizes", [{"book": 5, "drink": 5}, {"book": 10}, {}, {"book": 1}])
def test_of_few_clips_nothing_is_said(sizes):
    rows, glosses = clouds(sizes)
    glosses |= {"000": "drink"} if rows else {}
    table = find_suspects(rows, glosses, [], 0.1)
    assert table.empty and list(table.columns) == ["clip", "gloss", "looks_like", "share", "neighbours"]


def test_where_duplicates_leave_hardly_a_neighbour_nothing_is_said():
    rows, glosses = clouds({"book": 5, "drink": 9})
    assert find_suspects(rows, glosses, [[f"{i:03d}" for i in range(5, 14)]], LIMIT).empty


def test_glosses_of_a_handful_of_clips_are_never_evidence():
    rows, glosses = clouds({f"g{i}": 7 for i in range(12)})
    glosses["000"] = "g5"
    assert find_suspects(rows, glosses, [], LIMIT + 0.1).empty


@pytest.mark.parametrize("layout", ["1629", "126"])
def test_neither_place_nor_size_nor_speed_counts(make_frames, lay_out, layout):
    from signlib.preprocess import Preprocessor

    embed = embedder(layout, Preprocessor(landmarks="all", layout=layout).blocks)
    clip, other = (make_frames(31, seed) for seed in (1, 2))
    points = clip.reshape(31, 543, 3)
    slow = np.empty((61, 543, 3))
    slow[::2], slow[1::2] = points, (points[:-1] + points[1:]) / 2
    changed = (slow * [0.5, 0.5, 1] + [0.2, 0.1, 0]).reshape(61, 1629)
    rows = [embed(lay_out(frames, layout).astype(np.float32)) for frames in (clip, changed, other)]
    assert rows[0].dtype == np.float16 and rows[0].ndim == 1
    same, different = (np.abs(rows[0].astype(float) - row).mean() for row in rows[1:])
    assert same < 0.01 < 0.1 < different
    points = clip.copy().reshape(31, 543, 3)
    points[:, 13:15] += 0.1  # the elbows
    bent = embed(lay_out(points.reshape(31, 1629), layout).astype(np.float32))
    assert np.array_equal(rows[0], bent) == (layout == "126")


def test_an_audit_names_a_clip_with_the_wrong_label(tmp_path):
    folder = make_sample(tmp_path / "sample", glosses=3, clips_per_gloss=15)
    labels = folder.parent / "WLASL_v0.3.json"
    table = json.loads(labels.read_text())
    wrong = table[0]["instances"].pop(3)
    table[2]["instances"].append(wrong)  # "see", one hand, called "look", which is the other hand
    labels.write_text(json.dumps(table))
    clips = load_clips(folder)
    report = audit_clips(clips)
    assert wrong["video_id"] in set(report.suspects["clip"]) and len(report.suspects) <= 3
    row = report.findings[(report.findings["clip"] == wrong["video_id"]) & (report.findings.check == "suspect label")].iloc[0]
    assert (
        row.severity == "warning"
        and row.value.endswith("of its neighbours are see")
        and row.limit == LIMITS["suspect label"].care
    )
    assert report.verdicts[wrong["video_id"]] == "use with care"
    assert audit_clips(clips, quick=True).suspects.empty
    assert audit_clips(clips, limits="suspect label=1.1").suspects.empty
