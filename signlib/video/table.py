"""`extraction.csv`: what is known of each video that was extracted into a folder, and by which settings; a row a video.

A row is added when the keypoints of its video are on disk, so that a folder whose extraction was killed says what is done.
"""

import csv
import io
import pathlib

from signlib.errors import InputError
from signlib.files import atomic_path
from signlib.video.videos import Source

NAME = "extraction.csv"
ORIGIN = ["source", "bytes", "first_frame", "last_frame", "json_fps", "bbox"]  # the same: the same video
SETTINGS = ["fps", "cropped", "mediapipe"]  # the same for a whole folder
FACTS = ["video_fps", "width", "height", "frames", "pose", "face", "left_hand", "right_hand", "hands", "note"]
COLUMNS = ["video_id", "status", *ORIGIN, *SETTINGS, *FACTS]  # status: done, failed (the note says why) or outdated


class Table:
    """The rows {video_id: {column: text}} of a folder's `extraction.csv`; `exists` says whether there was one. Raises
    InputError for a file of other columns."""

    def __init__(self, folder):
        self.path = pathlib.Path(folder) / NAME
        self.exists, self.rows = self.path.is_file(), {}
        if self.exists:
            text = self.path.read_text(encoding="utf-8-sig")
            whole = text[: text.rfind("\n") + 1]  # a killed process may leave half a row
            reader = csv.DictReader(io.StringIO(whole, newline=""))
            if not set(COLUMNS) <= set(reader.fieldnames or ()):
                raise InputError(f"{self.path} is no table of this version; move it away, or extract into another folder")
            self.rows = {row["video_id"]: row for row in reader}

    def write(self):
        """Writes all rows anew, sorted, atomically."""
        with atomic_path(self.path) as temporary, _open(temporary, "w") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows[video_id] for video_id in sorted(self.rows))

    def add(self, row):
        """Adds a row at the end of the file, or in the place of an older one of the same id, at the latest when it is read."""
        self.rows[row["video_id"]] = row = {name: str(row.get(name, "")) for name in COLUMNS}
        row["note"] = " ".join(row["note"].split())
        with _open(self.path, "a") as file:
            csv.DictWriter(file, COLUMNS, lineterminator="\n").writerow(row)

    def source(self, video_id):
        """Returns the `Source` of a video whose keypoints are here. Raises InputError for another id."""
        row = self.rows.get(video_id, {"status": ""})
        if row["status"] != "done":
            there = ", ".join([v for v, row in self.rows.items() if row["status"] == "done"][:3])
            raise InputError(f"no keypoints of a video {video_id!r} in {self.path.parent}; ids look like {there}")
        bbox = tuple(int(v) for v in row["bbox"].split())
        return Source(video_id, row["source"], (int(row["first_frame"]), int(row["last_frame"])), float(row["json_fps"]), bbox)

    def frame(self):
        """Returns the rows as a DataFrame, sorted, counts and shares as numbers."""
        import pandas as pd

        table = pd.DataFrame([self.rows[video_id] for video_id in sorted(self.rows)], columns=COLUMNS)
        return table.assign(**{name: pd.to_numeric(table[name]) for name in (*FACTS[:-1], "fps")})


def _open(path, mode):
    return path.open(mode, newline="", encoding="utf-8")
