"""What a model made of some clips, with all that is known of them: `Predictions`, judged, saved and read."""

import pathlib
import zipfile
from dataclasses import asdict, dataclass

import numpy as np

from signlib.errors import InputError
from signlib.evaluate import FEW_UNITS, accuracy_interval, baselines, macro_f1, predict, top_k, units_of
from signlib.files import atomic_path
from signlib.gloss_checks import synonyms


@dataclass(frozen=True)
class Predictions:
    """N clips of C classes. Of each clip, unknown text being empty: video_ids, signers, sources; labels; probabilities
    `(N, C)`; frequent, nearest: the classes that the baselines take it for; met: its signer was learnt from; recordings:
    the number of its group of one recording under several ids, or -1; learnt: another clip of that was learnt from;
    copies: other glosses that the recording carries, a line each.

    Of each class: classes, its gloss; merged, the first class that stands for the same sign, as `gloss_checks.synonyms` has it.
    """

    video_ids: np.ndarray
    classes: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    frequent: np.ndarray
    nearest: np.ndarray
    signers: np.ndarray
    sources: np.ndarray
    met: np.ndarray
    recordings: np.ndarray
    learnt: np.ndarray
    copies: np.ndarray
    merged: np.ndarray

    @property
    def predicted(self):
        """`(N,)`: the most probable class of each clip."""
        return self.probabilities.argmax(axis=1)

    @property
    def units(self):
        """`(N,)`: see `evaluate.units_of`."""
        return units_of(self.signers, self.recordings)

    def take(self, chosen):
        """Returns the `Predictions` of some of the clips, `(N,)` bool."""
        whole = {name: getattr(self, name) for name in ("classes", "merged")}
        return Predictions(**{name: value[chosen] for name, value in vars(self).items() if name not in whole}, **whole)

    def interval(self, correct):
        """Returns (share, low, high) of `(N,)` bool, with its 95 % interval over signers and recordings."""
        return accuracy_interval(correct, self.units)

    def rows(self):
        """Returns rows (name, share, low, high): the model's top 1, with synonyms merged where there are any, top 5 and
        macro-F1, then the baselines and chance, with 95 % intervals."""
        rows = [("model, top 1", *self.interval(top_k(self.probabilities, self.labels)))]
        if len(np.unique(self.merged)) < len(self.classes):
            same = self.merged[self.predicted] == self.merged[self.labels]
            rows.append(("model, synonyms merged", *self.interval(same)))
        if len(self.classes) > 5:
            rows.append(("model, top 5", *self.interval(top_k(self.probabilities, self.labels, 5))))
        rows.append(("model, macro-F1", *macro_f1(self.labels, self.predicted, len(self.classes), self.units)))
        rows += [(name, *self.interval(guess == self.labels)) for name, guess in
                 (("most frequent gloss", self.frequent), ("nearest neighbour", self.nearest))]  # fmt: skip
        return [*rows, ("chance", *[1 / len(self.classes)] * 3)]

    def basis(self):
        """Returns in words what the intervals rest on."""
        units, signers = len(np.unique(self.units)), len(np.unique(self.signers[self.signers != ""]))
        text = f"{len(self.labels)} clips"
        if units < len(self.labels):
            text += f", drawn as {units} independent units ({signers or 'unknown'} signers; clips of one recording)"
        return text + (": too few for an interval to be trusted" if units < FEW_UNITS else "")

    def answered(self, threshold):
        """Returns in words how many clips get an answer where a confidence below `threshold` is rejected, and how many of these
        are right, with the 95 % interval."""
        sure = self.take(self.probabilities.max(axis=1) >= threshold)
        if not len(sure.labels):
            return f"0 of {len(self.labels)} clips get an answer"
        share, low, high = sure.interval(top_k(sure.probabilities, sure.labels))
        text = f"{len(sure.labels)} of {len(self.labels)} clips get an answer, {share:.0%} of these are right"
        return f"{text} ({low:.0%} to {high:.0%})"

    def by(self, what):
        """Returns a DataFrame, a row a "gloss", "signer" or "source", worst first: clips, accuracy, low, high."""
        import pandas as pd

        of = {"gloss": self.classes[self.labels], "signer": self.signers, "source": self.sources}[what]
        units = self.units if what != "signer" else units_of(np.full(len(of), ""), self.recordings)
        correct, rows = top_k(self.probabilities, self.labels), []
        for name in np.unique(of):
            chosen = of == name
            rows.append((name or "unknown", chosen.sum(), *accuracy_interval(correct[chosen], units[chosen])))
        table = pd.DataFrame(rows, columns=[what, "clips", "accuracy", "low", "high"])
        return table.sort_values(["accuracy", "clips", what], ascending=[True, False, True], ignore_index=True)

    def confused(self):
        """Returns a DataFrame, a row a pair of glosses, worst first: signed, read, wrong (clips), clips (of `signed`), kind,
        video_ids. kind: "duplicate" (each recording carries both glosses), "synonyms" (other recordings do, or they are spelt
        alike), or "confusion"."""
        import pandas as pd

        rows, predicted = [], self.predicted
        for signed, read in np.unique(np.stack([self.labels, predicted], axis=1)[self.labels != predicted], axis=0):
            chosen = (self.labels == signed) & (predicted == read)
            names = str(self.classes[signed]), str(self.classes[read])
            if all(names[1] in copies.split("\n") for copies in self.copies[chosen]):
                kind = "duplicate"
            else:
                kind = "synonyms" if self.merged[signed] == self.merged[read] else "confusion"
            of_gloss = int((self.labels == signed).sum())
            rows.append((*names, int(chosen.sum()), of_gloss, kind, self.video_ids[chosen].tolist()))
        table = pd.DataFrame(rows, columns=["signed", "read", "wrong", "clips", "kind", "video_ids"])
        share = table.wrong / table.clips
        order = table.assign(share=share).sort_values(
            ["wrong", "share", "signed", "read"], ascending=[False, False, True, True]
        )
        return order.drop(columns="share").reset_index(drop=True)

    def save(self, path):
        """Writes an .npz that needs no pickle, atomically."""
        with atomic_path(path) as temporary:
            np.savez(temporary, **asdict(self))


def judge(model, batches, train, clips, groups):
    """Returns the `Predictions` of a model for the clips of `batches`, a KeypointGenerator made with shuffle=False.

    train: the KeypointGenerator that it learnt from; clips: the `Clips` of all, for what the labels say; groups: lists of ids
    of one recording each, see `gate.recordings`.
    """
    ids = [clip.video_id for clip in batches.clips]
    number = {video_id: i for i, members in enumerate(groups) for video_id in members}
    signers = {clip.signer for clip in train.clips} - {-1}
    learnt = {number[clip.video_id] for clip in train.clips if clip.video_id in number}
    gloss = {clip.video_id: clip.gloss for clip in clips} | {i: label.gloss for i, label in clips.labels.items()}
    copies = [sorted({gloss[v] for v in groups[number[i]] if v in gloss} - {gloss[i]}) if i in number else [] for i in ids]
    guesses = baselines(train, batches)
    return Predictions(
        video_ids=np.array(ids),
        classes=np.array(batches.classes),
        labels=batches.labels,
        probabilities=predict(model, batches),
        frequent=guesses["most frequent gloss"],
        nearest=guesses["nearest neighbour"],
        signers=np.array(["" if clip.signer == -1 else str(clip.signer) for clip in batches.clips]),
        sources=np.array([getattr(clips.labels.get(i), "source", "") or "" for i in ids]),
        met=np.array([clip.signer in signers for clip in batches.clips]),
        recordings=np.array([number.get(i, -1) for i in ids]),
        learnt=np.array([number.get(i) in learnt for i in ids]),
        copies=np.array(["\n".join(names) for names in copies]),
        merged=synonyms(batches.classes, groups, gloss),
    )


def read_predictions(path):
    """Returns the `Predictions` that `save` wrote; raises InputError naming a file that holds none."""
    path = pathlib.Path(path)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
            return Predictions(**{name: saved[name] for name in Predictions.__dataclass_fields__})
    except FileNotFoundError:
        why = "has not read the test clips (EVALUATE_TEST)" if "test" in path.name else "did not reach its end (RESUME it)"
        raise InputError(f"there is no {path}: that run {why}") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} holds no predictions of this version ({error}): train again, or resume the run") from None
