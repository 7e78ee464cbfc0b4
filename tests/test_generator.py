"""signlib.generator: equal to a naive loop, and what `fit` really receives."""

import zlib

import numpy as np
import pytest
from numpy.random.bit_generator import ISeedSequence

from signlib import Augment, InputError, KeypointGenerator, Preprocessor, load_clips
from signlib.device import keras, tf, use_device

pytestmark = pytest.mark.stack

GLOSSES = {f"{i:05d}": ["book", "drink", "tea"][i % 3] for i in range(11)}
CLASSES = ["book", "drink", "tea"]
PREPROCESS = Preprocessor(8, "hands")
AUGMENT = Augment(PREPROCESS.selected, mirror=0.5)


@pytest.fixture(scope="module")
def clips(tmp_path_factory, write_clips):
    """Eleven clips of three glosses, of 6 to 10 frames."""
    return load_clips(write_clips(tmp_path_factory.mktemp("clips"), GLOSSES))


def generator(clips, **options):
    return KeypointGenerator(clips, PREPROCESS, CLASSES, **{"batch_size": 4} | options)


class Words(ISeedSequence):
    """Seeds a bit generator with these four words."""

    def __init__(self, words):
        self.words = words

    def generate_state(self, n_words, dtype=np.uint32):
        assert (n_words, dtype) == (4, np.uint64)
        return self.words


def naive(clips, batch_size, augment, shuffle, seed, epoch):
    """The batches of an epoch, read from the files one clip at a time."""
    order = list(range(len(clips)))
    if shuffle:
        order = list(np.random.default_rng([seed, epoch]).permutation(len(clips)))
    while order:
        chosen, order = order[:batch_size], order[batch_size:]
        features = np.zeros((len(chosen), *PREPROCESS.output_shape))
        labels = np.zeros((len(chosen), len(CLASSES)))
        for row, i in enumerate(chosen):
            points = PREPROCESS.points(np.load(clips[i].path), "1629")
            if augment:
                words = [
                    np.random.SeedSequence(entropy).generate_state(4, np.uint64)
                    for entropy in ([seed, epoch], zlib.crc32(clips[i].video_id.encode()))
                ]
                rng = np.random.Generator(np.random.PCG64(Words(words[0] ^ words[1])))
                (points,) = augment.each([points], [rng], most=8)
            features[row] = PREPROCESS.features(points)
            labels[row, CLASSES.index(GLOSSES[clips[i].video_id])] = 1
        yield features, labels


def epoch_of(batches, epoch=0):
    """All batches of an epoch, as lists of features and labels."""
    batches.epoch = epoch
    return [batches[i] for i in range(len(batches))]


def same(a, b):
    return all(np.array_equal(x, y) for left, right in zip(a, b, strict=True) for x, y in zip(left, right, strict=True))


@pytest.mark.parametrize("augment", [None, AUGMENT], ids=["plain", "augment"])
@pytest.mark.parametrize("shuffle", [False, True], ids=["in order", "shuffle"])
@pytest.mark.parametrize(("batch_size", "sizes"), [(4, [4, 4, 3]), (11, [11]), (32, [11]), (1, [1] * 11)])
def test_batches_equal_a_naive_loop(clips, augment, shuffle, batch_size, sizes):
    batches = generator(clips, batch_size=batch_size, augment=augment, shuffle=shuffle, seed=7)
    for epoch in (0, 1, 5):
        received = epoch_of(batches, epoch)
        assert same(received, naive(clips, batch_size, augment, shuffle, 7, epoch))
        assert [len(features) for features, _ in received] == [len(labels) for _, labels in received] == sizes
        assert {array.dtype for batch in received for array in batch} == {np.dtype(np.float32)}


@pytest.mark.parametrize("augment", [None, AUGMENT], ids=["plain", "augment"])
def test_the_cache_keeps_within_its_bytes_and_changes_no_batch(clips, augment):
    def size(clip):
        points = PREPROCESS.points(clip.read(), "1629")
        return points.nbytes if augment else 4 * min(len(points), 8) * PREPROCESS.output_shape[1]  # without its padding

    a_clip = size(clips[0])
    none, some, all_of_it = (generator(clips, augment=augment, cache_bytes=n) for n in (0, 4 * a_clip, 1 << 30))
    for epoch in range(3):
        expected = epoch_of(none, epoch)
        assert same(epoch_of(some, epoch), expected)
        assert same(epoch_of(all_of_it, epoch), expected)
        assert none.cached_bytes == 0
        assert 0 < some.cached_bytes <= 4 * a_clip
        assert all_of_it.cached_bytes == sum(map(size, clips))


def test_the_cache_spares_reading_and_no_cache_reads_anew(tmp_path, write_clips):
    clips = load_clips(write_clips(tmp_path, GLOSSES))
    cached, uncached = generator(clips, shuffle=False), generator(clips, shuffle=False, cache_bytes=0)
    before = epoch_of(cached)
    assert same(before, epoch_of(uncached))
    for clip in clips:
        np.save(clip.path, np.load(clip.path)[::-1])
    assert same(epoch_of(cached, 1), before)
    assert not same(epoch_of(uncached, 1), before)


def test_augmentation_is_new_in_each_epoch_though_points_are_cached(clips):
    batches = generator(clips, augment=AUGMENT, shuffle=False)
    epochs = [epoch_of(batches, epoch) for epoch in range(4)]
    for first in range(4):
        for second in range(first):
            for (a, _), (b, _) in zip(epochs[first], epochs[second], strict=True):
                assert not (a == b).all(axis=(1, 2)).any()


def test_augmentation_of_a_clip_does_not_depend_on_its_place(clips):
    def by_id(batches):
        batches.epoch = 3
        places = np.concatenate([batches.batch_clips(i) for i in range(len(batches))])
        features = np.concatenate([batches[i][0] for i in range(len(batches))])
        return {batches.clips[place].video_id: x for place, x in zip(places, features, strict=True)}

    one = by_id(generator(clips, augment=AUGMENT, batch_size=4))
    two = by_id(generator(clips[::-1], augment=AUGMENT, batch_size=3, shuffle=False))
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[video_id], two[video_id]) for video_id in one)


@pytest.fixture(scope="module")
def own_signs(tmp_path_factory, write_clips):
    """Nine clips, each of its own gloss, so that a mixed label tells which clips are in it."""
    return load_clips(write_clips(tmp_path_factory.mktemp("own"), {f"{i:05d}": f"sign {i}" for i in range(9)}, length=4))


def mixed(clips, mixup=1.0, **options):
    """A generator that mixes up the clips of `own_signs`, four to a batch."""
    options = {"batch_size": 4, "augment": AUGMENT, "seed": 7} | options
    return KeypointGenerator(clips, PREPROCESS, [f"sign {i}" for i in range(9)], mixup=mixup, **options)


@pytest.mark.parametrize("augment", [None, AUGMENT], ids=["plain", "augment"])
def test_mixup_mixes_features_and_labels_of_two_clips_of_a_batch_in_one_share(own_signs, augment):
    plain, mixing, mixtures = mixed(own_signs, 0, augment=augment), mixed(own_signs, augment=augment), 0
    for epoch in range(4):
        for before, after in zip(epoch_of(plain, epoch), epoch_of(mixing, epoch), strict=True):
            (pure, one_hot), (features, labels), own = before, after, before[1].argmax(axis=1)
            assert features.dtype == labels.dtype == np.float32
            np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-6)
            for row in range(len(features)):
                assert one_hot[row, own[row]] == 1
                share = labels[row, own[row]]
                others = set(np.flatnonzero(labels[row])) - {own[row]}
                assert share > 0 and len(others) <= 1 and others <= set(own)  # nothing from outside the batch
                other = own.tolist().index(others.pop()) if others else row
                mixture = np.zeros_like(pure[row])
                for frame in range(8):
                    mixture[frame] = share * pure[row, frame] + (1 - share) * pure[other, frame]
                    mixture[frame, -1] = max(pure[row, frame, -1], pure[other, frame, -1])
                np.testing.assert_allclose(features[row], mixture, atol=1e-5)
                mixtures += other != row
    assert mixtures > 12


def test_mixup_of_clips_of_different_lengths_is_valid_where_either_is(own_signs):
    seen = set()
    for (pure, _), (features, _) in zip(epoch_of(mixed(own_signs, 0)), epoch_of(mixed(own_signs)), strict=True):
        assert set(features[:, :, -1].ravel()) <= {0.0, 1.0}
        longer = features[:, :, -1].sum(axis=1) - pure[:, :, -1].sum(axis=1)
        assert (longer >= 0).all()
        seen |= set(longer > 0)
    assert seen == {False, True}


def test_alpha_says_how_far_clips_are_mixed(own_signs):
    def shares(alpha):
        labels = np.concatenate(
            [label for epoch in range(20) for _, label in epoch_of(mixed(own_signs, alpha, augment=None), epoch)]
        )
        return labels[(labels > 0) & (labels < 1)]

    assert shares(10.0).std() < 0.15
    assert shares(1.0).std() == pytest.approx(0.29, abs=0.05)  # every share is as likely as any other
    assert shares(0.2).std() > 0.35


def test_mixup_follows_from_seed_epoch_and_batch_alone(own_signs):
    batches = mixed(own_signs)
    first, second = epoch_of(batches, 0), epoch_of(batches, 1)
    assert not same(first, second)
    batches.epoch = 1
    assert same([batches[i] for i in (2, 0, 1)], [second[i] for i in (2, 0, 1)])
    assert same(epoch_of(mixed(own_signs), 0), first)
    in_order = [
        epoch_of(mixed(own_signs, augment=None, shuffle=False, seed=seed), epoch) for seed, epoch in ((7, 0), (7, 1), (8, 0))
    ]
    shares = [np.concatenate([labels.max(axis=1) for _, labels in batches]) for batches in in_order]
    assert not any(np.array_equal(shares[a], shares[b]) for a, b in ((0, 1), (0, 2), (1, 2)))  # it does not hang on the order
    assert not np.array_equal(shares[0][:4], shares[0][4:8])
    assert len(set(shares[0])) > 5  # one for each clip


def test_points_are_those_of_the_files_and_are_kept(clips):
    batches, reading = generator(clips, augment=AUGMENT, mixup=0.5), generator(clips, cache_bytes=0)
    for epoch in (0, 1):
        epoch_of(batches, epoch)  # neither augmentation nor mixup touches what is kept
        for i, clip in enumerate(clips):
            points = PREPROCESS.points(np.load(clip.path), "1629")
            np.testing.assert_array_equal(batches.points(i), points)
            np.testing.assert_array_equal(reading.points(i), points)
            assert batches.points(i) is batches.points(i)
            assert reading.points(i) is not reading.points(i)


@pytest.mark.parametrize("seed", range(5))
def test_seed_and_epoch_decide_the_batches(clips, seed):
    batches = generator(clips, augment=AUGMENT, seed=seed)
    first, second = epoch_of(batches, 0), epoch_of(batches, 1)
    assert same(epoch_of(batches, 0), first)
    batches.epoch = 1
    assert same([batches[i] for i in (2, 0, 1)], [second[i] for i in (2, 0, 1)])
    assert same(epoch_of(generator(clips, augment=AUGMENT, seed=seed), 1), second)
    assert not same(epoch_of(generator(clips, augment=AUGMENT, seed=seed + 1), 1), second)


def test_each_epoch_holds_each_clip_once_in_a_new_order(clips):
    batches, orders = generator(clips), set()
    for epoch in range(6):
        batches.epoch = epoch
        order = np.concatenate([batches.batch_clips(i) for i in range(len(batches))])
        assert sorted(order) == list(range(11))
        orders.add(tuple(order))
    assert len(orders) == 6
    assert tuple(range(11)) not in orders


class Recorder(keras.layers.Layer):
    """Hands its input on and notes it down."""

    seen = None

    def call(self, features):
        if tf.executing_eagerly():  # not while Keras looks for the shape
            Recorder.seen.append(features.numpy())
        return features


def model_that_records():
    use_device("cpu", 1)
    Recorder.seen = []
    inputs = keras.Input(PREPROCESS.output_shape)
    pooled = keras.layers.GlobalAveragePooling1D()(Recorder()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(pooled))
    model.compile("sgd", "categorical_crossentropy", run_eagerly=True)
    return model


def test_fit_receives_the_batches_of_the_naive_loop(clips):
    """Three epochs, as `signlib.fit` runs them: nothing is prepared ahead of `.epoch`, validation disturbs nothing."""
    model, batches = model_that_records(), generator(clips, augment=AUGMENT, seed=3)

    class SetEpoch(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            batches.epoch = epoch

    val_batches = generator(clips[:2], shuffle=False)
    model.fit(batches, validation_data=val_batches, epochs=3, shuffle=False, verbose=0, callbacks=[SetEpoch()])
    expected = []
    for epoch in range(3):
        expected += [features for features, _ in naive(clips, 4, AUGMENT, True, 3, epoch)]
        expected += [features for features, _ in naive(clips[:2], 4, None, False, 3, epoch)]
    assert len(Recorder.seen) == len(expected) == 12
    assert all(np.array_equal(a, b) for a, b in zip(Recorder.seen, expected, strict=True))


def test_plain_fit_goes_on_to_a_new_order_and_new_augmentation_in_each_epoch(clips):
    model, batches = model_that_records(), generator(clips, augment=AUGMENT, seed=3)
    model.fit(batches, epochs=3, shuffle=False, verbose=0)
    epochs = [np.concatenate(Recorder.seen[i : i + 3]) for i in (0, 3, 6)]
    assert not np.array_equal(epochs[0], epochs[1])
    assert not np.array_equal(epochs[1], epochs[2])


def test_fit_over_the_generator_is_fit_over_the_arrays(clips):
    def weights(data, **options):
        use_device("cpu", 5)
        layers = [
            keras.layers.Input(PREPROCESS.output_shape),
            keras.layers.LSTM(4),
            keras.layers.Dense(3, activation="softmax"),
        ]
        model = keras.Sequential(layers)
        model.compile("adam", "categorical_crossentropy")
        history = model.fit(*data, epochs=2, shuffle=False, verbose=0, **options).history["loss"]
        return history, model.get_weights()

    batches = generator(clips, shuffle=False)
    arrays = [np.concatenate(parts) for parts in zip(*epoch_of(batches), strict=True)]
    loss, expected = weights(arrays, batch_size=4)
    received_loss, received = weights([batches])
    assert received_loss == loss
    assert all(np.array_equal(a, b) for a, b in zip(received, expected, strict=True))


def test_a_loop_over_the_batches_ends_after_the_last(clips):
    sizes = [len(features) for features, _ in generator(clips)]
    assert sizes == [4, 4, 3]


@pytest.mark.parametrize("augment", [None, AUGMENT], ids=["plain", "augment"])
def test_batches_asked_for_in_any_order_and_epoch_are_those_of_the_naive_loop(clips, augment):
    batches = generator(clips, augment=augment, mixup=0.0)
    for epoch, index in [(0, 0), (3, 1), (3, 2), (0, 1), (0, 0), (1, 1), (1, 2), (1, 0), (1, 1), (1, 1)]:
        batches.epoch = epoch
        expected = list(naive(clips, 4, augment, True, 42, epoch))[index]
        assert same([batches[index]], [expected])


def test_a_clip_that_cannot_be_read_is_an_error_of_its_own_batch(tmp_path, write_clips):
    clips = load_clips(write_clips(tmp_path, GLOSSES))
    batches = generator(clips, shuffle=False)
    clips[5].path.unlink()  # of the second batch of four
    batches[0]
    with pytest.raises(InputError, match="cannot be read"):
        batches[1]
    assert len(batches[0][0]) == len(batches[0][0]) == 4


def test_an_unknown_gloss_is_named(clips):
    with pytest.raises(InputError, match="clip 00001 has gloss 'drink', which is not among the classes"):
        KeypointGenerator(clips, PREPROCESS, ["book", "tea"])
