"""signlib.split: who learns from what, and who judges."""

import itertools
import warnings

import numpy as np
import pytest

from signlib import InputError, class_names, load_clips, split_clips

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
    with pytest.warns(UserWarning, match="VALIDATION_SPLIT = 0.2 is not used, nor is SEED") as said:
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
        (["train", "train"], "random", "split strategy is 'random'; expected one of stratified, official, signer"),
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


@pytest.mark.parametrize("strategy", ["stratified", "official", "signer"])
def test_groups_are_refused(make_clip, strategy):
    with pytest.raises(InputError, match="groups are not supported"):
        split_clips([make_clip("1", "tea")], strategy, groups=[1])


def test_a_folder_a_gloss_names_no_signers(tmp_path, write_tree, make_frames):
    folder = write_tree(tmp_path, {f"{gloss}/{i}.npy": make_frames(3) for gloss in ("tea", "pen") for i in range(3)})
    clips = load_clips(folder)
    assert [len(side) for side in split_clips(clips)] == [4, 2, 0]
    with pytest.raises(InputError, match="labels of these 6 clips name no signer"):
        split_clips(clips, "signer")
