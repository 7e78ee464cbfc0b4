"""The data of a finished run again, from its folder: `reopen`."""

from signlib.dataset import load_clips
from signlib.errors import InputError
from signlib.project import project_path
from signlib.split import split_clips


def reopen(folder, run):
    """Returns (clips, train, val) as the run had them. folder, run: as `read_run` returns them. Raises InputError where the
    data is no longer there, or no longer the same."""
    parameters = run["parameters"]
    labels = project_path(parameters["LABELS"]) if parameters["LABELS"] else None
    clips = load_clips(run["data"], labels, parameters["LAYOUT"], max_bad_share=1.0)
    if clips.fingerprint != run["data_fingerprint"]:
        raise InputError(f"{run['data']} is not what {folder.name} learnt from: its clips or labels have changed since")
    train, val, _ = split_clips(clips, folder / "split.json")
    return clips, train, val
