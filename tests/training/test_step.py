from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from six_pixels import BATCH, LOSS, MODEL, OPTIMIZER, PIXELS, adam, epoch, start_state

from jaxvae import bounds
from jaxvae.draws import sticking_the_landing
from jaxvae.losses import negative_bound
from jaxvae.models import linear
from jaxvae.training import grey, make_step, start, steps


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
