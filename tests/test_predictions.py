"""signlib.predictions: what is known of each judged clip, and what follows from it."""

import dataclasses

import numpy as np
import pytest

import signlib
from signlib.errors import InputError
from signlib.predictions import Predictions, judge, read_predictions


def predictions(labels, predicted, classes=("book", "drink", "tea"), **known):
    """`Predictions` whose model reads clip i as `predicted[i]`."""
    n, classes = len(labels), np.array(list(classes))
    plain = {
        "video_ids": np.array([f"{i:05d}" for i in range(n)]),
        "frequent": np.zeros(n, int),
        "nearest": np.array(labels),
        "signers": np.full(n, ""),
        "sources": np.full(n, ""),
        "met": np.zeros(n, bool),
        "recordings": np.full(n, -1),
        "learnt": np.zeros(n, bool),
        "copies": np.full(n, ""),
        "merged": np.arange(len(classes)),
    }
    probabilities = 0.7 * np.eye(len(classes))[predicted] + 0.3 / len(classes)
    return Predictions(classes=classes, labels=np.array(labels), probabilities=probabilities, **plain | known)


def shares(judged):
    return {name: round(value, 3) for name, value, _, _ in judged.rows()}


def test_the_rows_are_the_model_beside_what_needs_no_network():
    judged = predictions([0, 0, 1, 2], [0, 1, 1, 1])
    assert shares(judged) == {
        "model, top 1": 0.5,
        "model, macro-F1": pytest.approx((2 / 3 + 2 / 4 + 0) / 3, abs=1e-3),
        "most frequent gloss": 0.5,
        "nearest neighbour": 1.0,
        "chance": 0.333,
    }


def test_synonyms_merged_count_as_right():
    judged = predictions([0, 0, 1, 2], [0, 1, 1, 1], merged=np.array([0, 0, 2]))
    assert shares(judged)["model, synonyms merged"] == 0.75


def test_top_5_is_shown_where_there_are_more_than_five_glosses():
    judged = predictions([0, 1], [0, 0], classes=list("abcdefg"))
    assert shares(judged)["model, top 5"] == 0.5  # all that are not first are equally probable, and a tie counts against it


def test_intervals_say_what_they_rest_on():
    free = predictions([0] * 40, [0, 1] * 20)
    bound = dataclasses.replace(free, signers=np.repeat(["ann", "bob"], 20))
    assert free.basis() == "40 clips"
    assert "40 clips, drawn as 2 independent units (2 signers" in bound.basis() and "too few" in bound.basis()
    right = dataclasses.replace(free, labels=np.arange(40) // 8 % 2, recordings=np.arange(40) // 8)  # by whole recordings
    right = dataclasses.replace(right, probabilities=np.eye(3)[np.zeros(40, int)])
    loose = dataclasses.replace(right, recordings=free.recordings)
    assert np.diff(right.rows()[0][2:]) > 2 * np.diff(loose.rows()[0][2:])


def test_by_gloss_signer_and_source_the_worst_comes_first():
    known = {"signers": np.array(["ann", "ann", "bob", ""]), "sources": np.array(["tv", "tv", "tv", "web"])}
    judged = predictions([0, 0, 1, 2], [0, 1, 1, 1], **known)
    assert judged.by("gloss")[["gloss", "clips", "accuracy"]].to_numpy().tolist() == [
        ["tea", 1, 0.0], ["book", 2, 0.5], ["drink", 1, 1.0]]  # fmt: skip
    assert judged.by("signer")["signer"].tolist() == ["unknown", "ann", "bob"]
    assert judged.by("source")["accuracy"].tolist() == [0, pytest.approx(2 / 3)]
    many = predictions([0] * 20, [0, 1] * 10, signers=np.full(20, "ann"))
    assert 0.2 < many.by("signer").low[0] < 0.4  # of this one signer, over her clips


def test_confused_pairs_are_sorted_into_duplicates_synonyms_and_confusions():
    labels, predicted = [0, 0, 0, 1, 2, 2], [1, 1, 0, 0, 0, 2]
    copies = np.array(["", "", "", "", "book\ncup", ""])
    table = predictions(labels, predicted, merged=np.array([0, 0, 2]), copies=copies).confused()
    assert table[["signed", "read", "wrong", "clips", "kind"]].to_numpy().tolist() == [
        ["book", "drink", 2, 3, "synonyms"],
        ["drink", "book", 1, 1, "synonyms"],
        ["tea", "book", 1, 2, "duplicate"],
    ]
    assert table.video_ids.tolist() == [["00000", "00001"], ["00003"], ["00004"]]
    assert predictions([0, 1], [0, 1]).confused().empty
    assert predictions([0, 1], [1, 1]).confused().kind.tolist() == ["confusion"]


def test_what_is_known_of_the_clips_is_taken_from_labels_and_groups_and_survives_the_file(tmp_path, write_clips):
    glosses = {f"{i:05d}": ["book", "books", "tea"][i % 3] for i in range(12)}
    clips = signlib.load_clips(write_clips(tmp_path, glosses))
    train, val = clips[:9], clips[9:]
    val[2] = dataclasses.replace(val[2], signer=8)
    p = signlib.Preprocessor(10)
    of = {name: signlib.KeypointGenerator(side, p, ["book", "books", "tea"], shuffle=False) for name, side in
          (("train", train), ("val", val))}  # fmt: skip
    model = signlib.build_model(p.output_shape, 3)
    groups = [["00001", "00009"], ["00010", "00011"]]  # a copy that was learnt from under another gloss; two that judge
    judged = judge(model, of["val"], of["train"], clips, groups)
    assert judged.video_ids.tolist() == ["00009", "00010", "00011"]
    assert judged.learnt.tolist() == [True, False, False] and judged.recordings.tolist() == [0, 1, 1]
    assert judged.copies.tolist() == ["books", "tea", "books"] and judged.met.tolist() == [True, True, False]
    assert judged.signers.tolist() == ["7", "7", "8"]
    assert judged.merged.tolist() == [0, 0, 0]  # book and books by the one group, books and tea by the other
    everything = np.stack([p(clip.read(), clip.layout) for clip in val])
    np.testing.assert_allclose(judged.probabilities, model.predict_on_batch(everything), atol=1e-6)
    judged.save(tmp_path / "predictions.npz")
    again = read_predictions(tmp_path / "predictions.npz")
    for name in Predictions.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(again, name), getattr(judged, name))
    assert judged.take(~judged.learnt).video_ids.tolist() == ["00010", "00011"]


def test_a_threshold_is_judged_by_the_clips_that_then_get_an_answer():
    judged = predictions([0] * 40, [0, 1] * 20)
    confidence = np.where(np.arange(40) < 20, 0.9, 0.5)
    sure = np.stack([confidence, 1 - confidence, 0 * confidence], axis=1)
    judged = dataclasses.replace(judged, probabilities=np.where(np.arange(40)[:, None] % 4, sure, sure[:, [1, 0, 2]]))
    assert judged.answered(0.8).startswith("20 of 40 clips get an answer, 75% of these are right (5")
    assert judged.answered(0.95) == "0 of 40 clips get an answer"


def test_a_file_that_holds_no_predictions_is_named(tmp_path):
    path = tmp_path / "predictions.npz"
    with pytest.raises(InputError, match=r"there is no .*predictions.npz: that run did not reach its end \(RESUME it\)"):
        read_predictions(path)
    with pytest.raises(InputError, match=r"predictions_test.npz: that run has not read the test clips \(EVALUATE_TEST\)"):
        read_predictions(tmp_path / "predictions_test.npz")
    predictions([0, 1], [0, 1]).save(path)
    for torn in (b"torn", path.read_bytes()[:900]):
        path.write_bytes(torn)
        with pytest.raises(InputError, match="predictions.npz holds no predictions of this version"):
            read_predictions(path)
    np.savez(path, labels=np.zeros(3))
    with pytest.raises(InputError, match="predictions.npz holds no predictions"):
        read_predictions(path)
