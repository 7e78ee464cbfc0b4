"""signlib.compare: batches made up of run.json and predictions.npz, against formulas written out and scipy's own tests."""

import dataclasses
import itertools
import json
import math
import os

import numpy as np
import pytest
from scipy import stats

import signlib
from signlib.errors import InputError
from tests.test_predictions import predictions

TOP_1 = "model, top 1"
ORIGIN = {"parameters": {"EPOCHS": 100}, "data": "abc"}  # what a run of these batches follows from


def setting_name(values):
    return "__".join(f"{name.lower()}={value}" for name, value in values.items()) or "base"


def add_run(folder, accuracy=0.5, status="finished", judged=None, **more):
    """Writes what a run of that accuracy, or with those `Predictions`, leaves in its folder."""
    folder.mkdir(parents=True)
    metrics = {TOP_1: accuracy, "model, macro-F1": accuracy / 2, "nearest neighbour": 0.4}
    if judged is not None:
        judged.save(folder / "predictions.npz")
        metrics = {name: value for name, value, _, _ in judged.rows()}
    state = {"status": status, "pid": 2**22 + 1, "parameters": {}, "sample": True, "best_epoch": 2, "seconds": 30.0}
    state |= {"history": {"val_loss": [2.0, 1.0, 1.5], "val_accuracy": [0.1, 0.5, 0.4]}}
    state |= {"metrics": metrics} if status in ("finished", "diverged", "interrupted") else {}
    (folder / "run.json").write_text(json.dumps(state | more))
    (folder / "origin.json").write_text(json.dumps(ORIGIN))


def make_batch(folder, plan, varied=None, **more):
    """Writes a batch and reads it. plan: [(varied values, [accuracy, `Predictions`, or None where it waits, of each seed])]."""
    varied = varied if varied is not None else list(dict.fromkeys(name for values, _ in plan for name in values))
    runs = {}
    for values, seeds in plan:
        for seed, outcome in enumerate(seeds, 42):
            setting = setting_name(values)
            run = f"{setting}__seed={seed}"
            runs[run] = {"setting": setting, "parameters": {"SEED": seed, "EPOCHS": 100} | values, "origin": ORIGIN}
            if outcome is not None:
                add_run(folder / run, **{"accuracy" if isinstance(outcome, float) else "judged": outcome})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "batch.json").write_text(json.dumps({"plan": "plans/x.yaml", "varied": varied, "runs": runs}))
    return signlib.read_batch(str(folder), **more)


def pooled(groups):
    """The seeds' noise and its degrees of freedom, written out."""
    freedom = sum(len(g) - 1 for g in groups)
    return math.sqrt(sum((len(g) - 1) * np.var(g, ddof=1) for g in groups if len(g) > 1) / freedom), freedom


def test_the_runs_are_listed_in_the_plans_order_however_they_stand(tmp_path):
    folder = tmp_path / "runs" / "dropout"
    make_batch(folder, [({"DROPOUT_RATE": 0.5}, [0.5, None, None]), ({"DROPOUT_RATE": 0.3}, [0.7, None, None])])
    add_run(folder / "dropout_rate=0.5__seed=43", status="failed", best_epoch=0, seconds="nan", history={})
    add_run(folder / "dropout_rate=0.3__seed=43", status="running")
    add_run(folder / "dropout_rate=0.3__seed=44")
    for torn in ("", "{", "[]", "null", '{"status": "finished", "parameters": {}, "metrics": 3}', '{"status": "finished"}'):
        (folder / "dropout_rate=0.3__seed=44/run.json").write_text(torn)
        table = signlib.read_batch("dropout", tmp_path / "runs").runs
        assert table.status.tolist() == ["finished", "failed", "waiting", "finished", "died", "unreadable"]
    add_run(folder / "dropout_rate=0.3__ensemble", 0.8, ensemble={"dropout_rate=0.3__seed=42": None})
    add_run(folder / "somebody's", 0.9)
    batch = signlib.read_batch(str(folder))
    assert batch.varied == ["DROPOUT_RATE"] and batch.runs.SEED.tolist() == [42, 43, 44, 42, 43, 44, ""]
    assert batch.runs.columns.tolist() == [
        *("run", "setting", "SEED", "DROPOUT_RATE", "status", "epochs", "best_epoch", "seconds"),
        *(TOP_1, "model, macro-F1", "nearest neighbour"),
    ]
    assert batch.runs.run[6] == "dropout_rate=0.3__ensemble" and batch.runs[TOP_1][6] == 0.8
    assert batch.runs.epochs.tolist() == [3, 0, 0, 3, 3, 0, 3] and batch.runs.DROPOUT_RATE[0] == 0.5
    assert {setting: len(found) for setting, found in batch.histories.items()} == {
        "dropout_rate=0.5": 1, "dropout_rate=0.3": 2}  # fmt: skip
    settings = batch.settings()  # what runs, failed or is an ensemble does not count
    assert settings.finished.tolist() == ["1 of 3", "1 of 3"] and settings["mean"].tolist() == [0.7, 0.5]


def test_the_newest_batch_is_read_and_what_is_none_is_named(tmp_path):
    with pytest.raises(InputError, match=r"BATCH: no batch in .*: run one first, with python -m signlib.batch"):
        signlib.read_batch("", tmp_path)
    for age, name in ((10, "b"), (20, "a")):
        make_batch(tmp_path / name, [({}, [0.5])])
        os.utime(tmp_path / name / "batch.json", (age, age))
    assert signlib.read_batch("", tmp_path).folder == tmp_path / "a"
    with pytest.raises(InputError, match=r"BATCH: no batch 'zzz': neither .* nor .*zzz holds a batch.json"):
        signlib.read_batch("zzz", tmp_path)
    whole = (tmp_path / "a/batch.json").read_text()
    for torn in ("", whole[:-9], "[]", "{}", '{"varied": [], "runs": {}}', whole.replace('"SEED"', '"seed"')):
        (tmp_path / "a/batch.json").write_text(torn)
        with pytest.raises(InputError, match=r"BATCH: .*batch.json cannot be read as a batch's"):
            signlib.read_batch("a", tmp_path)


def test_what_is_to_be_made_anew_does_not_count(tmp_path):
    folder = tmp_path / "runs" / "dropout"
    make_batch(folder, [({}, [0.5, 0.6, 0.7])])
    (folder / "base__seed=42/origin.json").write_text(json.dumps(ORIGIN | {"data": "other"}))
    state = json.loads((folder / "base__seed=43/run.json").read_text())
    (folder / "base__seed=43/run.json").write_text(json.dumps(state | {"data_fingerprint": "other"}))
    add_run(folder / "one__ensemble", 0.8, ensemble={"base__seed=44": None})
    add_run(folder / "two__ensemble", 0.8, ensemble={"base__seed=44": "of the model before"})
    batch = signlib.read_batch(str(folder))
    assert batch.runs.status.tolist() == ["outdated", "outdated", "finished", "finished", "outdated"]
    assert batch.settings()["mean"].tolist() == [0.7] and batch.members("base") == [folder / "base__seed=44"]


def test_a_settings_interval_is_students_by_the_noise_of_all_settings(tmp_path):
    seeds = {0.5: [0.70, 0.74, 0.69], 0.3: [0.80, 0.86], 0.1: [0.60], 0.7: [None]}
    batch = make_batch(tmp_path / "b", [({"DROPOUT_RATE": rate}, values) for rate, values in seeds.items()])
    table = batch.settings().set_index("DROPOUT_RATE")
    assert table.index.tolist() == [0.3, 0.5, 0.1, 0.7]
    assert table.finished.tolist() == ["2 of 2", "3 of 3", "1 of 1", "0 of 1"]
    noise, freedom = pooled([seeds[0.5], seeds[0.3], seeds[0.1]])
    assert freedom == 3
    for rate in (0.5, 0.3, 0.1):  # a setting of one run takes the noise of the others
        low, high = stats.t.interval(0.95, 3, np.mean(seeds[rate]), noise / math.sqrt(len(seeds[rate])))
        assert table.loc[rate, ["mean", "low", "high"]].tolist() == pytest.approx([np.mean(seeds[rate]), low, min(high, 1)])
    assert table.loc[0.7, ["mean", "low", "high", "clips low", "seeds averaged", "nearest neighbour", "seconds"]].isna().all()
    assert table.loc[0.3, ["nearest neighbour", "seconds"]].tolist() == [0.4, 30]
    assert batch.settings("model, macro-F1")["mean"][0] == pytest.approx(0.415)
    with pytest.raises(InputError, match="METRIC: no run has 'accuracy'; expected one of 'model, top 1', 'model, macro-F1'"):
        batch.settings("accuracy")


def test_with_one_seed_each_nothing_is_known_of_the_noise(tmp_path):
    batch = make_batch(tmp_path / "b", [({"DROPOUT_RATE": rate}, [rate]) for rate in (0.3, 0.5)])
    assert batch.settings()[["low", "high"]].isna().all(axis=None) and batch.settings()["mean"].tolist() == [0.5, 0.3]
    assert batch.effects()[["effect", "low"]].to_numpy().tolist() == [
        [pytest.approx(-0.2), pytest.approx(math.nan, nan_ok=True)]
    ]
    assert batch.differences().empty
    assert any("One run alone has no part in the differences: dropout_rate=0.3, dropout_rate=0.5" in c for c in batch.caveats())


def test_where_nothing_is_finished_the_tables_are_blank(tmp_path):
    batch = make_batch(tmp_path / "b", [({"DROPOUT_RATE": rate}, [None, None]) for rate in (0.3, 0.5)])
    assert batch.settings().finished.tolist() == ["0 of 2", "0 of 2"] and batch.settings()["mean"].isna().all()
    assert batch.effects().pairs.tolist() == [0] and batch.effects().effect.isna().all()
    assert batch.differences().empty and batch.histories == {} and len(batch.caveats()) == 1


def test_diverged_runs_count_and_are_counted_apart_interrupted_ones_do_not(tmp_path):
    batch = make_batch(tmp_path / "b", [({"LEARNING_RATE": 0.1}, [0.5, None, None])])
    add_run(batch.folder / "learning_rate=0.1__seed=43", 0.1, "diverged")
    add_run(batch.folder / "learning_rate=0.1__seed=44", 0.9, "interrupted")
    table = signlib.read_batch(str(batch.folder)).settings()
    assert table.finished.tolist() == ["2 of 3, 1 diverged"] and table["mean"].tolist() == [pytest.approx(0.3)]


def judged_by(right, **known):
    """`Predictions` for clips of two glosses, of which those that `right` `(N,)` says are read rightly."""
    labels = np.arange(len(right)) % 2
    return predictions(labels, np.where(right, labels, 1 - labels), classes=("book", "drink"), **known)


def test_the_interval_over_clips_draws_signers_and_the_seeds_share_a_clip(tmp_path):
    rng = np.random.default_rng(1)
    signers = np.repeat([f"s{i}" for i in range(25)], 8)
    skill = np.repeat(rng.uniform(0.3, 0.9, 25), 8)
    seeds = [rng.random(200) < skill for _ in range(3)]
    plan = [({"AUDIT": "on"}, [judged_by(right, signers=signers) for right in seeds]),
            ({"AUDIT": "off"}, [judged_by(right) for right in seeds])]  # fmt: skip
    table = make_batch(tmp_path / "b", plan, varied=["AUDIT"]).settings().set_index("AUDIT")
    share = np.mean(seeds, axis=0).reshape(25, 8).mean(axis=1)
    drawn = share[rng.integers(0, 25, (20_000, 25))].mean(axis=1)
    assert table.loc["on", ["clips low", "clips high"]].tolist() == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.01)
    alone = np.mean(seeds, axis=0)[rng.integers(0, 200, (5_000, 200))].mean(axis=1)
    assert table.loc["off", ["clips low", "clips high"]].tolist() == pytest.approx(np.quantile(alone, [0.025, 0.975]), abs=0.01)
    assert np.ptp(table.loc["on", ["clips low", "clips high"]]) > 1.3 * np.ptp(table.loc["off", ["clips low", "clips high"]])


def test_seeds_averaged_is_the_accuracy_of_their_mean_probabilities(tmp_path):
    rng = np.random.default_rng(2)
    seeds = [judged_by(rng.random(60) < 0.6) for _ in range(3)]
    seeds = [dataclasses.replace(seed, probabilities=rng.dirichlet([1, 1], 60)) for seed in seeds]
    batch = make_batch(tmp_path / "b", [({}, seeds)], varied=[])
    mean = sum(seed.probabilities for seed in seeds) / 3
    assert batch.settings()["seeds averaged"][0] == (mean.argmax(axis=1) == seeds[0].labels).mean()
    other = dataclasses.replace(seeds[0], video_ids=seeds[0].video_ids[::-1])
    table = make_batch(tmp_path / "other", [({}, [seeds[0], other])], varied=[]).settings()
    assert table[["clips low", "seeds averaged"]].isna().all(axis=None) and table.low.notna().all()
    (batch.folder / "base__seed=43/predictions.npz").write_bytes(b"torn")
    table = signlib.read_batch(str(batch.folder)).settings()
    assert table[["clips low", "seeds averaged"]].isna().all(axis=None) and table["mean"].notna().all()


def test_an_effect_is_of_pairs_that_differ_in_that_parameter_alone(tmp_path):
    # A learning rate of 0.001 adds 0.02, the conv_transformer 0.2: the plain means of all runs say the opposite of the first.
    plan = [
        ({"LEARNING_RATE": 3e-4, "ARCHITECTURE": "lstm"}, [0.50, 0.52]),
        ({"LEARNING_RATE": 1e-3, "ARCHITECTURE": "lstm"}, [0.52, 0.54, 0.53]),
        ({"LEARNING_RATE": 3e-4, "ARCHITECTURE": "conv_transformer"}, [0.70, 0.72]),
        ({"LEARNING_RATE": 2e-3, "ARCHITECTURE": "gru"}, [0.1]),
    ]
    batch = make_batch(tmp_path / "b", plan)
    assert np.mean([0.52, 0.54, 0.53]) < np.mean([0.50, 0.52, 0.70, 0.72])
    table = batch.effects().set_index(["parameter", "value"])
    values = [("LEARNING_RATE", 1e-3), ("LEARNING_RATE", 2e-3), ("ARCHITECTURE", "conv_transformer"), ("ARCHITECTURE", "gru")]
    assert table.index.tolist() == values
    assert table.against.tolist() == [3e-4, 3e-4, "lstm", "lstm"]  # the notebook's defaults
    assert table.pairs.tolist() == [1, 0, 1, 0] and table.effect.iloc[[1, 3]].isna().all()
    noise, freedom = pooled([seeds for _, seeds in plan])
    low, high = stats.t.interval(0.95, freedom, 0.02, noise * math.sqrt(1 / 3 + 1 / 2))
    assert table.iloc[0][["effect", "low", "high"]].tolist() == pytest.approx([0.02, low, high])
    assert table.effect.iloc[2] == pytest.approx(0.2)


def test_an_effect_over_several_pairs_is_their_mean_and_knows_more(tmp_path):
    rng = np.random.default_rng(3)
    grid = [{"EPOCHS": e, "BATCH_SIZE": b, "DROPOUT_RATE": d} for e in (7, 9) for b in (16, 64) for d in (0.3, 0.5)]
    plan = [(values, list(0.5 + 0.1 * (values["EPOCHS"] == 9) + rng.normal(0, 0.02, 2))) for values in grid]
    batch = make_batch(tmp_path / "b", plan)
    row = batch.effects().iloc[0]
    of = {tuple(values.values()): np.array(seeds) for values, seeds in plan}
    pairs = [(of[9, b, d], of[7, b, d]) for b, d in itertools.product((16, 64), (0.3, 0.5))]
    noise, freedom = pooled(list(of.values()))
    variance = noise**2 * sum(1 / 2 + 1 / 2 for _ in pairs) / len(pairs) ** 2
    expected = np.mean([one.mean() - other.mean() for one, other in pairs])
    assert (row.parameter, repr(row.value), row.against, row.pairs) == ("EPOCHS", "9", 7, 4)  # 100 is not among them
    low, high = stats.t.interval(0.95, freedom, expected, math.sqrt(variance))
    assert [row.effect, row.low, row.high] == pytest.approx([expected, low, high]) and low > 0


@pytest.mark.parametrize("seeds", [(3, 3), (2, 3, 5), (4, 4, 4, 4)])
def test_differences_are_tukeys(tmp_path, seeds):
    rng = np.random.default_rng(4)
    groups = [rng.normal(0.6 + 0.03 * i, 0.02, n) for i, n in enumerate(seeds)]
    batch = make_batch(tmp_path / "b", [({"EPOCHS": i}, list(g)) for i, g in enumerate(groups)] + [({"EPOCHS": 9}, [0.9])])
    table, tukey = batch.differences(), stats.tukey_hsd(*groups)
    interval = tukey.confidence_interval()
    assert len(table) == math.comb(len(seeds), 2)
    for row in table.itertuples():
        one, other = (int(name.removeprefix("epochs=")) for name in (row.one, row.other))
        expected = tukey.statistic[one, other], interval.low[one, other], interval.high[one, other]
        assert (row.difference, row.low, row.high) == pytest.approx(expected, abs=1e-6) and row.difference >= 0
        assert row.beyond == (tukey.pvalue[one, other] < 0.05)
    assert any("no part in the differences: epochs=9" in caveat for caveat in batch.caveats())


def test_of_alike_settings_hardly_any_is_beyond_and_a_better_one_is_found(tmp_path):
    rng, wrong, naive, found = np.random.default_rng(5), 0, 0, 0
    batch = make_batch(tmp_path / "b", [({"EPOCHS": i}, [0.5] * 3) for i in range(6)])
    for _ in range(16):
        values = rng.normal(0.6, 0.02, (6, 3))
        tests = [stats.ttest_ind(one, other) for one, other in itertools.combinations(values[:5], 2)]
        naive += min(test.pvalue for test in tests) < 0.05
        values[5] += 0.12
        table = dataclasses.replace(batch, runs=batch.runs.assign(**{TOP_1: values.ravel()})).differences()
        better = table.one == "epochs=5"
        found += table[better].beyond.sum() == 5
        wrong += table[~better].beyond.any()
    assert wrong <= 1 and naive >= 3 and found >= 15


@pytest.mark.parametrize("value", [0.1, 0.5, 0.7])
def test_seeds_that_came_out_equal_are_no_noise_and_no_warning(tmp_path, value):
    plan = [({"EPOCHS": 1}, [value] * 3), ({"EPOCHS": 2}, [value] * 2), ({"EPOCHS": 3}, [value + 0.1] * 3)]
    batch = make_batch(tmp_path / "b", plan)
    table = batch.differences()
    assert table.difference.round(9).tolist() == [0.1, 0.1, 0] and table.beyond.tolist() == [True, True, False]
    assert batch.settings().low.tolist() == pytest.approx([value + 0.1, value, value])
    assert any("so that nothing is known of their noise" in caveat for caveat in batch.caveats())
    alone = make_batch(tmp_path / "alone", [({}, [value] * 3)], varied=[])
    assert alone.differences().empty and alone.effects().empty and len(alone.settings()) == 1


def test_whether_a_difference_holds_for_other_clips_is_drawn_in_pairs(tmp_path):
    rng = np.random.default_rng(6)
    easy = rng.random(100) < 0.6
    better = easy | (rng.random(100) < 0.2)
    plan = [({"EPOCHS": 1}, [judged_by(easy)] * 2), ({"EPOCHS": 2}, [judged_by(better), judged_by(better | easy)])]
    table = make_batch(tmp_path / "b", plan).differences()
    difference = (better * 1.0 - easy)[rng.integers(0, 100, (20_000, 100))].mean(axis=1)
    assert table.one.tolist() == ["epochs=2"] and table["clips low"][0] > 0
    expected = np.quantile(difference, [0.025, 0.975])
    assert table.loc[0, ["clips low", "clips high"]].tolist() == pytest.approx(expected, abs=0.01)


def test_of_other_clips_or_few_signers_no_pair_is_drawn(tmp_path):
    right = np.arange(40) % 3 > 0
    other = dataclasses.replace(judged_by(right), video_ids=np.array([f"x{i}" for i in range(40)]))
    plan = [({"GLOSSES": ""}, [judged_by(right)] * 2), ({"GLOSSES": "a"}, [other] * 2)]
    batch = make_batch(tmp_path / "b", plan)
    assert (
        batch.differences()[["clips low", "clips high"]].isna().all(axis=None) and batch.settings()["clips low"].notna().all()
    )
    assert batch.caveats()[-1] == "Judged by other clips than glosses=, so not to be compared with it: glosses=a."
    few = judged_by(right, signers=np.repeat(["ann", "bob"], 20))
    table = make_batch(tmp_path / "few", [({"EPOCHS": i}, [few] * 2) for i in (1, 2)]).differences()
    assert len(table) == 1 and table["clips low"].isna().all()


def test_the_caveats_say_what_luck_alone_would_bring(tmp_path):
    rng = np.random.default_rng(7)
    batch = make_batch(tmp_path / "b", [({"EPOCHS": i}, list(rng.normal(0.6, 0.03, 4))) for i in range(12)])
    assert batch.caveats()[0].endswith(": 12.")
    noise, _ = pooled(list(batch.scores().values()))
    expected = rng.normal(0, noise / 2, (50_000, 12)).max(axis=1).mean()
    said = float(batch.caveats()[1].split("would lie ")[1].split("%")[0]) / 100
    assert said == pytest.approx(expected, abs=0.002)


def test_the_members_of_a_setting_are_its_runs_that_finished(tmp_path):
    batch = make_batch(tmp_path / "b", [({"EPOCHS": 1}, [0.5, None, 0.6]), ({"EPOCHS": 2}, [None])])
    assert batch.members("epochs=1") == [batch.folder / f"epochs=1__seed={seed}" for seed in (42, 44)]
    for setting in ("epochs=2", "base"):
        with pytest.raises(InputError, match=f"ENSEMBLE: '{setting}' is no setting of .* with a finished run; .*: epochs=1$"):
            batch.members(setting)
