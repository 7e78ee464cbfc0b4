"""Clips that sit among another gloss's clips: labels that may be wrong. Nearest neighbours in the preprocessed space."""

import numpy as np

from signlib.points import resample
from signlib.preprocess import Preprocessor

MOMENTS = 16  # of a clip, evenly spaced, so that clips of any length are comparable
NEIGHBOURS = 10  # with labels exchanged at random in webcam13, 6 of 10 find 99 % of them and flag 0.5 % of the others
DIMENSIONS = 64  # principal components that distances are measured in; 32 and 200 find the same on webcam13 and webcam10
COLUMNS = ["clip", "gloss", "looks_like", "share", "neighbours"]


def embedder(layout, blocks):
    """Returns a function from the frames `(T, F)` of a clip to the row of float16 that is kept of it to find its neighbours:
    features of hands and pose, so that neither place nor size of the signer nor speed counts."""
    landmarks = "hands+pose" if "pose" in blocks else "hands"
    preprocessor = Preprocessor(MOMENTS, landmarks, layout=layout, kinds="position", interpolate=False, trim=False)

    def embed(frames):
        points = preprocessor.points(frames, layout)
        features = preprocessor.features(resample(points, np.linspace(0, len(points) - 1, MOMENTS)))
        return features.astype(np.float16).ravel()

    return embed


def find_suspects(rows, glosses, groups, limit):
    """Returns a DataFrame, most suspect first: clip, gloss, looks_like, share (of its nearest clips that carry that other
    gloss), neighbours (their ids, nearest first).

    rows: {video_id: what an `embedder` gave}. glosses: {video_id: gloss}. groups: duplicates, which are no evidence for each
    other. limit: the smallest share; of the neighbours at most one then carries the clip's own gloss. A gloss with a handful
    of clips cannot fill a neighbourhood: on wlasl300, 8 clips a gloss, nothing is found.
    """
    import pandas as pd

    ids = np.array(sorted(rows))
    if len(ids) <= NEIGHBOURS:
        return pd.DataFrame([], columns=COLUMNS)
    from sklearn.decomposition import PCA
    from sklearn.neighbors import NearestNeighbors

    group = {video_id: number for number, members in enumerate(groups) for video_id in members}
    # As many as may be duplicates are looked for beyond those that count.
    wanted = min(len(ids), NEIGHBOURS + min(max(map(len, groups), default=1), 100))
    space = np.stack([rows[v] for v in ids])
    dimensions = min(DIMENSIONS, len(ids) - 1, space.shape[1])
    with np.errstate(invalid="ignore"):  # clips that are all alike have no variance to be explained
        space = PCA(dimensions, svd_solver="randomized", random_state=0).fit_transform(space.astype(np.float32))
    distances, nearest = NearestNeighbors(n_neighbors=wanted, algorithm="brute").fit(space).kneighbors(space)
    found = []
    for clip, gaps, near in zip(ids, distances, nearest, strict=True):
        mine = group.get(clip, -1)
        others = [i for i, v in enumerate(ids[near]) if v != clip and (mine < 0 or group.get(v) != mine)][:NEIGHBOURS]
        carried = [glosses[v] for v in ids[near[others]]]
        looks_like = max(sorted(set(carried) - {glosses[clip]}), key=carried.count, default=None)
        share = carried.count(looks_like) / NEIGHBOURS
        if looks_like is not None and share >= limit and carried.count(glosses[clip]) <= 1:
            found.append((-share, gaps[others[0]], str(clip), glosses[clip], looks_like, ids[near[others]].tolist()))
    table = [(clip, gloss, looks_like, -share, near) for share, _, clip, gloss, looks_like, near in sorted(found)]
    return pd.DataFrame(table, columns=COLUMNS)
