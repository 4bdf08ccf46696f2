import warnings
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy
from jax.flatten_util import ravel_pytree
from rows import first
from standard_errors import assert_mean

from jaxvae import bounds
from jaxvae.distributions import Bernoulli, Normal
from jaxvae.draws import sticking_the_landing
from jaxvae.losses import negative_bound
from jaxvae.model import standard_normal, vae
from jaxvae.models import linear
from jaxvae.networks import mlp
from jaxvae.training import State, dynamic_binarization, grey, make_step, start, steps, streamed, visits

PIXELS, EXAMPLES, BATCH = 6, 23, 5  # four batches to the epoch, three examples left out
MODEL = vae(
    encoder=mlp((4,), Normal.parameters((2,)), activation=jnp.tanh),
    decoder=mlp((4,), Bernoulli.parameters((PIXELS,)), activation=jnp.tanh),
    prior=standard_normal((2,)),
)


def adam(rate):
    """Optax's bias correction mixes float and int32, which the strict promotion of these tests forbids."""
    rule = optax.chain(optax.clip_by_global_norm(5.0), optax.adam(rate))

    def update(*arguments):
        with jax.numpy_dtype_promotion("standard"):
            return rule.update(*arguments)

    return optax.GradientTransformation(rule.init, update)


OPTIMIZER = adam(0.01)
LOSS = negative_bound(MODEL, bounds.importance_weighted, num_samples=2)


def images():
    return jnp.asarray(np.random.default_rng(0).integers(0, 256, (EXAMPLES, PIXELS)), jnp.uint8)


def start_state(seed=0, averaged=True):
    params = jax.jit(MODEL.init)(jax.random.key(seed), jnp.zeros(PIXELS))
    return start(params, OPTIMIZER, averaged=averaged)


@partial(jax.jit, static_argnames="length")
def epoch(state, key, length=None):
    step = make_step(LOSS, OPTIMIZER, decay=0.9)
    return steps(state, key, images(), step=step, prepare=dynamic_binarization, batch_size=BATCH, length=length)


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


@pytest.mark.parametrize("parts", first(1, [2, 3]))
def test_a_batch_taken_in_parts_is_the_batch(parts, float64):
    """By plain descent, since Adam would hide a wrong scale."""
    rule, keys = optax.sgd(0.1), jax.random.split(jax.random.key(3), 6)
    params = jax.jit(MODEL.init)(jax.random.key(0), jnp.zeros(PIXELS, jnp.float32))
    params = jax.tree.map(lambda leaf: leaf.astype(float), params)
    xs = jax.random.uniform(jax.random.key(4), (6, PIXELS)).round()
    loss = negative_bound(MODEL, bounds.importance_weighted, num_samples=2, beta=lambda step: 0.5)
    whole, of_whole = jax.jit(make_step(loss, rule))(start(params, rule), keys, xs)
    taken, of_parts = jax.jit(make_step(loss, rule, accumulate=parts))(start(params, rule), keys, xs)
    for one, other in zip(jax.tree.leaves((whole, of_whole)), jax.tree.leaves((taken, of_parts)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_a_batch_that_cannot_be_taken_in_so_many_parts_is_refused():
    step = make_step(LOSS, OPTIMIZER, decay=0.9, accumulate=2)
    with pytest.raises(ValueError, match="a batch of 5 cannot be taken in 2 parts"):
        step(start_state(), jax.random.split(jax.random.key(0), 5), jnp.zeros((5, PIXELS)))


@pytest.mark.slow
def test_a_batch_in_parts_needs_the_memory_of_a_part():
    model = vae(
        encoder=mlp((64,), Normal.parameters((2,))),
        decoder=mlp((512,), Bernoulli.parameters((PIXELS,))),
        prior=standard_normal((2,)),
    )
    loss, keys, xs = (
        negative_bound(model, bounds.average),
        jax.random.split(jax.random.key(0), 4096),
        jnp.zeros((4096, 6)),
    )
    state = start(model.init(jax.random.key(0), xs[0]), OPTIMIZER)

    def temporary_bytes(parts):
        step = jax.jit(make_step(loss, OPTIMIZER, accumulate=parts))
        return step.lower(state, keys, xs).compile().memory_analysis().temp_size_in_bytes

    assert temporary_bytes(8) < temporary_bytes(1) / 4


def test_the_moving_average_is_its_formula():
    state, key = start_state(), jax.random.key(1)
    expected = np.asarray(ravel_pytree(state.params)[0], np.float64)
    for _ in range(3):
        state, _ = epoch(state, key, length=1)
        expected = 0.9 * expected + 0.1 * np.asarray(ravel_pytree(state.params)[0], np.float64)
    np.testing.assert_allclose(ravel_pytree(state.average)[0], expected, atol=1e-6)
    assert not np.allclose(ravel_pytree(state.average)[0], ravel_pytree(state.params)[0], atol=1e-3)


@pytest.mark.parametrize(("averaged", "decay", "words"), [(True, None, "has a"), (False, 0.9, "has no")])
def test_a_moving_average_that_one_side_does_not_know_of_is_refused(averaged, decay, words):
    step = make_step(LOSS, OPTIMIZER, decay=decay)
    with pytest.raises(ValueError, match=f"the state {words} moving average"):
        step(start_state(averaged=averaged), jax.random.split(jax.random.key(0)), jnp.zeros((2, PIXELS)))


def test_the_warm_up_of_beta_acts_on_the_loss_and_not_on_the_reported_bound():
    params, keys = start_state().params, jax.random.split(jax.random.key(3), BATCH)
    xs = jnp.asarray(np.random.default_rng(1).integers(0, 2, (BATCH, PIXELS)), jnp.float32)

    @jax.jit
    def both(at):
        warm_up = optax.linear_schedule(0.0, 1.0, 10)
        tempered = negative_bound(MODEL, bounds.average, num_samples=3, beta=warm_up)
        plain = negative_bound(MODEL, bounds.average, num_samples=3)
        return tempered(keys, params, (), xs, at), plain(keys, params, (), xs, at)

    for at, beta in ((0, 0.0), (4, 0.4), (10, 1.0), (50, 1.0)):
        (loss, (_, metrics)), (plain_loss, (_, plain_metrics)) = both(jnp.asarray(at, jnp.int32))
        for name in ("bound", "log_likelihood", "kl"):
            np.testing.assert_allclose(metrics[name], plain_metrics[name], rtol=1e-6)
        np.testing.assert_allclose(metrics["bound"], metrics["log_likelihood"] - metrics["kl"], rtol=1e-5)
        np.testing.assert_allclose(plain_loss, -metrics["bound"], rtol=1e-6)
        np.testing.assert_allclose(loss, beta * metrics["kl"] - metrics["log_likelihood"], rtol=1e-5)
        assert metrics["kl"] > 1e-3


def test_the_loss_is_minus_the_mean_of_the_bounds_of_the_examples():
    params, key = start_state().params, jax.random.key(3)
    xs = jnp.asarray(np.random.default_rng(1).integers(0, 2, (BATCH, PIXELS)), jnp.float32)
    loss, (extra, metrics) = jax.jit(LOSS)(jax.random.split(key, BATCH), params, (), xs, jnp.zeros((), jnp.int32))
    values = bounds.batched_iwae_bound(MODEL, key, params, xs, num_samples=2)
    np.testing.assert_allclose(loss, -values.mean(), rtol=1e-6)
    np.testing.assert_allclose(metrics["bound"], values.mean(), rtol=1e-6)
    assert extra == ()


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


def test_a_step_of_plain_descent_is_the_numerical_gradient(float64):
    rate, keys = 0.1, jax.random.split(jax.random.key(0), 3)
    model = linear.linear_vae(latent=1)
    xs = jnp.asarray(np.random.default_rng(0).normal(size=(3, 2)))
    params = jax.tree.map(lambda leaf: leaf + 0.1, model.init(jax.random.key(1), xs[0]))
    loss = negative_bound(model, bounds.importance_weighted, num_samples=2)
    optimizer = optax.sgd(rate)
    after, metrics = jax.jit(make_step(loss, optimizer))(start(params, optimizer), keys, xs)

    flat, restore = ravel_pytree(params)
    value = jax.jit(lambda flat: loss(keys, restore(flat), (), xs, jnp.zeros((), jnp.int32))[0])
    basis = 1e-5 * np.eye(len(flat))
    gradient = np.array([(value(flat + shift) - value(flat - shift)) / 2e-5 for shift in basis])
    np.testing.assert_allclose((flat - ravel_pytree(after.params)[0]) / rate, gradient, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(metrics["gradient_norm"], np.linalg.norm(gradient), rtol=1e-6)
    assert np.abs(gradient).min() > 1e-3


def test_not_a_number_reaches_the_metrics_by_name():
    step = jax.jit(make_step(LOSS, OPTIMIZER, decay=0.9))
    xs = jnp.zeros((BATCH, PIXELS)).at[2, 1].set(jnp.nan)
    state, metrics = step(start_state(), jax.random.split(jax.random.key(0), BATCH), xs)
    assert set(metrics) == {"loss", "bound", "log_likelihood", "kl", "gradient_norm"}
    for name, metric in metrics.items():
        assert metric.shape == ()
        assert np.isnan(metric), name
    assert np.isnan(ravel_pytree(state.params)[0]).any()


def test_what_no_gradient_touches_is_carried_by_the_loss():
    def loss(key, params, extra, xs, step):
        return jnp.sum(params["w"] * jnp.mean(xs)) + 0 * extra["seen"], (
            {"seen": extra["seen"] + jnp.sum(xs)},
            {"at": step},
        )

    optimizer = optax.sgd(1.0)
    state = start({"w": jnp.zeros(2)}, optimizer, extra={"seen": jnp.zeros(())})
    run = partial(steps, step=make_step(loss, optimizer), prepare=grey, batch_size=2)
    state, metrics = jax.jit(run)(state, jax.random.key(0), jnp.ones((6, 1)))
    assert float(state.extra["seen"]) == 6
    np.testing.assert_array_equal(state.params["w"], [-3.0, -3.0])
    np.testing.assert_array_equal(metrics["at"], [0, 1, 2])
    assert state.average is None


def test_too_few_examples_or_too_long_a_run_is_refused():
    with pytest.raises(ValueError, match="3 examples do not fill one batch of 5"):
        recorded(blank_state(), jax.random.key(0), images()[:3])
    for length in (0, 5):
        with pytest.raises(ValueError, match=f"length={length} must lie between 1 and 4"):
            recorded(blank_state(), jax.random.key(0), images(), length=length)


@pytest.mark.slow
def test_training_reaches_the_maximum_of_the_likelihood():
    """A linear VAE by Adam, to within 0.02 nats of probabilistic PCA on the same data."""
    rng = np.random.default_rng(0)
    data = rng.normal(size=(500, 2)) @ rng.normal(size=(2, 4)) * 1.5 + 0.3 * rng.normal(size=(500, 4))
    data = jnp.asarray(data, jnp.float32)
    model = linear.linear_vae(latent=2, draw=sticking_the_landing)
    optimizer = adam(optax.cosine_decay_schedule(0.02, 100 * 5))
    loss = negative_bound(model, bounds.average, num_samples=4)
    run = partial(steps, data=data, step=make_step(loss, optimizer), prepare=grey, batch_size=100)

    @jax.jit
    def train(state):
        return jax.lax.scan(lambda state, _: run(state, jax.random.key(1)), state, None, length=100)

    initial = jax.jit(model.init)(jax.random.key(0), data[0])
    state, metrics = train(start(initial, optimizer))

    def mean_log_marginal(params):
        return float(jax.vmap(linear.log_marginal, (None, 0))(params, data).mean())

    maximum = mean_log_marginal(linear.probabilistic_pca(data, latent=2))
    reached = mean_log_marginal(state.params)
    assert maximum - 0.02 < reached <= maximum + 1e-4
    assert metrics["bound"].shape == (100, 5)
    assert mean_log_marginal(initial) < maximum - 1
