import warnings
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy
from rows import first
from six_pixels import BATCH, EXAMPLES, LOSS, MODEL, OPTIMIZER, PIXELS, epoch, images, start_state
from standard_errors import assert_mean

from jaxvae.training import State, dynamic_binarization, grey, make_step, start, steps, streamed, visits


def record(state, key, xs):
    """A step that learns nothing and tells what it was given."""
    return state._replace(step=state.step + 1), {"key": jax.random.key_data(key), "xs": xs}


@partial(jax.jit, static_argnames=("length", "prepare"))
def recorded(state, key, data, length=None, prepare=grey):
    return steps(state, key, data, step=record, prepare=prepare, batch_size=BATCH, length=length)


def blank_state(step=0):
    return State(jnp.asarray(step, jnp.int32), {}, None, (), ())


def assert_same_bits(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_epoch_as_one_scan_is_a_loop_of_jitted_steps_bit_for_bit():
    state, key = start_state(), jax.random.key(7)
    whole, metrics = epoch(state, key)
    assert int(whole.step) == EXAMPLES // BATCH == 4
    _, given = recorded(blank_state(), key, images(), prepare=dynamic_binarization)
    step = jax.jit(make_step(LOSS, OPTIMIZER, decay=0.9))
    for i in range(4):
        state, one = step(state, jax.random.wrap_key_data(given["key"][i]), given["xs"][i])
        assert_same_bits(one, jax.tree.map(lambda metric, i=i: metric[i], metrics))
    assert_same_bits(state, whole)


@pytest.mark.parametrize("lengths", first(1, [((1, 3),), ((2, 2),), ((1, 1, 1, 1),)]))
def test_parts_of_an_epoch_are_the_epoch_bit_for_bit(lengths):
    whole, metrics = epoch(start_state(), jax.random.key(1))
    state, parts = start_state(), []
    for length in lengths:
        state, part = epoch(state, jax.random.key(1), length=length)
        parts.append(part)
    assert_same_bits(state, whole)
    assert_same_bits(jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts), metrics)


def test_steps_go_on_over_the_end_of_an_epoch():
    key, data = jax.random.key(2), images()
    state, first = recorded(blank_state(), key, data)
    _, second = recorded(state, key, data)
    state, parts = blank_state(), []
    for length in (3, 3, 2):
        state, part = recorded(state, key, data, length=length)
        parts.append(part)
    both = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), first, second)
    assert_same_bits(jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts), both)
    _, from_the_middle = recorded(blank_state(step=2), key, data)
    assert_same_bits(from_the_middle, jax.tree.map(lambda leaf: leaf[2:6], both))


def test_each_example_is_visited_at_most_once_an_epoch_and_every_epoch_has_its_order():
    data, visits = jnp.arange(EXAMPLES, dtype=jnp.float32)[:, None], []
    for index in range(30):
        state, given = recorded(blank_state(step=4 * index), jax.random.key(3), data)
        assert int(state.step) == 4 * index + 4
        rows = np.asarray(given["xs"]).ravel().astype(int)
        assert len(np.unique(rows)) == len(rows) == 20
        visits.append(rows)
    assert len({tuple(rows) for rows in visits}) == 30
    counts = np.bincount(np.concatenate(visits), minlength=EXAMPLES)
    chance = scipy.stats.binom(30, 20 / EXAMPLES)  # each epoch leaves out another three
    assert chance.cdf(counts.min()) > 1e-6
    assert len(np.unique(counts)) > 1


def test_every_step_and_every_example_has_a_key_of_its_own():
    data = jnp.full((EXAMPLES, 200), 0.5)
    _, given = recorded(blank_state(), jax.random.key(4), data, prepare=dynamic_binarization)
    assert given["key"].shape[:2] == (4, BATCH)
    assert len(np.unique(np.asarray(given["key"]).reshape(4 * BATCH, -1), axis=0)) == 4 * BATCH
    assert len(np.unique(np.asarray(given["xs"]).reshape(-1, 200), axis=0)) == 20
    _, other = recorded(blank_state(), jax.random.key(5), data, prepare=dynamic_binarization)
    assert not np.array_equal(given["key"], other["key"])


def test_dynamic_binarisation_has_the_grey_value_as_its_frequency():
    stored = jnp.array([0, 1, 64, 128, 254, 255], jnp.uint8)
    draws = jax.jit(jax.vmap(dynamic_binarization, (0, None)))(jax.random.split(jax.random.key(0), 20_000), stored)
    assert draws.dtype == jnp.float32
    assert set(np.unique(draws)) == {0.0, 1.0}
    assert_mean(draws, np.asarray(stored) / 255)
    assert not np.any(draws[:, 0])
    assert np.all(draws[:, -1] == 1)


def test_grey_is_in_the_unit_interval():
    found = grey(jax.random.key(0), jnp.array([0, 51, 255], jnp.uint8))
    np.testing.assert_allclose(found, [0, 0.2, 1], rtol=1e-6)
    floats = jnp.array([0.0, 0.3])
    np.testing.assert_array_equal(grey(jax.random.key(0), floats), floats)


def test_seeds_under_vmap_are_single_runs():
    """To 1e-5: batched matrix products add in another order than single ones."""
    keys = jax.random.split(jax.random.key(0), 3)
    states = jax.vmap(lambda key: start(MODEL.init(key, jnp.zeros(PIXELS)), OPTIMIZER, averaged=True))(keys)
    together, metrics = jax.jit(jax.vmap(epoch))(states, keys)
    assert len(np.unique(metrics["loss"][:, 0])) == 3
    for i, key in enumerate(keys):
        alone, alone_metrics = epoch(jax.tree.map(lambda leaf, i=i: leaf[i], states), key)
        for one, other in (
            (together.params, alone.params),
            (together.average, alone.average),
            (metrics, alone_metrics),
        ):
            pairs = zip(
                jax.tree.leaves(jax.tree.map(lambda leaf, i=i: leaf[i], one)), jax.tree.leaves(other), strict=True
            )
            for a, b in pairs:
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("first", [0, 2])
def test_batches_from_elsewhere_make_the_same_run_bit_for_bit(first):
    """From the middle of an epoch too: the position in the stream is the number of steps taken."""
    key, length = jax.random.key(7), 4 - first
    state, _ = epoch(start_state(), key, length=first) if first else (start_state(), None)
    rows = visits(key, state.step, EXAMPLES, batch_size=BATCH, length=length)
    step = make_step(LOSS, OPTIMIZER, decay=0.9)
    over = jax.jit(partial(streamed, step=step, prepare=dynamic_binarization, batch_size=BATCH))
    assert_same_bits(over(state, key, images()[rows]), epoch(state, key, length=length))


def test_a_donated_state_is_used_up_and_the_run_goes_on():
    donating = jax.jit(lambda state, key: epoch(state, key), donate_argnums=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a buffer that cannot be donated is a warning
        first = start_state()
        second, _ = donating(first, jax.random.key(1))
        third, _ = donating(second, jax.random.key(1))
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(first))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(third))
    kept, _ = epoch(epoch(start_state(), jax.random.key(1))[0], jax.random.key(1))
    assert_same_bits(third, kept)


def test_an_epoch_compiles_once():
    compiled = jax.jit(lambda state, key: epoch(state, key))
    state = start_state()
    for _ in range(3):
        state, _ = compiled(state, jax.random.key(1))
    assert compiled._cache_size() == 1


def test_too_few_examples_or_too_long_a_run_is_refused():
    with pytest.raises(ValueError, match="3 examples do not fill one batch of 5"):
        recorded(blank_state(), jax.random.key(0), images()[:3])
    for length in (0, 5):
        with pytest.raises(ValueError, match=f"length={length} must lie between 1 and 4"):
            recorded(blank_state(), jax.random.key(0), images(), length=length)
