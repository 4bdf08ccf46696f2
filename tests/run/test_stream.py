"""A stream serves the batches that the steps would have gathered, from any position."""

import jax
import numpy as np
import pytest

from jaxvae import losses, training
from jaxvae.run import stream

KEY, BATCH, PER_EPOCH = jax.random.key(0), 4, 5


@pytest.fixture
def images(tmp_path):
    """On disk, and memory-mapped as the data loader leaves them."""
    np.save(
        tmp_path / "images.npy", np.random.default_rng(0).integers(0, 256, (BATCH * PER_EPOCH + 3, 3, 2, 1), np.uint8)
    )
    return np.load(tmp_path / "images.npy", mmap_mode="r")


def served(images, calls, **more):
    same = losses.alone
    return list(stream.batches(images, KEY, batch_size=BATCH, calls=calls, **({"share": same, "put": same} | more)))


def test_every_call_gets_the_examples_that_the_steps_visit(images):
    calls = [(0, 3), (3, 2), (5, 3), (8, 2)]
    found = served(images, calls)
    for (step, length), batches in zip(calls, found, strict=True):
        rows = training.visits(KEY, np.int32(step), len(images), batch_size=BATCH, length=length)
        np.testing.assert_array_equal(batches, images[np.asarray(rows)])


def test_a_stream_that_begins_later_serves_the_rest(images):
    whole = served(images, [(0, 5), (5, 5), (10, 5)])
    rest = served(images, [(7, 3), (10, 5)])
    np.testing.assert_array_equal(rest[0], whole[1][2:])
    np.testing.assert_array_equal(rest[1], whole[2])


def test_a_process_reads_its_share_alone(images):
    half = served(images, [(0, 5)], share=lambda rows: rows[:, :2])
    np.testing.assert_array_equal(half[0], served(images, [(0, 5)])[0][:, :2])


def test_a_call_is_on_the_device_before_it_is_asked_for(images):
    put = []
    feed = stream.batches(
        images, KEY, batch_size=BATCH, calls=[(0, 1), (1, 1), (2, 1)], share=losses.alone, put=put.append
    )
    next(feed)
    assert len(put) == 2
    feed.close()


def test_the_batches_of_a_call_are_bounded(images):
    assert stream.longest_call(images, BATCH) == stream.CALL_BYTES // (BATCH * 6)
    large = np.broadcast_to(np.uint8(0), (10, 4096, 4096, 4))
    assert stream.longest_call(large, 10) == 1


def test_images_fit_or_they_do_not(images):
    assert not stream.does_not_fit(images)
    assert stream.does_not_fit(np.broadcast_to(np.uint8(0), (10**9, 100, 100, 3)))
