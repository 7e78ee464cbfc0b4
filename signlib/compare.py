"""The runs of a batch compared: its settings, the effect of each parameter, and which differences exceed the seeds' noise."""

import functools
import itertools
import json
import math
import pathlib
from dataclasses import dataclass

import numpy as np

from signlib.errors import InputError
from signlib.evaluate import FEW_UNITS, accuracy_interval, resampled, top_k
from signlib.predictions import read_predictions
from signlib.project import notebook_parameters, project_path
from signlib.runs import origin_changes, read_run, read_state

TOP_1 = "model, top 1"
COUNTED = ("finished", "diverged")  # both are a setting's own doing; one that was interrupted might have become better
ROUNDING = 1e-9  # of means: a difference that is no larger is none
UNKNOWN = (math.nan, math.nan)


@dataclass
class Batch:
    """`folder`; `varied`: the parameters that differ, but for SEED; `runs`: a DataFrame, a row a planned run in the plan's
    order, then one an ensemble, which has no setting; `histories`: {setting: [history of each of its runs that has one]}.

    A setting is the runs that differ in SEED alone. Those that finished or diverged count. All figures are of validation
    clips. The seeds' noise s is the deviation s_i of the n_i runs of a setting from their mean, pooled over all settings as in
    an analysis of variance: s² = Σ (n_i - 1) s_i² / Σ (n_i - 1), with ν = Σ (n_i - 1) degrees of freedom. So settings of two
    or three seeds lend each other what they know of it; it is taken to be alike in all, and the runs to be independent, though
    those of one seed begin alike in all settings.
    """

    folder: pathlib.Path
    varied: list
    runs: object
    histories: dict

    def scores(self, metric=TOP_1):
        """Returns {setting: `(n,)` the metric of its runs that count}, in the plan's order. Raises InputError, naming those
        that there are, for a metric that no run has."""
        values, metrics = {setting: np.array([]) for setting in self._settings}, list(self.runs.columns)
        metrics = metrics[metrics.index("seconds") + 1 :]
        if metrics and metric not in metrics:
            raise InputError(f"METRIC: no run has {metric!r}; expected one of {', '.join(map(repr, metrics))}")
        return values | {setting: rows[metric].dropna().to_numpy(float) for setting, rows in self._counted.items() if metrics}

    def settings(self, metric=TOP_1):
        """Returns a DataFrame, a row a setting, best first; what is not known is NaN.

        finished: how many of its runs count. mean, over its seeds; low, high: the 95 % interval of the mean over all seeds,
        mean ± t(0.975, ν) s / √n by the pooled noise (see `Batch`), cut to 0 to 1. clips low, clips high, of top 1 alone: the
        interval for other clips and the same seeds: of each clip the share of the seeds that read it rightly, then
        `evaluate.accuracy_interval`, which draws whole signers and recordings. seeds averaged: top 1 of the mean of the
        seeds' probabilities, which an ensemble would reach. Both need seeds that were judged by the same clips.
        """
        import pandas as pd

        rows, counted, scores = [], self._counted, self.scores(metric)
        noise, _, t = _noise(scores)
        for setting, parameters in self._settings.items():
            values, done = scores[setting], counted.get(setting, self.runs[:0])
            mean = values.mean() if len(values) else math.nan
            half = t * noise / math.sqrt(max(len(values), 1))
            low, high = np.clip([mean - half, mean + half], 0, 1)
            judged = self._judged.get(setting, {"interval": UNKNOWN, "averaged": math.nan})
            clips_low, clips_high = judged["interval"] if metric == TOP_1 else UNKNOWN
            diverged = (done.status == "diverged").sum()
            row = {"setting": setting, **dict(zip(self.varied, parameters, strict=True))}
            row["finished"] = f"{len(done)} of {(self.runs.setting == setting).sum()}" + f", {diverged} diverged" * bool(
                diverged
            )
            row |= {"mean": mean, "low": low, "high": high, "clips low": clips_low, "clips high": clips_high}
            nearest = done["nearest neighbour"].mean() if "nearest neighbour" in done else math.nan
            row |= {"seeds averaged": judged["averaged"], "nearest neighbour": nearest, "seconds": done.seconds.mean()}
            rows.append(row)
        return pd.DataFrame(rows).sort_values("mean", ascending=False, kind="stable", ignore_index=True)

    def effects(self, metric=TOP_1):
        """Returns a DataFrame, a row a value of a varied parameter: parameter, value, against (the notebook's default where
        that is among the values, else the first), pairs, effect, low, high.

        pairs: how many pairs of settings differ in this parameter alone, so that an unbalanced list of runs is not
        confounded. effect: the mean over these m pairs of the difference of their means; NaN where there is none. No setting
        is in two pairs, so its 95 % interval is effect ± t(0.975, ν) s / m √(Σ over the pairs (1 / n_value + 1 / n_against)),
        by the pooled noise (see `Batch`).
        """
        import pandas as pd

        scores, defaults, rows = self.scores(metric), notebook_parameters(), []
        noise, _, t = _noise(scores)
        found = {parameters: scores[setting] for setting, parameters in self._settings.items() if len(scores[setting])}
        for place, parameter in enumerate(self.varied):
            values = list(dict.fromkeys(parameters[place] for parameters in self._settings.values()))
            default = defaults.get(parameter, (None,))[0]
            against = default if default in values else values[0]
            for value in (value for value in values if value != against):
                keys = [(key, (*key[:place], against, *key[place + 1 :])) for key in found if key[place] == value]
                pairs = [(found[one], found[other]) for one, other in keys if other in found]
                effect = np.mean([one.mean() - other.mean() for one, other in pairs]) if pairs else math.nan
                spread = math.sqrt(sum(1 / len(one) + 1 / len(other) for one, other in pairs)) / max(len(pairs), 1)
                half = t * noise * spread
                rows.append((parameter, value, against, len(pairs), effect, effect - half, effect + half))
        table = pd.DataFrame(rows, columns=["parameter", "value", "against", "pairs", "effect", "low", "high"], dtype=object)
        return table.astype({"pairs": int, "effect": float, "low": float, "high": float})  # a whole number stays one

    def differences(self, metric=TOP_1):
        """Returns a DataFrame, a row a pair of settings with two runs or more, the better first: one, other, difference, low,
        high, beyond, clips low, clips high.

        low, high: by Tukey's HSD, by Tukey and Kramer's where the numbers of seeds differ, as scipy.stats.tukey_hsd has them:
        difference ± q(0.95; settings, ν) s √((1 / n_one + 1 / n_other) / 2), by the pooled noise (see `Batch`). beyond: 0 lies
        outside; where no two settings truly differ, that is said of any pair in 5 % of batches. Where all seeds came out
        equal, the noise is 0 and every difference beyond. clips low, clips high, of top 1 alone: the 95 % interval of this one
        difference for other clips and the same seeds, by drawing whole signers and recordings, the same for both; NaN where
        the two were judged by different clips, or by fewer than FEW_UNITS signers and recordings.
        """
        import pandas as pd
        from scipy.stats import studentized_range

        scores = {setting: values for setting, values in self.scores(metric).items() if len(values) > 1}
        noise, freedom, _ = _noise(scores)
        q, rows = studentized_range.ppf(0.95, len(scores), freedom) if len(scores) > 1 else math.nan, []
        for one, other in itertools.combinations(sorted(scores, key=lambda setting: -scores[setting].mean()), 2):
            difference = scores[one].mean() - scores[other].mean()
            half = q * noise * math.sqrt((1 / len(scores[one]) + 1 / len(scores[other])) / 2)
            clips, judged = UNKNOWN, [self._judged.get(setting, {"clips": setting}) for setting in (one, other)]
            if metric == TOP_1 and judged[0]["clips"] == judged[1]["clips"] and judged[0]["drawn"] is not None:
                clips = np.quantile(judged[0]["drawn"] - judged[1]["drawn"], [0.025, 0.975])
            rows.append((one, other, difference, difference - half, difference + half, difference > half + ROUNDING, *clips))
        columns = ["one", "other", "difference", "low", "high", "beyond", "clips low", "clips high"]
        return pd.DataFrame(rows, columns=columns)

    def caveats(self, metric=TOP_1):
        """Returns sentences: what to bear in mind before the best setting is believed."""
        from scipy.stats import norm

        scores = {setting: values for setting, values in self.scores(metric).items() if len(values)}
        noise, _, _ = _noise(scores)
        said = [f"Settings compared on the validation clips, which also chose each run's best epoch: {len(scores)}."]
        if noise > ROUNDING and len(scores) > 1:  # Blom 1958: the largest of so many normal values, as expected
            luck = norm.ppf((len(scores) - 0.375) / (len(scores) + 0.25)) * noise
            luck *= np.mean([1 / math.sqrt(len(values)) for values in scores.values()])
            said.append(f"Were all of them alike, the best mean would lie {luck:.1%} above their average, by the seeds alone.")
        if noise < ROUNDING:
            said.append("All seeds of each setting came out equal, so that nothing is known of their noise: run more seeds.")
        if alone := [setting for setting, values in scores.items() if len(values) == 1]:
            said.append(f"One run alone has no part in the differences: {', '.join(alone)}.")
        judged = {setting: self._judged[setting]["clips"] for setting in scores if setting in self._judged}
        best = max(judged, key=lambda setting: scores[setting].mean(), default=None)
        if others := [setting for setting in judged if judged[setting] != judged[best]]:
            said.append(f"Judged by other clips than {best}, so not to be compared with it: {', '.join(others)}.")
        return said

    def members(self, setting):
        """Returns the folders of a setting's runs that finished. Raises InputError, naming the settings that have any, where
        it is none of them."""
        finished = self.runs[self.runs.status == "finished"].groupby("setting", sort=False)
        found = {name: [self.folder / run for run in rows.run] for name, rows in finished}
        if setting not in found:
            raise InputError(
                f"ENSEMBLE: {setting!r} is no setting of {self.folder} with a finished run; expected one of these: "
                f"{', '.join(found) or 'none yet'}"
            )
        return found[setting]

    @functools.cached_property
    def _settings(self):
        """{setting: the values of its varied parameters}, in the plan's order."""
        planned = self.runs[self.runs.setting.notna()].drop_duplicates("setting")
        return {row["setting"]: tuple(row[name] for name in self.varied) for row in planned.to_dict("records")}

    @functools.cached_property
    def _counted(self):
        """{setting: the rows of its runs that count} of each setting that has any."""
        return dict(iter(self.runs[self.runs.status.isin(COUNTED)].groupby("setting", sort=False)))

    @functools.cached_property
    def _judged(self):
        """{setting: {clips: which judged it, interval: for other clips, drawn: accuracies on clips drawn anew or None,
        averaged: the seeds'}} of those whose runs were all judged by the same clips."""
        found = {}
        for setting, rows in self._counted.items():
            try:
                runs = [read_predictions(self.folder / run / "predictions.npz") for run in rows.run]
            except InputError:  # torn, or of another version
                continue
            clips = {tuple(map(tuple, (run.video_ids, run.classes, run.labels, run.units))) for run in runs}
            if len(clips) > 1:
                continue
            labels, units = runs[0].labels, runs[0].units
            right = np.mean([top_k(run.probabilities, labels) for run in runs], axis=0)
            averaged = top_k(np.mean([run.probabilities for run in runs], axis=0), labels).mean()
            counts = np.stack([np.bincount(units, right), np.bincount(units)], axis=1)
            drawn = np.concatenate([totals[:, 0] / totals[:, 1] for totals in resampled(counts)])
            found[setting] = {
                "clips": clips.pop(),
                "interval": accuracy_interval(right, units)[1:],
                "drawn": drawn if len(counts) >= FEW_UNITS else None,
                "averaged": averaged if len(runs) > 1 and (rows.status == "finished").all() else math.nan,
            }
        return found


def _noise(scores):
    """(s, ν, t(0.975, ν)) as `Batch` defines them, of {setting: values}; NaN where no setting has two."""
    from scipy.stats import t

    values = [values for values in scores.values() if len(values)]
    freedom = sum(map(len, values)) - len(values)
    squares = sum(((seeds - seeds.mean()) ** 2).sum() for seeds in values)
    return math.sqrt(squares / freedom) if freedom else math.nan, freedom, t.ppf(0.975, freedom)


def read_batch(batch="", runs="runs"):
    """Returns the `Batch` in a folder: its path, its name in `runs`, or "" for the newest there.

    A run that has not begun is "waiting", one whose run.json is torn "unreadable"; one that is to be made anew, since it does
    not follow from what the batch's do, and an ensemble whose members were, is "outdated". Raises InputError where there is
    no batch, or its batch.json cannot be read.
    """
    import pandas as pd

    runs = project_path(runs)
    if batch:
        folder = next((path for path in (project_path(batch), runs / batch) if (path / "batch.json").is_file()), None)
        if folder is None:
            raise InputError(f"BATCH: no batch {batch!r}: neither {project_path(batch)} nor {runs / batch} holds a batch.json")
    else:
        newest = max(runs.glob("*/batch.json"), key=lambda path: path.stat().st_mtime, default=None)
        if newest is None:
            raise InputError(f"BATCH: no batch in {runs}: run one first, with python -m signlib.batch PLAN.yaml")
        folder = newest.parent
    rows, histories = [], {}
    try:
        plan = json.loads((folder / "batch.json").read_text(encoding="utf-8"))
        varied = list(plan["varied"])
        for name, planned in plan["runs"].items():
            row, history = _read(folder / name, planned["origin"])
            parameters = {parameter: planned["parameters"][parameter] for parameter in ("SEED", *varied)}
            rows.append({"run": name, "setting": planned["setting"], **parameters, **row})
            histories.setdefault(planned["setting"], []).extend([history] * bool(history))
        if not rows:
            raise ValueError("no runs")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"BATCH: {folder / 'batch.json'} cannot be read as a batch's; choose another batch") from None
    for path in sorted(path.parent for path in folder.glob("*/run.json") if path.parent.name not in plan["runs"]):
        if members := (read_state(path) or {}).get("ensemble"):
            row = _read(path)[0]
            if any(_model(folder / name) != digest for name, digest in members.items()):
                row["status"] = "outdated"
            rows.append({"run": path.name, "setting": None, **dict.fromkeys(("SEED", *varied), ""), **row})
    return Batch(folder, varied, pd.DataFrame(rows), {setting: found for setting, found in histories.items() if found})


def _model(folder):
    """The digest of the model that a run ended with."""
    return ((read_state(folder) or {}).get("model") or {}).get("sha256")


def _read(folder, origin=None):
    """(status, epochs, best_epoch, seconds and metrics of a run, its history). origin: what it has to follow from."""
    row = {"status": "waiting", "epochs": 0, "best_epoch": 0, "seconds": math.nan}
    if not (folder / "run.json").exists():
        return row, {}
    try:
        state = read_run(folder)[1]
        if origin is not None and origin_changes(folder, state, origin):
            return row | {"status": "outdated"}, {}
        row |= {"status": state["status"], "epochs": max(map(len, state["history"].values()), default=0)}
        row |= {"best_epoch": int(state["best_epoch"]), "seconds": float(state["seconds"])}
        return row | {name: float(value) for name, value in state.get("metrics", {}).items()}, state["history"]
    except (InputError, OSError, ValueError, TypeError, AttributeError):
        return row | {"status": "unreadable"}, {}
