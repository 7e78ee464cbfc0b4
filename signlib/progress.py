"""How the runs of a batch stand while they run: `Progress`."""

import shutil
import time

from signlib.headless import Log
from signlib.history import duration, percent
from signlib.locks import lock_owner
from signlib.state import read_progress

SHOW_SECONDS = 60  # between two tables where they are written below each other; on a terminal each takes the place of the last
NAME, REST = 56, 71  # letters of a run's name at most, the end of it; of all else in a row


class Progress:
    """The table of what runs and a line for each run that has ended, written to `out`. runs: {name: Planned} of those that
    are to be run, each in its folder in `folder`; `before`: how many were done already."""

    def __init__(self, runs, folder, out, before=0):
        self.runs, self.folder, self.before = runs, folder, before
        self.live, self.out = out.isatty(), Log(out)
        room = shutil.get_terminal_size().columns - REST if self.live else NAME
        self.letters = max(16, min(NAME, room, max(map(len, runs), default=NAME)))
        self.started, self.shown, self.lines = time.monotonic(), -SHOW_SECONDS, 0
        self.ended, self.seen = {}, {}  # {name: status}; {name: (time of its state.h5, what that says)}

    def show(self):
        """Writes the table of the runs that somebody writes just now, where it is time for it."""
        now = time.monotonic()
        if self.live or now - self.shown >= SHOW_SECONDS:
            self.shown = now
            self._write("", self._table())

    def epoch(self, name):
        """Returns how many whole epochs a run has behind it."""
        return self._progress(name).get("epoch", 0)

    def say(self, text):
        """Writes a line that stays."""
        self._write(text, [])

    def end(self, name, status, reason=""):
        """Writes the line of a run that has ended."""
        self.ended[name] = status
        row = self._row(name, status)
        self.seen.pop(name, None)
        if reason and status != "finished":
            row += f"\n{'':12} {reason}"
        self._write(row, self._table() if self.live else [])

    def _write(self, text, table):
        """`text`, which stays, and below it on a terminal the table, in the place of the one before."""
        if self.live and self.lines:
            self.out.write(f"\x1b[{self.lines}F\x1b[J")
        width = shutil.get_terminal_size().columns if self.live else 1000
        table = [line[: width - 1] for line in table]
        self.out.write("".join(f"{line}\n" for line in [*([text] if text else []), *table]))
        self.lines = len(table)

    def _table(self):
        rows = [self._row(name, "running") for name in self.runs if name not in self.ended and lock_owner(self.folder / name)]
        left, all_runs = len(self.runs) - len(self.ended), len(self.runs) + self.before
        line = f"{all_runs - left} of {all_runs} runs done, {len(rows)} running, {left - len(rows)} waiting"
        if self.ended and left:
            line += f"; about {duration((time.monotonic() - self.started) / len(self.ended) * left)} left"
        head = f"{'':12} {'run':{self.letters}} {'epoch':>9}  {'best':>21}  {'val accuracy':>12}  {'ETA <=':>8}"
        return [head, *rows, line] if rows else [line]

    def _row(self, name, status):
        parameters, progress = self.runs[name].parameters, self._progress(name)
        history, epochs = progress.get("history", {}), parameters.get("EPOCHS", 0)
        epoch, best, best_epoch = progress.get("epoch", 0), progress.get("best_value"), progress.get("best_epoch", 0)
        shown = f"{progress['monitor']} {best:.4f}" if best_epoch else ""
        accuracy = percent("val_accuracy", {"val_accuracy": history["val_accuracy"][best_epoch - 1]}) if best_epoch else ""
        seconds = progress.get("seconds", 0)
        time_left = seconds / epoch * (epochs - epoch) if epoch and status == "running" else seconds
        took = duration(time_left) if epoch else ""
        short = name if len(name) <= self.letters else "…" + name[1 - self.letters :]
        return f"{status:12} {short:{self.letters}} {f'{epoch}/{epochs}':>9}  {shown:>21}  {accuracy:>12}  {took:>8}"

    def _progress(self, name):
        """What the run's state.h5 says, which is read anew after each epoch alone."""
        path = self.folder / name / "state.h5"
        try:
            changed = path.stat().st_mtime_ns
        except OSError:
            return {}
        if self.seen.get(name, (0,))[0] != changed:
            self.seen[name] = changed, read_progress(path)
        return self.seen[name][1]
