"""signlib.split: who learns from what, and who judges."""

import itertools
import json
import warnings

import numpy as np
import pytest

from signlib import InputError, class_names, load_clips, save_split, split_clips

# stratified and official


@pytest.mark.parametrize("seed", range(10))
def test_a_stratified_split_gives_each_gloss_a_clip_to_learn_and_one_to_judge(seed, make_clip, ids):
    rng = np.random.default_rng(seed)
    counts = {f"gloss{g}": int(rng.integers(1, 30)) for g in range(12)} | {"single": 1, "pair": 2, "ten": 10}
    marks = ["train", "val", "", "test"]
    clips = [
        make_clip(f"{g}-{i}", g, marks[rng.integers(4)] if i > 1 else "train") for g, n in counts.items() for i in range(n)
    ]
    share = float(rng.choice([0.1, 0.2, 0.5, 0.9]))
    train, val, test = split_clips(clips, validation_split=share, seed=seed)
    assert sorted(ids(train) + ids(val) + ids(test)) == sorted(ids(clips))
    assert set(ids(test)) == {clip.video_id for clip in clips if clip.split == "test"}
    for gloss in counts:
        total = sum(c.gloss == gloss and c.split != "test" for c in clips)
        judged = sum(c.gloss == gloss for c in val)
        assert sum(c.gloss == gloss for c in train) == total - judged
        assert 0 <= judged < total
        if total > 1:
            assert judged == min(total - 1, max(1, round(share * total)))
    assert class_names(train) == sorted(counts)
    shuffled = [clips[i] for i in rng.permutation(len(clips))]
    assert split_clips(shuffled, validation_split=share, seed=seed) == (train, val, test)
    assert ids(split_clips(clips, validation_split=share, seed=seed + 1)[1]) != ids(val)


def test_the_default_split_is_80_20(make_clip):
    clips = [make_clip(f"{g}-{i}", f"g{g}") for g in range(5) for i in range(20)]
    train, val, test = split_clips(clips)
    assert (len(train), len(val), len(test)) == (80, 20, 0)


def test_the_official_split_is_the_labels_own(make_clip, ids):
    marks = {"a1": "train", "a2": "val", "a3": "test", "b1": "train", "b2": "test"}
    clips = [make_clip(video_id, video_id[0], split) for video_id, split in marks.items()]
    with pytest.warns(UserWarning, match="VALIDATION_SPLIT = 0.2 is not used, nor is SPLIT_SEED") as said:
        train, val, test = split_clips(clips[::-1], "official")
    assert len(said) == 1
    assert (ids(train), ids(val), ids(test)) == (["a1", "b1"], ["a2"], ["a3", "b2"])


def test_the_official_split_says_which_clips_it_does_not_use(make_clip, ids):
    marks = {"a1": "train", "a2": "val", "a3": "", "a4": "dev", "b1": "val", "c1": "val"}
    clips = [make_clip(video_id, video_id[0], split) for video_id, split in marks.items()]
    with pytest.warns(UserWarning) as said:
        train, val, test = split_clips(clips, "official")
    assert (ids(train), ids(val), test) == (["a1"], ["a2"], [])
    told = [str(warning.message) for warning in said]
    assert any("2 clips are marked neither" in text for text in told)
    assert any("2 validation clips leave: no training clip of b, c" in text for text in told)
    assert {warning.filename for warning in said} == {__file__}


@pytest.mark.parametrize(
    ("marks", "strategy", "message"),
    [
        (["train", "train"], "official", "official split leaves no validation clip of 2 .*Set SPLIT to stratified"),
        (["val", "val"], "official", "official split leaves no training clip of 2"),
        (["test", "test"], "stratified", r"no training clip of 2 \(2 are marked test\)"),
        (["train", "test"], "stratified", "no validation clip of 2 .*two or more clips a gloss"),
        (
            ["train", "train"],
            "random",
            "split strategy is 'random'; expected one of stratified, official, signer, or a split's .json",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_split_with_an_empty_side_is_an_error(marks, strategy, message, make_clip):
    with pytest.raises(InputError, match=message):
        split_clips([make_clip(f"{i}", "book", mark) for i, mark in enumerate(marks)], strategy)


def test_no_strategy_trains_on_a_test_clip(folder, write_labels, ids, glosses):
    write_labels(folder / "WLASL_v0.3.json", glosses, {"05237": "test", "00456": "val", "60002": "val"})
    clips = load_clips(folder)
    assert ids(split_clips(clips)[2]) == ["05237"]
    with pytest.warns(UserWarning, match="VALIDATION_SPLIT"):
        assert [ids(side) for side in split_clips(clips, "official")] == [["00123", "60001"], ["00456", "60002"], ["05237"]]


# signer


def draw(make_clip, seed, signers=None, common=True):
    """Clips of 2 to 9 signers and a few glosses, a tenth of unknown signer, a tenth test; where `common`, every signer shows
    the gloss `all`, so that any division is possible."""
    rng, clips = np.random.default_rng(seed), []
    for signer in range(signers or int(rng.integers(2, 10))):
        glosses = ["all"] * (2 * common) + [f"g{rng.integers(5)}" for _ in range(rng.integers(1, 40))]
        clips += [(gloss, "train", 10 * signer) for gloss in glosses]
    for index in rng.permutation(len(clips))[: len(clips) // 10]:
        clips[index] = (clips[index][0], clips[index][1], -1) if rng.random() < 0.5 else (clips[index][0], "test", -1)
    clips += [("only test", "test", 3), ("all", "test", 0)]
    marks = ["train", "val", "", "dev"]  # which this strategy ignores
    made = [
        make_clip(f"{i:04d}", gloss, split if split == "test" else marks[rng.integers(4)], signer)
        for i, (gloss, split, signer) in enumerate(clips)
    ]
    return [made[i] for i in rng.permutation(len(made))]


def by_signer(clips, **arguments):
    """(train, val, test, warnings) of a split by signer."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        sides = split_clips(clips, "signer", **arguments)
    return *sides, [str(warning.message) for warning in said]


def best_of_all(clips, share):
    """The least cost of any division of the signers, by brute force: the validation clips without a training clip of their
    gloss, and the distance of the others from the share."""
    clips = [clip for clip in clips if clip.split != "test" and clip.signer != -1]
    signers = sorted({clip.signer for clip in clips})
    return min(
        cost([c for c in clips if c.signer not in judges], [c for c in clips if c.signer in judges], share)
        for count in range(1, len(signers))
        for judges in itertools.combinations(signers, count)
    )


def cost(train, val, share):
    learnt = {clip.gloss for clip in train}
    kept = sum(clip.gloss in learnt for clip in val)
    return len(val) - kept + abs(kept - share * (len(train) + len(val)))


@pytest.mark.parametrize("seed", range(20))
def test_no_signer_learns_and_judges_and_an_unknown_one_does_neither(make_clip, ids, seed):
    rng = np.random.default_rng(seed)
    clips, share = draw(make_clip, seed, common=seed % 3 > 0), float(rng.choice([0.1, 0.2, 0.35, 0.5, 0.8]))
    train, val, test, said = by_signer(clips, validation_split=share, seed=seed)
    assert train and val
    learners, judges = ({clip.signer for clip in side} for side in (train, val))
    assert not learners & judges and -1 not in learners | judges
    assert ids(test) == sorted(clip.video_id for clip in clips if clip.split == "test")
    assert not set(ids(train)) & set(ids(val)) and not set(ids(test)) & set(ids(train) + ids(val))
    assert set(class_names(val)) <= set(class_names(train))
    assert ids(train) == sorted(ids(train)) and ids(val) == sorted(ids(val))
    for clip in clips:  # all of a learner's clips learn, all of a judge's judge unless their gloss is not learnt
        if clip.split != "test" and clip.signer in learners:
            assert clip in train
        elif clip.split != "test" and clip.signer != -1:
            assert clip in val or clip.gloss not in class_names(train)
    unknown = sum(clip.signer == -1 and clip.split != "test" for clip in clips)
    assert any(text.startswith(f"{unknown} clips of unknown signer (-1) are not used") for text in said) == (unknown > 0)
    strange = sum(clip.split != "test" and clip.signer not in learners | {-1} for clip in clips) - len(val)
    assert any(f"{strange} validation clips leave" in text for text in said) == (strange > 0)


@pytest.mark.parametrize("seed", range(20))
def test_the_share_is_about_as_near_as_any_division_of_the_signers_comes(make_clip, seed):
    clips = draw(make_clip, seed)
    share = float(np.random.default_rng(seed).choice([0.1, 0.2, 0.35, 0.5, 0.8]))
    train = by_signer(clips, validation_split=share, seed=seed)[0]
    known = [clip for clip in clips if clip.split != "test" and clip.signer != -1]
    learners = {clip.signer for clip in train}
    taken = cost([c for c in known if c.signer in learners], [c for c in known if c.signer not in learners], share)
    assert taken <= best_of_all(clips, share) + 1


@pytest.mark.parametrize("seed", range(8))
def test_a_split_by_signer_depends_on_the_clips_and_the_seed_alone(make_clip, seed):
    clips = draw(make_clip, seed, signers=9)
    first = by_signer(clips, seed=seed)
    assert by_signer(clips[::-1], seed=seed) == first == by_signer(sorted(clips, key=lambda c: c.gloss), seed=seed)
    np.random.default_rng(seed).shuffle(clips)
    assert by_signer(clips, seed=seed) == first


def test_another_seed_may_choose_other_signers(make_clip, ids):
    clips = [make_clip(f"{signer}-{i}", "ab"[i % 2], signer=signer) for signer in range(10) for i in range(4)]
    chosen = {tuple(ids(split_clips(clips, "signer", seed=seed)[1])) for seed in range(10)}
    assert len(chosen) > 3
    assert {len(val) for val in chosen} == {8}


@pytest.mark.parametrize(("few", "many"), [(1, 100), (3, 10), (50, 50)])
@pytest.mark.parametrize("share", [0.01, 0.2, 0.9])
def test_of_two_signers_one_learns_and_one_judges(make_clip, few, many, share):
    clips = [make_clip(f"a{i}", "tea", signer=1) for i in range(few)]
    clips += [make_clip(f"b{i}", "tea", signer=2) for i in range(many)]
    train, val, test = split_clips(clips, "signer", validation_split=share)
    assert sorted([len(train), len(val)]) == [few, many] and test == []
    assert len(val) == min((few, many), key=lambda n: abs(n - share * (few + many)))


def test_the_only_signer_of_a_gloss_learns_though_another_is_farther_from_the_share(make_clip):
    clips = [make_clip(f"{s}-{g}-{i}", g, signer=s) for s in (1, 2, 3) for g in ("tea", "pen") for i in range(6)]
    clips += [make_clip(f"0-{g}-{i}", g, signer=0) for g in ("sun", "tea") for i in range(5)]
    for seed in range(10):
        train, val, _ = split_clips(clips, "signer", validation_split=10 / 46, seed=seed)  # and no warning
        assert class_names(train) == ["pen", "sun", "tea"] and class_names(val) == ["pen", "tea"]
        assert len(val) == 12 and 0 in {clip.signer for clip in train}


def test_a_division_that_is_possible_is_found(make_clip):
    clips = [make_clip(f"1-{i}", "ab"[i % 2], signer=1) for i in range(100)]
    clips += [make_clip(f"2-{i}", "ab"[i % 2], signer=2) for i in range(90)] + [make_clip("3", "c", signer=3)]
    train, val, _, _ = by_signer(clips)
    assert train and val


@pytest.mark.parametrize(
    ("signers", "who"),
    [
        ([5, 5, 5, 5], "one signer"),
        ([5, 5, -1, -1], "one signer"),
        ([-1, -1, -1, -1], "no signer: signer_id is -1 or missing"),
        ([-1], "no signer"),
    ],
)
def test_without_two_known_signers_it_is_said_that_it_cannot_be_done(make_clip, signers, who):
    clips = [make_clip(f"{i}", "ab"[i % 2], signer=signer) for i, signer in enumerate(signers)]
    test = [make_clip("t1", "a", "test", 8), make_clip("t2", "b", "test", 9)]  # test signers cannot help
    message = rf"SPLIT = 'signer' cannot be done: the labels of these {len(signers)} clips name {who}.*Set SPLIT to stratified"
    with pytest.raises(InputError, match=message):
        split_clips(clips + test, "signer")


def test_signers_who_share_no_gloss_leave_no_validation_clip(make_clip):
    clips = [make_clip(f"{s}{i}", f"g{s}", signer=s) for s in range(3) for i in range(4)]
    with pytest.warns(UserWarning, match="validation clips leave"), pytest.raises(InputError, match="no validation clip of 12"):
        split_clips(clips, "signer")


def test_the_warnings_of_a_split_by_signer_point_at_the_caller(make_clip):
    clips = [make_clip(f"{s}{i}", "tea", signer=s) for s in (1, 2, -1) for i in range(4)]
    clips += [make_clip("x", "pen", signer=1), make_clip("y", "sun", signer=2)]
    with pytest.warns(UserWarning) as said:
        split_clips(clips, "signer")
    assert len(said) == 2
    assert {warning.filename for warning in said} == {__file__}


def test_a_folder_a_gloss_names_no_signers(tmp_path, write_tree, make_frames):
    folder = write_tree(tmp_path, {f"{gloss}/{i}.npy": make_frames(3) for gloss in ("tea", "pen") for i in range(3)})
    clips = load_clips(folder)
    assert [len(side) for side in split_clips(clips)] == [4, 2, 0]
    with pytest.raises(InputError, match="labels of these 6 clips name no signer"):
        split_clips(clips, "signer")


# groups of one recording

STRATEGIES = ("stratified", "official", "signer")


def grouped(make_clip, seed, within=False):
    """(clips, groups): about 80 clips of several glosses, signers and marks; half of them in groups of 2 to 4, of one gloss and
    no test clip where `within`. Some members have no clip, as those that an audit leaves out."""
    rng = np.random.default_rng(seed)
    marks = ["train", "train", "val", "test", ""]
    clips = [make_clip(f"{i:03d}", f"g{i % 6}", marks[rng.integers(5)], int(rng.integers(-1, 6))) for i in rng.permutation(80)]
    pools = [[c.video_id for c in clips if c.gloss == f"g{g}" and c.split != "test"] for g in range(6)]
    pools = pools if within else [[clip.video_id for clip in clips]]
    groups = []
    for pool in pools:
        free = [str(video_id) for video_id in rng.permutation(pool)[: len(pool) // 2]]
        while len(free) > 1:
            size = int(rng.integers(2, 5))
            groups.append(sorted(free[:size]))
            free = free[size:]
    return clips, [[*group, f"absent{n}"] if n % 3 == 0 else group for n, group in enumerate(groups)]


def quietly(clips, strategy, groups, **arguments):
    """(sides, warnings) of a split."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        sides = split_clips(clips, strategy, groups=groups, **arguments)
    return sides, [str(warning.message) for warning in said]


@pytest.mark.parametrize("strategy", [*STRATEGIES, "file"])
@pytest.mark.parametrize("seed", range(12))
def test_no_recording_stands_on_two_sides(make_clip, ids, tmp_path, seed, strategy):
    clips, groups = grouped(make_clip, seed, within=seed % 2)
    if strategy == "file":
        rng, path = np.random.default_rng(seed), tmp_path / "split.json"
        cuts = np.split(rng.permutation([clip.video_id for clip in clips if clip.split != "test"]), [30, 45])
        path.write_text(json.dumps(dict(zip(("train", "val", "test"), map(list, cuts), strict=True))))
    share = float(np.random.default_rng(seed).choice([0.1, 0.2, 0.5]))
    strategy = str(path) if strategy == "file" else strategy
    (train, val, test), _ = quietly(clips, strategy, groups, seed=seed, validation_split=share)
    sides = [set(ids(side)) for side in (train, val, test)]
    assert all(sides[:2])
    for group in groups:
        assert sum(bool(side & set(group)) for side in sides) <= 1
    assert sum(map(len, sides)) == len(set().union(*sides))
    judging = set(cuts[2]) if strategy.endswith(".json") else {clip.video_id for clip in clips if clip.split == "test"}
    assert sides[2] == judging  # the test set stays whole
    if strategy == "stratified":
        return
    # What leaves is in a group with what judges, or of a gloss that nobody learns then.
    before, _ = quietly(clips, strategy, [], seed=seed, validation_split=share)
    for side, old, judges in ((train, before[0], before[1] + before[2]), (val, before[1], before[2])):
        leaking = {v for group in groups if set(ids(judges)) & set(group) for v in group}
        gone = [clip for clip in old if clip not in side]
        assert not set(ids(side)) & leaking
        assert all(clip.video_id in leaking or clip.gloss not in class_names(train) for clip in gone)


@pytest.mark.parametrize("seed", range(10))
def test_groups_are_divided_as_clips_are_and_the_share_is_as_near_as_they_allow(make_clip, seed):
    clips, groups = grouped(make_clip, seed, within=True)
    of = {video_id: n for n, group in enumerate(groups) for video_id in group}
    (train, val, test), said = quietly(clips, "stratified", groups, seed=seed)
    assert said == [] and len(train) + len(val) + len(test) == len(clips)
    for gloss in class_names(clips):
        sizes = {}
        for clip in clips:
            if clip.gloss == gloss and clip.split != "test":
                key = of.get(clip.video_id, clip.video_id)
                sizes[key] = sizes.get(key, 0) + 1
        judged = sum(clip.gloss == gloss for clip in val)
        assert judged >= 1 <= sum(clip.gloss == gloss for clip in train)
        wanted = round(0.2 * sum(sizes.values()))
        assert abs(judged - wanted) <= max(sizes.values()) / 2 or judged in sizes.values()
    again = [clips[i] for i in np.random.default_rng(seed).permutation(len(clips))]
    assert split_clips(again, groups=[group[::-1] for group in groups[::-1]], seed=seed) == (train, val, test)
    assert split_clips(clips, groups=groups, seed=seed + 1)[1] != val


def test_the_share_is_one_of_clips_not_of_recordings(make_clip, ids):
    clips = [make_clip(f"{i:02d}", "tea") for i in range(40)]
    fours = [ids(clips[i : i + 4]) for i in range(0, 40, 4)]
    for seed in range(5):
        assert len(split_clips(clips, groups=fours, seed=seed)[1]) == 8
        assert len(split_clips(clips, groups=fours[:5], seed=seed)[1]) in (7, 8, 9)


@pytest.mark.parametrize("sizes", [(5, 5), (1, 9), (9, 1), (7, 7, 7), (1, 10, 10)])
def test_however_large_recordings_are_one_learns_and_one_judges(make_clip, sizes):
    clips = [make_clip(f"{n}-{i}", "tea") for n, size in enumerate(sizes) for i in range(size)]
    groups = [[f"{n}-{i}" for i in range(size)] for n, size in enumerate(sizes)]
    for seed in range(8):
        train, val, _ = split_clips(clips, groups=groups, seed=seed)
        assert train and val and len(train) + len(val) == sum(sizes)


def test_copies_of_test_clips_leave_training_and_validation_with_a_warning(make_clip, ids):
    clips = [make_clip(f"{g}{i}", g) for g in "ab" for i in range(8)] + [
        make_clip("t1", "a", "test"),
        make_clip("t2", "b", "test"),
    ]
    groups = [["a0", "t1"], ["b1", "b2", "t2"], ["a3", "a4"]]
    for seed in range(10):
        with pytest.warns(UserWarning) as said:
            train, val, test = split_clips(clips, groups=groups, seed=seed)
        assert [str(w.message) for w in said] == ["3 training clips leave: their recordings stand among those who judge, too"]
        assert said[0].filename == __file__
        assert ids(test) == ["t1", "t2"] and not {"a0", "b1", "b2"} & set(ids(train + val))
        assert len(train) + len(val) == 13


def test_the_official_split_loses_its_leaking_clips_and_keeps_those_that_judge(make_clip, ids):
    marks = dict.fromkeys(["a1", "a2", "a3", "b1", "b2"], "train") | {"a4": "val", "b3": "val", "b4": "val", "a5": "test"}
    clips = [make_clip(video_id, video_id[0], split) for video_id, split in marks.items()]
    (train, val, test), said = quietly(clips, "official", [["a1", "a4"], ["a2", "a5"], ["b1", "b2"]])
    assert (ids(train), ids(val), ids(test)) == (["a3", "b1", "b2"], ["a4", "b3", "b4"], ["a5"])
    assert said[1:] == ["2 training clips leave: their recordings stand among those who judge, too"]
    (train, val, test), said = quietly(clips, "official", [["b3", "a5"], ["a1", "b3"]][:1])
    assert (ids(val), ids(test)) == (["a4", "b4"], ["a5"])
    assert said[1:] == ["1 validation clips leave: their recordings stand among those who judge, too"]


def test_a_gloss_that_loses_its_last_training_clip_leaves_validation(make_clip, ids):
    marks = {"a1": "train", "b1": "train", "a2": "val", "b2": "val", "a3": "train"}
    clips = [make_clip(video_id, video_id[0], split) for video_id, split in marks.items()]
    (train, val, _), said = quietly(clips, "official", [["b1", "b2"]])
    assert (ids(train), ids(val)) == (["a1", "a3"], ["a2"])
    assert any("1 validation clips leave: no training clip of b" in text for text in said)


VAL_BEFORE = ["a0", "a8", "b2", "b3", "c2"]  # what it was before there were groups


def test_without_groups_the_split_is_what_it_has_always_been(make_clip, ids):
    clips = [
        make_clip(f"{gloss}{i}", gloss) for gloss, count in {"a": 10, "b": 8, "c": 3, "d": 1}.items() for i in range(count)
    ]
    _, val, _ = split_clips(clips, validation_split=0.25, seed=7)
    assert ids(val) == VAL_BEFORE
    for nothing in (None, [], [["a1"]], [["x", "y"]], [["a1", "x"]]):
        assert ids(split_clips(clips, validation_split=0.25, groups=nothing, seed=7)[1]) == VAL_BEFORE


# strict


def test_strict_refuses_a_single_gloss_that_otherwise_goes_on(make_clip):
    clips = [make_clip(f"a{i}", "tea") for i in range(6)]
    assert len(split_clips(clips)[0]) == 5
    with pytest.raises(InputError, match="all 5 training clips are of one gloss, 'tea': .*AUDIT = 'warn' trains anyway"):
        split_clips(clips, strict=True)
    split_clips([*clips, make_clip("b1", "pen")], strict=True)


@pytest.mark.parametrize(("copies", "refused"), [(2, False), (3, True), (4, True)])
def test_strict_refuses_validation_that_is_contained_in_training(make_clip, ids, copies, refused):
    clips = [make_clip(f"{g}{i}", g, "train") for g in "ab" for i in range(6)]
    clips += [make_clip(f"v{i}", "ab"[i % 2], "val") for i in range(4)]
    groups = [[f"{'ab'[i % 2]}{i}", f"v{i}"] for i in range(copies)]
    (train, val, _), said = quietly(clips, "official", groups)
    assert len(val) == 4 and len(train) == 12 - copies  # what judges stays
    assert f"{copies} training clips leave: their recordings stand among those who judge, too" in said
    if refused:
        message = rf"contained in training: {copies} of 4 validation clips are copies of training clips, v0 for one\. Set SPLIT"
        with pytest.raises(InputError, match=message):
            quietly(clips, "official", groups, strict=True)
    else:
        assert quietly(clips, "official", groups, strict=True)[0][1] == val
    assert len(quietly(clips, "stratified", groups, strict=True)[0][1]) > 1  # that keeps copies together


# files


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_saved_split_gives_the_same_sides(make_clip, tmp_path, ids, strategy):
    clips, groups = grouped(make_clip, 3)
    sides, _ = quietly(clips, strategy, groups)
    path = tmp_path / "deep" / "my split.json"
    save_split(path, *sides)
    assert json.loads(path.read_text()) == {name: ids(side) for name, side in zip(("train", "val", "test"), sides, strict=True)}
    for given in (path, str(path)):
        for again in (groups, None):
            got = split_clips(clips[::-1], given, groups=again, seed=9, validation_split=0.7, strict=True)  # and no warning
            assert [ids(side) for side in got] == [ids(side) for side in sides]
    assert sorted(p.name for p in path.parent.iterdir()) == ["my split.json"]


@pytest.fixture
def few(make_clip):
    """Six clips of two glosses, one of them marked test."""
    return [make_clip(f"{g}{i}", g, "test" if (g, i) == ("b", 2) else "train") for g in "ab" for i in range(3)]


def sides(**changed):
    return json.dumps({"train": ["a0", "b0"], "val": ["a1", "b1"], "test": ["b2"]} | changed)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is no split; expected"),
        ("{", "is no split; expected"),
        ("[" * 200_000, "is no split; expected"),
        ("[]", "is no split; expected"),
        ("3", "is no split; expected"),
        ("null", "is no split; expected"),
        (b"\xff\xfe\x00", "is no split; expected"),
        ('{"train": ["a0"], "val": ["a1"]}', r'is no split; expected {"train": \[ids\], "val": \[ids\], "test": \[ids\]}'),
        (sides(train="a0"), "is no split"),
        (sides(train={"a0": 1}), "is no split"),
        (sides(val=[1, 2]), "is no split"),
        (sides(val=[["a1"]]), "is no split"),
        (sides(test=None), "is no split"),
        (sides(val=["a0", "a1"]), "split.json lists 1 ids twice, a0 for one"),
        (sides(val=["a1", "a1"]), "split.json lists 1 ids twice, a1 for one"),
        (sides(val=[]), "split.json split leaves no validation clip of 6"),
        (sides(train=[]), "split.json split leaves no training clip of 6"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_file_that_is_no_split_is_refused_by_name(few, tmp_path, content, message):
    path = tmp_path / "split.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message) as error:
        split_clips(few, path)
    assert str(path) in str(error.value)


def test_a_split_file_that_is_not_there_is_named(few, tmp_path):
    (tmp_path / "folder.json").mkdir()
    for name in ("nowhere.json", "folder.json"):
        with pytest.raises(
            InputError, match=rf"SPLIT: cannot read {tmp_path / name}: .*; expected a file that save_split wrote"
        ):
            split_clips(few, tmp_path / name)


def test_the_split_of_other_data_is_warned_of_and_used_as_far_as_it_goes(few, tmp_path, ids):
    path = tmp_path / "split.json"
    path.write_text(sides(train=["zz", "b0", "yy", "a0"]))
    with pytest.warns(UserWarning, match="2 clips of split.json are not among the usable ones, zz for one") as said:
        train, val, test = split_clips(few, path)
    assert len(said) == 1 and said[0].filename == __file__
    assert [ids(side) for side in (train, val, test)] == [["a0", "b0"], ["a1", "b1"], ["b2"]]
    path.write_text(json.dumps({"train": ["x"], "val": ["y"], "test": []}))
    with pytest.warns(UserWarning, match="2 clips of"), pytest.raises(InputError, match="leaves no training clip of 6"):
        split_clips(few, path)


def test_a_split_file_that_trains_on_test_clips_is_warned_of(few, tmp_path, ids):
    path = tmp_path / "split.json"
    path.write_text(sides(train=["a0", "b0", "b2"], test=[]))
    with pytest.warns(UserWarning, match="split.json uses 1 clips that the labels mark test, b2 for one") as said:
        train, _, test = split_clips(few, path)
    assert len(said) == 1 and said[0].filename == __file__
    assert ids(train) == ["a0", "b0", "b2"] and test == []
