"""benchmarks/corrupt.py plants what it says, in clips that it names, and benchmarks/audit.py counts it."""

import hashlib
import json

import numpy as np
import pytest

import signlib
from benchmarks import audit, corrupt
from benchmarks.corrupt import HANDS, KINDS, parts, plant, seen
from signlib.labels import LABELS_NAME

# Kinds that change the labels of clips and none of their values.
LABELS_ALONE = {"unlisted", "listed twice", "id of two glosses", "similar glosses", "signers cross", "suspect label"}


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """The folder of a small sample: seven glosses of 20 clips."""
    made = signlib.make_sample(tmp_path_factory.mktemp("made"), 7, 20)
    folder = tmp_path_factory.mktemp("clean") / "data"
    data = corrupt.Data(made)
    audit.link(made, folder, data.ids, data.table)
    corrupt.prepare(folder, "signers cross")
    return folder


@pytest.fixture
def corrupted(clean, tmp_path):
    """(kind, count, seed, name) -> (folder, planted): a kind planted into links to the clean files."""

    def plant_kind(kind, count=3, seed=3, name="data"):
        data = corrupt.Data(clean)
        audit.link(clean, tmp_path / name, data.ids, data.table)
        return tmp_path / name, plant(tmp_path / name, kind, count, seed)

    return plant_kind


def contents(folder):
    """Returns {name: what stands for the bytes of a file}: of a link which file it is, and when that was written."""
    stats = {path: path.stat() for path in folder.iterdir()}
    return {
        path.name: (stat.st_ino, stat.st_mtime_ns) if stat.st_nlink > 1 else hashlib.sha256(path.read_bytes()).hexdigest()
        for path, stat in stats.items()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_changes_the_clips_that_it_names_and_no_others(kind, clean, corrupted):
    corrupted("empty", name="links")  # so that each clean file has one
    before = contents(clean)
    folder, planted = corrupted(kind)
    after = contents(folder)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    named = {f"{fault.clip}.npy" for fault in planted if fault.clip}
    assert planted
    assert changed
    if kind in LABELS_ALONE:
        assert changed == {LABELS_NAME}
    elif kind in ("few clips", "imbalance"):
        assert not after.keys() - before.keys()
        assert len(after) < len(before)
    elif KINDS[kind].whole and kind != "missing file":  # copies
        assert changed - {LABELS_NAME} == after.keys() - before.keys()
        assert changed - {LABELS_NAME} <= named
    else:
        assert changed == named
    assert contents(clean) == before, "the files that it was linked to"
    again, planted_again = corrupted(kind, name="again")
    assert planted == planted_again
    assert after == contents(again), "the same seed plants the same bytes"


def test_another_seed_plants_in_other_clips(corrupted):
    for kind in ("unreadable", "jump and back", "unlisted", "copy trimmed"):
        one, other = (corrupted(kind, seed=seed, name=f"{kind} {seed}")[1] for seed in (3, 4))
        assert {fault.clip for fault in one} != {fault.clip for fault in other}


def test_weaker_and_stronger_faults_are_planted_alike(corrupted):
    for kind in ("short", "jump and back", "copy trimmed"):
        _, planted = corrupted(kind, 5, name=kind)
        assert [fault.strength for fault in planted] == [0, 0.25, 0.5, 0.75, 1]


def unlike(one, other):
    return (one != other) & ~(np.isnan(one) & np.isnan(other))


def changes(kind, clean, corrupted):
    """Yields (frames before, frames after, both as parts) of the clips of a kind."""
    folder, planted = corrupted(kind, 8)
    for fault in planted:
        name = fault.partners[0] if fault.partners else fault.clip
        before, after = np.load(clean / f"{name}.npy"), np.load(folder / f"{fault.clip}.npy")
        yield before, after, parts(before, "1629"), parts(after, "1629")


def test_a_hand_that_jumps_lands_two_shoulder_widths_away_and_comes_back_or_stays(clean, corrupted):
    for kind in ("jump and back", "jump, stays"):
        for before, after, was, now in changes(kind, clean, lambda k, n: corrupted(k, n, name=k)):
            moved = {hand: np.flatnonzero(unlike(was[hand], now[hand]).any(axis=(1, 2))) for hand in HANDS}
            (hand,) = [hand for hand in HANDS if len(moved[hand])]
            (when,) = [moved[hand]]
            step = np.linalg.norm((now[hand] - was[hand])[when[0], 0, :2])
            assert step >= 1.99 * corrupt.shoulders(was)
            assert not unlike(np.delete(after, when, axis=0), np.delete(before, when, axis=0)).any()
            if kind == "jump and back":
                assert len(when) <= 4
                assert when[-1] < len(before) - 1
            else:
                assert when[-1] == np.flatnonzero(seen(was[hand]).any(axis=1))[-1]


def test_hands_are_swapped_for_a_stretch_and_nothing_else(clean, corrupted):
    for before, _, was, now in changes("swapped in mid-clip", clean, corrupted):
        swapped = unlike(was["left_hand"], now["left_hand"]).any(axis=(1, 2))
        assert 3 <= swapped.sum() <= len(before) / 2 + 1
        assert not unlike(now["left_hand"][swapped], was["right_hand"][swapped]).any()
        assert not unlike(now["right_hand"][swapped], was["left_hand"][swapped]).any()
        assert not unlike(now["pose"], was["pose"]).any()


def test_a_mirrored_clip_is_turned_round_where_something_is_seen(clean, corrupted):
    for _, _, was, now in changes("mirrored", clean, corrupted):
        for block, part in was.items():
            there = seen(part)
            assert np.allclose(now[block][there, 0], 1 - part[there, 0])
            assert np.array_equal(now[block][~there], part[~there], equal_nan=True)


def test_a_mirrored_copy_has_its_left_hand_where_the_right_one_was(clean, corrupted):
    for _, _, was, now in changes("copy mirrored", clean, corrupted):
        there = seen(was["right_hand"])
        assert np.allclose(now["left_hand"][there, 0], 1 - was["right_hand"][there, 0])
        assert np.allclose(now["pose"][seen(was["pose"])[:, 12], 11, 0], 1 - was["pose"][seen(was["pose"])[:, 12], 12, 0])


def test_an_order_keeps_the_values_of_a_frame_and_moves_them(clean, corrupted):
    for kind in ("order: hands", "order: blocks", "order: axes"):
        for before, after, _, _ in changes(kind, clean, lambda k, n: corrupted(k, n, name=k.replace(":", ""))):
            assert not unlike(np.sort(before, axis=1), np.sort(after, axis=1)).any()
            assert unlike(before, after).any()


def test_copies_do_not_give_themselves_away_by_their_url(corrupted):
    folder, planted = corrupted("copy trimmed")
    table = json.loads((folder / LABELS_NAME).read_text())
    urls = {i["video_id"]: i["url"] for word in table for i in word["instances"]}
    assert all(urls[fault.clip] != urls[fault.partners[0]] for fault in planted)
    folder, planted = corrupted("same url and frames", name="same")
    table = json.loads((folder / LABELS_NAME).read_text())
    urls = {i["video_id"]: (i["url"], i["frame_start"], i["frame_end"]) for word in table for i in word["instances"]}
    assert all(urls[fault.clip] == urls[fault.partners[0]] for fault in planted)


def test_faults_are_planted_in_clips_of_hands_alone(tmp_path):
    rng = np.random.default_rng(0)
    table = [
        {"gloss": g, "instances": [{"video_id": f"{g}{i}", "split": "train"} for i in range(6)]} for g in ("book", "drink")
    ]
    for instance in (i for word in table for i in word["instances"]):
        start = np.repeat(rng.uniform([[0.6, 0.4, 0], [0.2, 0.4, 0]], [[0.7, 0.6, 0.1], [0.3, 0.6, 0.1]]), 21, axis=0)
        hands = start + rng.normal(0, 0.03, (42, 3)) + rng.normal(0, 0.002, (24, 42, 3)).cumsum(axis=0)
        np.save(tmp_path / f"{instance['video_id']}.npy", hands.reshape(24, 126).astype("f4"))
    (tmp_path / LABELS_NAME).write_text(json.dumps(table))
    assert not KINDS["mirrored"].is_exact("126")
    assert KINDS["mirrored"].is_exact("258")
    assert not plant(tmp_path, "order: blocks", 2)
    for kind in ("jump and back", "swapped in mid-clip", "order: hands", "copy mirrored"):
        assert len(plant(tmp_path, kind, 2)) == 2, kind


def test_the_benchmark_counts_what_was_found_what_was_missed_and_what_was_flagged_besides(clean, tmp_path):
    few = audit.link_subset(clean, tmp_path / "few", 24, 0)
    before = audit.audit(few, quick=True)
    planted = plant(few, "empty", 4)
    after = audit.audit(few, quick=True)
    count = audit.compare("empty", planted, before, after, 24)
    assert (count.planted, count.found, count.false, count.clean) == (4, 4, 0, 20)
    count = audit.compare("empty", planted[:3], before, after, 24)
    assert (count.planted, count.found, count.false, count.clean) == (3, 3, 1, 21)
    count = audit.compare("empty", planted, before, before, 24)
    assert (count.found, len(count.misses), count.holds()) == (0, 4, False)
    count = audit.compare("empty", planted, before, "InputError: refused", 24)
    assert (count.planted, count.found) == (4, 0)


def test_a_subset_for_the_benchmark_keeps_whole_glosses_and_links_files(clean, tmp_path):
    folder = audit.link_subset(clean, tmp_path / "some", 40, 0)
    data = corrupt.Data(folder)
    assert len(data.ids) == 40
    assert {len(word["instances"]) for word in data.table} == {8}
    assert data.path(data.ids[0]).stat().st_nlink > 1
