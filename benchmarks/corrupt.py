"""Plants faults into clean clips of a data folder and says what it planted. Seeded: the same seed gives the same bytes.

`plant(folder, kind, count, seed)` changes files and labels in `folder`: a flat folder of `<video_id>.npy`, of any layout,
with a WLASL_v0.3.json in it or beside it. KINDS says what can be planted and by which checks an audit should report it. A
fault of strength 0 is the least that a user would still call a fault, one of strength 1 is plainly wrong; a plant spreads
its clips evenly between the two. A clip that cannot show a fault (without a hand none can jump) is passed over, so that
fewer than `count` may be planted, also none.

Layout 126 has no pose. With hands alone nobody can say of one clip that left and right are exchanged throughout, or
mirrored: such kinds count as fuzzy there. Of orders it has only those of the hands and of the axes.
"""

import hashlib
import json
import pathlib
import pickle
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.damage_kinds import npy, npz, pick
from signlib.labels import find_labels
from signlib.landmarks import LAYOUTS, detect_layout, mirror_permutation, starts

HANDS = ("left_hand", "right_hand")
WRIST, KNUCKLE = 0, 9  # of a hand: their distance is its palm
PALMS = 4  # palms in a shoulder width


@dataclass(frozen=True)
class Planted:
    """One planted fault. clip: its id, "" for the data set as a whole. checks: a finding of one of them on that clip names it.
    strength: 0 to 1. names: texts of which the finding should name one; empty: any will do. partners: ids that are rightly
    reported with it, the originals of a copy."""

    clip: str
    checks: tuple
    strength: float
    names: tuple = ()
    partners: tuple = ()


class Data:
    """A data folder: ids with a label and a file, their frames and the table of the json. Files may be hard links: a
    changed one is written anew."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.labels = find_labels(self.folder)
        self.before = self.labels.read_text()
        self.table = json.loads(self.before)
        self.ids = sorted({i["video_id"] for _, i in self.instances()} & {path.stem for path in self.folder.glob("*.npy")})
        self.layout = detect_layout(np.load(self.path(self.ids[0]), mmap_mode="r").shape[1:])

    def path(self, video_id):
        return self.folder / f"{video_id}.npy"

    def read(self, video_id):
        """Returns `(T, F)`, a copy."""
        frames = np.load(self.path(video_id))
        return frames.reshape(len(frames), -1)

    def write(self, video_id, content):
        """content: frames `(T, F)`, or bytes. Frames get the shape that the layout is named after."""
        if not isinstance(content, bytes):
            shape = LAYOUTS[self.layout].shape
            content = npy(content.reshape(-1, *shape) if content.shape[1] == LAYOUTS[self.layout].width else content)
        self.path(video_id).unlink(missing_ok=True)
        self.path(video_id).write_bytes(content)

    def instances(self):
        """Returns (word, instance) of all of the table."""
        return [(word, instance) for word in self.table for instance in word["instances"]]

    def find(self, video_id):
        """Returns (word, instance) of an id."""
        return next(pair for pair in self.instances() if pair[1]["video_id"] == video_id)

    def drop(self, video_id, file=True):
        """Removes an id from the table, and its file."""
        for word in self.table:
            word["instances"] = [i for i in word["instances"] if i["video_id"] != video_id]
        self.table[:] = [word for word in self.table if word["instances"]]
        if file:
            self.path(video_id).unlink(missing_ok=True)

    def single(self):
        """Returns the ids of which no other file has the same bytes."""
        contents = {v: hashlib.sha256(self.path(v).read_bytes()).digest() for v in self.ids}
        counts = Counter(contents.values())
        return [v for v in self.ids if counts[contents[v]] == 1]

    def add_copy(self, rng, video_id, frames, gloss=None, **changed):
        """Adds frames under a new id, with the labels of `video_id` but for what is `changed`; returns the id. Unless it is
        changed the url is the id's own, so that labels do not give the copy away."""
        new = next(v for v in (f"{n:05d}" for n in rng.integers(70_000, 99_999, 10**4)) if not self.path(v).exists())
        word, instance = self.find(video_id)
        word = word if gloss is None else next(w for w in self.table if w["gloss"] == gloss)
        word["instances"].append(instance | {"video_id": new, "url": f"https://example.org/{new}.mp4"} | changed)
        self.write(new, frames)
        return new

    def save(self):
        if (text := json.dumps(self.table, indent=1)) != self.before and self.table != json.loads(self.before):
            self.labels.unlink()
            self.labels.write_text(text)


@dataclass(frozen=True)
class Kind:
    """checks: names of what should report it. damage: (rng, frames, layout, strength) -> frames, bytes, or None where this
    clip cannot show it; for a `whole` kind (rng, data, count) -> list of Planted. exact: whether an audit can be sure.
    pose: whether it can be only with a pose. quick: whether it shows without a
    comparison of all clips. prepare: (rng, data), what makes the data clean of it first."""

    checks: tuple
    damage: Callable
    exact: bool = True
    pose: bool = False
    whole: bool = False
    quick: bool = True
    prepare: Callable = None

    def is_exact(self, layout):
        """Whether every planted fault should be found in clips of that layout."""
        return self.exact and (not self.pose or "pose" in starts(LAYOUTS[layout].blocks))


def plant(folder, kind, count, seed=0):
    """Plants up to `count` faults of a kind and returns a list of `Planted`. With the same folder, kind, count and seed the
    folder holds the same bytes afterwards."""
    data, rng, known = Data(folder), np.random.default_rng([seed, zlib.crc32(kind.encode())]), KINDS[kind]
    if known.whole:
        planted = known.damage(rng, data, count)
    else:
        planted, strengths = [], np.linspace(0, 1, count)
        for video_id in map(str, rng.permutation(data.single())):
            if len(planted) == count:
                break
            strength = float(strengths[len(planted)])
            content = known.damage(rng, data.read(video_id), data.layout, strength)
            if content is not None:
                data.write(video_id, content)
                planted.append(Planted(video_id, known.checks, strength))
    data.save()
    return planted


def prepare(folder, kind, seed=0):
    """Makes a folder clean of a kind that nearly every data set has; most kinds need nothing."""
    if KINDS[kind].prepare:
        data = Data(folder)
        KINDS[kind].prepare(np.random.default_rng(seed), data)
        data.save()


# What a clip holds


def parts(frames, layout):
    """Returns {block: view (T, landmarks, values) of the frames}."""
    first = starts(LAYOUTS[layout].blocks)
    return {
        block: frames[:, first[block][0] : first[block][0] + count * values].reshape(len(frames), count, values)
        for block, count, values in LAYOUTS[layout].blocks
    }


def seen(part):
    """Returns `(T, landmarks)`: which landmarks of a part are detected."""
    return part[..., :3].any(axis=2) & np.isfinite(part[..., :3]).all(axis=2)


def move(frames, layout, change, blocks=None):
    """Applies `change` to the x, y, z `(N, 3)` of the detected landmarks of some blocks, in place; returns the frames."""
    for block, part in parts(frames, layout).items():
        if blocks is None or block in blocks:
            there = seen(part)
            part[there, :3] = change(part[there, :3])
    return frames


def shoulders(view):
    """Returns a clip's shoulder width in the picture, or what its palms say of it; NaN where neither is seen."""
    if "pose" in view and (there := seen(view["pose"])[:, [11, 12]].all(axis=1)).any():
        return float(np.median(np.linalg.norm(view["pose"][there, 11, :2] - view["pose"][there, 12, :2], axis=1)))
    palms = np.stack([np.linalg.norm(view[h][:, WRIST, :2] - view[h][:, KNUCKLE, :2], axis=1) for h in HANDS])
    there = np.stack(list(hands_seen(view).values()))
    return PALMS * float(np.quantile(palms[there], 0.9)) if there.any() else np.nan  # palms that point at the camera look short


def hands_seen(view):
    """Returns {hand: (T,) whether its wrist is detected}."""
    return {hand: seen(view[hand])[:, WRIST] for hand in HANDS}


# Files


def make_unreadable(rng, frames, layout, strength):
    whole = npy(frames)
    return pick(
        rng,
        [
            whole[: rng.integers(len(whole) // 10, len(whole) - 1)],  # a copy that broke off
            b"",
            pickle.dumps(frames.tolist()),
            npy(np.array([{"keypoints": frames.tolist()}], dtype=object)),
            npz(frames),
            b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n",
            "\n".join(",".join(map(str, row)) for row in frames[:3]).encode(),
        ],
    )


def make_wrong_width(rng, frames, layout, strength):
    known = {known.width for known in LAYOUTS.values()}
    width = next(w for w in frames.shape[1] + rng.permutation([-63, -3, -1, 1, 3, 21, 63, 99]) if w > 0 and w not in known)
    return np.resize(np.pad(frames, ((0, 0), (0, 99)))[:, :width], (len(frames), width))


def make_other_layout(rng, frames, layout, strength):
    """The same clip as another layout has it: z alone is lost, or blocks are, or a visibility comes to them."""
    names = [name for name, known in LAYOUTS.items() if known.width != LAYOUTS[layout].width and name != "543"]
    view, rows = parts(frames, layout), []
    for block, count, values in LAYOUTS[pick(rng, names)].blocks:
        part = np.zeros((len(frames), count, values), frames.dtype)
        if block in view:
            part[..., :3] = view[block][..., :3]
            part[..., 3:] = seen(part)[..., None]
        rows.append(part.reshape(len(frames), -1))
    return np.concatenate(rows, axis=1)


def make_short(rng, frames, layout, strength):
    """Six frames, a quarter of a second, to a single one, from the middle."""
    count = round(6 - 5 * strength)
    return frames[(len(frames) - count) // 2 :][:count] if len(frames) >= 10 else None


def make_empty(rng, frames, layout, strength):
    return np.full_like(frames, pick(rng, [0, 0, np.nan]))


def make_frozen(rng, frames, layout, strength, tremble=0.0):
    """The video stands still from its first third on, or all the time."""
    shown = np.flatnonzero(np.any(list(hands_seen(parts(frames, layout)).values()), axis=0))
    at = round(len(frames) * 0.3 * (1 - strength))
    if len(frames) < 10 or not len(shown) or (first := shown[np.abs(shown - at).argmin()]) > 0.35 * len(frames):
        return None
    start = min(at, first)
    frames[start:] = frames[first]
    if tremble:  # a detector that follows a still picture does not stand quite still
        moved = move(frames.copy(), layout, lambda xyz: xyz + tremble * rng.normal(size=xyz.shape))
        frames[start + 1 :] = moved[start + 1 :]
    return frames


def make_nonfinite(rng, frames, layout, strength):
    """2 to 60 % of the values of what is detected, single ones or whole landmarks."""
    share, value, single = 0.02 + 0.58 * strength, pick(rng, [np.nan, np.nan, np.inf]), rng.random() < 0.5
    return move(
        frames, layout, lambda xyz: np.where(rng.random((len(xyz), 3 if single else 1)) < share, xyz.dtype.type(value), xyz)
    )


def make_pixels(rng, frames, layout, strength):
    width, height = ((320, 240), (640, 480), (1280, 720), (1920, 1080))[min(int(4 * strength), 3)]
    return move(frames, layout, lambda xyz: xyz * np.array([width, height, width], xyz.dtype))


def make_wild(rng, frames, layout, strength):
    """A few landmarks stand 5 to 100 pictures away, in a third of the frames to all of them."""
    view = parts(frames, layout)
    often = [(b, i) for b, part in view.items() for i in np.flatnonzero(seen(part).mean(axis=0) > 0.5)]
    if not often:
        return None
    for index in rng.choice(len(often), min(len(often), rng.integers(2, 11)), replace=False):
        block, landmark = often[index]
        when = np.flatnonzero(seen(view[block])[:, landmark] & (rng.random(len(frames)) < 0.34 + 0.66 * strength))
        view[block][when, landmark, :2] = rng.choice([-1, 1], (len(when), 2)) * rng.uniform(5, 5 + 95 * strength)
    return frames


def make_no_hands(rng, frames, layout, strength):
    """Both hands are lost in 80 % of the frames to all of them."""
    lost = rng.permutation(len(frames)) < np.ceil((0.8 + 0.2 * strength) * len(frames))
    return None if "pose" not in parts(frames, layout) else _blank(frames, layout, lost)


def _blank(frames, layout, lost):
    for hand in HANDS:
        parts(frames, layout)[hand][lost] = 0
    return frames


def make_float64(rng, frames, layout, strength):
    return frames.astype("f8")


# Movement


def make_jump(rng, frames, layout, strength, stays=False):
    """A hand is detected two to four shoulder widths away from one frame to the next: for one to four frames (another
    person's, or none at all), or from there to the end. No arm does that in a frame."""
    view = parts(frames, layout)
    there, last = hands_seen(view), len(frames)
    count = last if stays else rng.integers(1, 5)
    places = [
        (hand, t)
        for hand in HANDS
        for t in (range(last // 4, 3 * last // 4) if stays else range(1, last - count))
        if t > 0 and there[hand][t - 1 : min(t + min(count, 4) + 1, last)].all()
    ]
    if not places:
        return None
    hand, t = pick(rng, places)
    angles = rng.uniform(0, 2 * np.pi, 32)
    steps = (2 + 2 * strength) * shoulders(view) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    inside = [step for step in steps if (np.abs(view[hand][t, WRIST, :2] + step - 0.5) < 0.6).all()]
    step = inside[0] if inside else steps[0]  # in the picture, where there is room: a detector looks for hands there
    part = view[hand][t : t + count]
    part[..., :2] += (step * seen(part)[..., None]).astype(frames.dtype)
    return frames


def make_swapped(rng, frames, layout, strength):
    """Left and right hand are exchanged for three frames to half the clip, in its middle or to its end. Both are seen, and
    not at one place, before and after."""
    view = parts(frames, layout)
    left, right = (view[hand] for hand in HANDS)
    apart = np.linalg.norm(left[:, WRIST, :2] - right[:, WRIST, :2], axis=1) > 1.5 / PALMS * shoulders(view)
    both, last = np.all([*hands_seen(view).values(), apart], axis=0), len(frames)
    count = round(3 + strength * max(0, last / 2 - 3))
    begins = [t for t in range(1, last - count) if both[[t - 1, t, t + count - 1, t + count]].all()]
    if last - count > 1 and both[[last - count - 1, last - count, last - 1]].all():
        begins.append(last - count)
    if last < 8 or not begins:
        return None
    return _exchange(frames, layout, slice(begin := pick(rng, begins), begin + count))


def _exchange(frames, layout, when):
    left, right = (parts(frames, layout)[hand] for hand in HANDS)
    left[when], right[when] = right[when].copy(), left[when].copy()
    return frames


# Order


def _shows_sides(frames, layout):
    """Whether a hand is seen in a third of the frames, and in ten at least, with a pose where there is one."""
    view = parts(frames, layout)
    there = np.any(list(hands_seen(view).values()), axis=0) & (seen(view["pose"])[:, 15] if "pose" in view else True)
    return there.sum() >= max(10, len(frames) / 3)


def make_hands_exchanged(rng, frames, layout, strength):
    return _exchange(frames, layout, slice(None)) if _shows_sides(frames, layout) else None


def make_block_order(rng, frames, layout, strength):
    """The blocks stand in another order than the layout has them: that of the competition of 2023, or any."""
    view = parts(frames, layout)
    if len(view) < 3 or not _shows_sides(frames, layout):
        return None
    names, order = list(view), list(view)
    exchanged = [{HANDS[0]: HANDS[1], HANDS[1]: HANDS[0]}.get(name, name) for name in names]
    while order in (names, exchanged):
        order = [names[i] for i in rng.permutation(len(names))]
    if len(view) == 4 and rng.random() < 0.5:
        order = [block for block, _, _ in LAYOUTS["543"].blocks]
    return np.concatenate([view[block].reshape(len(frames), -1) for block in order], axis=1)


def make_axis_order(rng, frames, layout, strength):
    """All x of a block, then all y, then all z, instead of x, y, z of each landmark."""
    if not _shows_sides(frames, layout):
        return None
    rows = [part.transpose(0, 2, 1).reshape(len(frames), -1) for part in parts(frames, layout).values()]
    return np.concatenate(rows, axis=1)


def make_mirrored(rng, frames, layout, strength):
    """x is turned round and nothing else: what is called left is right."""
    if not _shows_sides(frames, layout):
        return None
    return move(frames, layout, lambda xyz: np.stack([1 - xyz[:, 0], xyz[:, 1], xyz[:, 2]], axis=1))


# Labels


def _choose(rng, names, count):
    return [str(name) for name in rng.permutation(sorted(names))[:count]]


def unlist(rng, data, count):
    chosen = _choose(rng, data.ids, count)
    for video_id in chosen:
        data.drop(video_id, file=False)
    return [Planted(video_id, ("unlisted",), 1.0) for video_id in chosen]


def lose_files(rng, data, count):
    chosen = _choose(rng, data.ids, count)
    for video_id in chosen:
        data.path(video_id).unlink()
    return [Planted(video_id, ("missing",), 1.0) for video_id in chosen]


def list_twice(rng, data, count):
    """The same entry again, or one that differs in its split or signer; the gloss is the same."""
    chosen = _choose(rng, data.ids, count)
    for video_id in chosen:
        word, instance = data.find(video_id)
        word["instances"].append(instance | pick(rng, [{}, {}, {"split": "test"}, {"instance_id": 99}]))
    return [Planted(video_id, ("listed twice",), 1.0) for video_id in chosen]


def list_with_two_glosses(rng, data, count):
    chosen = _choose(rng, data.ids, count)
    for video_id in chosen:
        word, instance = data.find(video_id)
        pick(rng, [other for other in data.table if other is not word])["instances"].append(dict(instance))
    return [Planted(video_id, ("label",), 1.0) for video_id in chosen]


def near_glosses(rng, gloss):
    """Returns other spellings that somebody could type for a gloss, never one that is another word of four letters."""
    near = [gloss.upper() if gloss.islower() else gloss.lower(), gloss.capitalize(), f"{gloss} "]
    if " " in gloss:
        near += [gloss.replace(" ", sign) for sign in ("-", "_", "", "  ")]
    if len(gloss) >= 6:
        at = int(rng.integers(1, len(gloss) - 2))
        near += [gloss[:at] + gloss[at + 1] + gloss[at] + gloss[at + 2 :], gloss[:at] + gloss[at] + gloss[at:], f"{gloss}s"]
    return [other for other in near if other != gloss]


def respell(rng, data, count):
    """Half of a gloss's clips, or one of them, get another spelling of it."""
    words = [word for word in data.table if len(word["instances"]) > 3]
    known, planted = {word["gloss"] for word in data.table}, []
    for index in rng.permutation(len(words))[:count]:
        word = words[index]
        near = [other for other in near_glosses(rng, word["gloss"]) if other not in known]
        if near:
            part = int(pick(rng, [1, len(word["instances"]) // 2]))
            data.table.append({"gloss": pick(rng, near), "instances": word["instances"][:part]})
            word["instances"] = word["instances"][part:]
            planted.append(Planted("", ("similar glosses",), 1.0, (data.table[-1]["gloss"],)))
    return planted


def _cut(data, word, keep):
    for instance in word["instances"][keep:]:
        data.drop(instance["video_id"])


def thin_out(rng, data, count):
    """A gloss keeps two clips, which cannot fill three sides, or one, which can either be learnt from or judged by."""
    words = [word for word in data.table if len(word["instances"]) > 3]
    chosen = [words[i] for i in rng.permutation(len(words))[: min(count, len(words) // 2)]]
    for number, word in enumerate(chosen):
        _cut(data, word, 2 - number % 2)
    return [Planted("", ("few clips",), n % 2.0, (word["gloss"],)) for n, word in enumerate(chosen)]


def unbalance(rng, data, count):
    """One gloss keeps all its clips and the others a tenth of that."""
    most = max(data.table, key=lambda word: len(word["instances"]))
    keep = len(most["instances"]) // 10
    if keep < 2:
        return []
    for word in list(data.table):
        if word is not most:
            _cut(data, word, keep)
    return [Planted("", ("imbalance",), 1.0)]


def part_signers(rng, data):
    """Gives each signer to one split: signers are kept apart."""
    signers = sorted({i["signer_id"] for _, i in data.instances()} - {-1})
    sides = {s: "train" if n < max(1, len(signers) - 2) else ("val", "test")[n % 2] for n, s in enumerate(signers)}
    for _, instance in data.instances():
        instance["split"] = sides.get(instance["signer_id"], instance["split"])


def mix_signers(rng, data, count):
    """A tenth of the clips of a signer in train, or one at least, stand in val or test."""
    by_signer = {}
    for _, instance in data.instances():
        by_signer.setdefault(instance["signer_id"], []).append(instance)
    able = sorted(
        s for s, clips in by_signer.items() if s != -1 and {i["split"] for i in clips} == {"train"} and len(clips) > 1
    )
    if len(by_signer.keys() - {-1}) < 3 or not able:
        return []
    signer, side = pick(rng, able), pick(rng, ["val", "test"])
    for instance in by_signer[signer][::10]:
        instance["split"] = side
    return [Planted("", ("signers cross",), 1.0, (side,))]


def exchange_glosses(rng, data, count):
    """Clips that carry another gloss than their own, drawn at random."""
    chosen = _choose(rng, data.single(), count)
    for video_id in chosen:
        word, instance = data.find(video_id)
        word["instances"].remove(instance)
        pick(rng, [other for other in data.table if other is not word])["instances"].append(instance)
    return [Planted(video_id, ("suspect label",), 1.0) for video_id in chosen]


# Copies


def copy_with(checks, change=None, label=None):
    """Returns a damage: clips that also stand under another id, changed by (rng, frames, layout, strength), with labels of
    (rng, data, id) or the same ones."""

    def add(rng, data, count):
        planted, originals = [], _choose(rng, data.single(), count)
        for video_id, strength in zip(originals, map(float, np.linspace(0, 1, max(len(originals), 1))), strict=False):
            frames = data.read(video_id)
            frames = change(rng, frames, data.layout, strength) if change else frames
            if frames is None or (labels := label(rng, data, video_id) if label else {}) is None:
                continue
            new = data.add_copy(rng, video_id, frames, **labels)
            planted.append(Planted(new, checks, strength, partners=(video_id,)))
            if change is None:
                planted.append(Planted(video_id, checks, strength, partners=(new,)))
        return planted

    return add


def other_gloss(rng, data, video_id):
    own = data.find(video_id)[0]
    return {"gloss": pick(rng, [word["gloss"] for word in data.table if word is not own])}


def other_split(rng, data, video_id):
    return {"split": "val" if data.find(video_id)[1].get("split") != "val" else "train"}


def same_source(rng, data, video_id):
    """Both are frames 5 to 65 of one video."""
    instance = data.find(video_id)[1]
    instance |= {"url": f"https://example.org/of-{video_id}.mp4", "frame_start": 5, "frame_end": 65}
    return {name: instance[name] for name in ("url", "frame_start", "frame_end")}


def trim(rng, frames, layout, strength):
    """One frame to a third of them are cut off, at the start, the end, or both."""
    cut = min(max(1, round(len(frames) * strength / 3)), len(frames) - 8)
    if cut < 1:
        return None
    first = int(pick(rng, [0, cut, cut // 2]))
    return frames[first : len(frames) - cut + first]


def scale(rng, frames, layout, strength):
    """5 to 50 % larger or smaller, about the middle of the picture; both axes alike, or not."""
    size = 1 + (0.05 + 0.45 * strength) * np.array([1, pick(rng, [1, 1, 0.6]), 1])
    size = size if rng.random() < 0.5 else 1 / size
    return move(frames, layout, lambda xyz: ((xyz - [0.5, 0.5, 0]) * size + [0.5, 0.5, 0]).astype(xyz.dtype))


def shift(rng, frames, layout, strength):
    """By 2 to 30 % of the picture."""
    angle = rng.uniform(0, 2 * np.pi)
    step = (0.02 + 0.28 * strength) * np.array([np.cos(angle), np.sin(angle), 0])
    return move(frames, layout, lambda xyz: (xyz + step).astype(xyz.dtype))


def flip(rng, frames, layout, strength):
    """As if the video were mirrored before it is detected: x is turned round and left is called right. Which landmark of the
    face is the other side's is found from where they lie."""
    frames = move(frames, layout, lambda xyz: np.stack([1 - xyz[:, 0], xyz[:, 1], xyz[:, 2]], axis=1))
    view = parts(_exchange(frames, layout, slice(None)), layout)
    if "pose" in view:
        view["pose"][:] = view["pose"][:, mirror_permutation([("pose", index) for index in range(33)])]
    if "face" in view and (there := seen(view["face"]).all(axis=1)).any():
        from scipy.optimize import linear_sum_assignment

        mean = view["face"][there, :, :3].mean(axis=0)
        turned = mean * [-1, 1, 1] + [2 * mean[:, 0].mean(), 0, 0]
        _, other = linear_sum_assignment(np.linalg.norm(mean[:, None] - turned, axis=2))
        view["face"][:] = view["face"][:, other]
    return frames


def retime(rng, frames, layout, strength):
    """1.2 to 2 times as many frames a second, or as few: frames are dropped or repeated, or lie between two."""
    rate = 1.2 + 0.8 * strength
    count = round(len(frames) * (rate if rng.random() < 0.5 else 1 / rate))
    if count < 8:
        return None
    at = np.linspace(0, len(frames) - 1, count)
    near, low = frames[np.round(at).astype(int)], frames[np.floor(at).astype(int)]
    high, weight = frames[np.ceil(at).astype(int)], (at % 1)[:, None].astype(frames.dtype)
    with np.errstate(invalid="ignore"):  # infinity and NaN stay what they are
        between = np.where((low != 0) & (high != 0), low * (1 - weight) + high * weight, near)
    return between if rng.random() < 0.5 else near


def detect_again(rng, frames, layout, strength):
    """As if the video were encoded and detected again: landmarks lie 0.001 to 0.005 elsewhere in the picture, and 2 to 10 %
    of the hands that were found are not."""
    for hand in HANDS:
        parts(frames, layout)[hand][rng.random(len(frames)) < 0.02 + 0.08 * strength] = 0
    return move(frames, layout, lambda xyz: (xyz + rng.normal(0, 0.001 + 0.004 * strength, xyz.shape)).astype(xyz.dtype))


def chain(*changes):
    """Returns a change that is all of them, one after the other; None where one of them is."""

    def change(rng, frames, layout, strength):
        for one in changes:
            frames = None if frames is None else one(rng, frames, layout, strength)
        return frames

    return change


_COPY = ("copy", "two glosses", "crosses splits")
KINDS = {
    "unreadable": Kind(("file",), make_unreadable),
    "wrong width": Kind(("layout", "file"), make_wrong_width),
    "another layout": Kind(("layout", "file"), make_other_layout),
    "short": Kind(("short",), make_short),
    "empty": Kind(("empty",), make_empty),
    "frozen": Kind(("frozen",), make_frozen),
    "frozen, trembling": Kind(("frozen",), lambda *args: make_frozen(*args, tremble=2e-4), exact=False),
    "non-finite": Kind(("non-finite",), make_nonfinite),
    "outside: pixels": Kind(("outside",), make_pixels),
    "outside: wild points": Kind(("outside",), make_wild),
    "hands missing": Kind(("hands missing",), make_no_hands),
    "jump and back": Kind(("jumps",), make_jump),
    "jump, stays": Kind(("jumps",), lambda *args: make_jump(*args, stays=True)),
    "swapped in mid-clip": Kind(("swapped hands",), make_swapped),
    "order: hands": Kind(("order",), make_hands_exchanged, pose=True),
    "order: blocks": Kind(("order",), make_block_order, pose=True),
    "order: axes": Kind(("order",), make_axis_order),
    "mirrored": Kind(("mirrored",), make_mirrored, pose=True),
    "float64": Kind(("float64",), make_float64),
    "unlisted": Kind(("unlisted",), unlist, whole=True),
    "missing file": Kind(("missing",), lose_files, whole=True),
    "listed twice": Kind(("listed twice",), list_twice, whole=True),
    "id of two glosses": Kind(("label",), list_with_two_glosses, whole=True),
    "similar glosses": Kind(("similar glosses",), respell, whole=True),
    "few clips": Kind(("few clips",), thin_out, whole=True),
    "imbalance": Kind(("imbalance",), unbalance, whole=True),
    "signers cross": Kind(("signers cross",), mix_signers, whole=True, prepare=part_signers),
    "copy": Kind(_COPY, copy_with(_COPY), whole=True),
    "copy of two glosses": Kind(("two glosses",), copy_with(("two glosses",), label=other_gloss), whole=True),
    "copy in two splits": Kind(("crosses splits",), copy_with(("crosses splits",), label=other_split), whole=True),
    "same url and frames": Kind(
        _COPY, copy_with(_COPY, chain(retime, scale, detect_again), label=same_source), whole=True, quick=False
    ),
    "copy trimmed": Kind(_COPY, copy_with(_COPY, trim), exact=False, whole=True, quick=False),
    "copy scaled": Kind(_COPY, copy_with(_COPY, scale), exact=False, whole=True, quick=False),
    "copy shifted": Kind(_COPY, copy_with(_COPY, shift), exact=False, whole=True, quick=False),
    "copy mirrored": Kind(_COPY, copy_with(_COPY, flip), exact=False, whole=True, quick=False),
    "copy retimed": Kind(_COPY, copy_with(_COPY, retime), exact=False, whole=True, quick=False),
    "copy detected again": Kind(_COPY, copy_with(_COPY, detect_again), exact=False, whole=True, quick=False),
    "copy: most at once": Kind(
        _COPY, copy_with(_COPY, chain(trim, scale, shift, retime, detect_again)), exact=False, whole=True, quick=False
    ),
    "copy: all, mirrored": Kind(
        _COPY, copy_with(_COPY, chain(flip, trim, scale, shift, retime, detect_again)), exact=False, whole=True, quick=False
    ),
    "suspect label": Kind(("suspect label",), exchange_glosses, exact=False, whole=True, quick=False),
}
