"""The least divergence at a distortion: on the linear VAE, the rate-distortion function of a Gaussian."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxvae.losses import constrained, multiplier_start
from jaxvae.models import linear
from jaxvae.training import make_step, start

VARIANCES = np.array([4.0, 1.0, 0.3])


def rate_of(squared_error):
    """Σ ½ ln(λ_i / min(θ, λ_i)) with Σ min(θ, λ_i) the squared error: reverse water-filling, by bisection."""
    low, high = 0.0, VARIANCES.max()
    for _ in range(100):
        level = (low + high) / 2
        low, high = (level, high) if np.minimum(level, VARIANCES).sum() < squared_error else (low, level)
    return 0.5 * np.log(VARIANCES / np.minimum(level, VARIANCES)).sum(), level


@pytest.mark.slow
@pytest.mark.parametrize("squared_error", [1.2, 0.6])
def test_the_rate_at_a_distortion_is_that_of_the_gaussian(squared_error):
    """Its scale is learned, and so -ln p(x|z) is at best d/2 ln(2 π e squared error / d)."""
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(64, 3))
    raw -= raw.mean(axis=0)
    xs = raw @ np.linalg.inv(np.linalg.cholesky(raw.T @ raw / 64)).T * np.sqrt(VARIANCES)
    turned = jnp.asarray(xs @ np.linalg.qr(rng.normal(size=(3, 3)))[0], jnp.float32)
    distortion = 1.5 * np.log(2 * np.pi * np.e * squared_error / 3)
    with jax.numpy_dtype_promotion("standard"):
        model, optimizer = linear.linear_vae(latent=3), optax.adam(optax.linear_schedule(1e-2, 1e-4, 6000))
        loss = constrained(model, distortion=distortion, rate=0.02, decay=0.9, num_samples=4)
        state = start(model.init(jax.random.key(1), turned[0]), optimizer, extra=multiplier_start())
        step = make_step(loss, optimizer)

        @jax.jit
        def run(state):
            keys = jax.random.split(jax.random.key(2), 6000)
            return jax.lax.scan(lambda state, key: step(state, jax.random.split(key, 64), turned), state, keys)

        _, metrics = run(state)
    rate, level = rate_of(squared_error)
    last = {name: float(np.mean(values[-1500:])) for name, values in metrics.items()}
    np.testing.assert_allclose(last["excess"], 0.0, atol=0.02)
    np.testing.assert_allclose(last["kl"], rate, rtol=0.02)
    np.testing.assert_allclose(-last["log_likelihood"], distortion, atol=0.02)
    # The multiplier is the slope -dR/dD: dR/d(squared error) = -1/(2 θ), dD/d(squared error) = d/(2 squared error).
    np.testing.assert_allclose(last["multiplier"], squared_error / (3 * level), rtol=0.03)


def test_what_it_keeps_is_its_moving_average_and_linear_in_the_batch():
    model = linear.linear_vae(latent=2)
    params = model.init(jax.random.key(0), jnp.zeros(3))
    xs, keys = jax.random.normal(jax.random.key(1), (8, 3)), jax.random.split(jax.random.key(2), 8)
    loss = jax.jit(constrained(model, distortion=1.0, rate=0.5, decay=0.75))
    extra = {"excess": jnp.array(3.0), "log_multiplier": jnp.array(0.2)}
    value, (after, metrics) = loss(keys, params, extra, xs, jnp.array(4))
    np.testing.assert_allclose(metrics["excess"], -metrics["log_likelihood"] - 1.0, rtol=1e-6)
    np.testing.assert_allclose(value, metrics["kl"] + np.exp(0.2) * metrics["excess"], rtol=1e-6)
    np.testing.assert_allclose(after["excess"], 0.75 * 3 + 0.25 * metrics["excess"], rtol=1e-6)
    np.testing.assert_allclose(after["log_multiplier"], 0.2 + 0.5 * after["excess"], rtol=1e-6)
    for step in (0, 4):
        whole = loss(keys, params, extra, xs, jnp.array(step))
        halves = [loss(keys[rows], params, extra, xs[rows], jnp.array(step)) for rows in (slice(4), slice(4, 8))]
        mean = jax.tree.map(lambda one, other: (one + other) / 2, *halves)
        jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-5), whole, mean)
    first = loss(keys, params, multiplier_start(), xs, jnp.array(0))[1]
    np.testing.assert_allclose(first[0]["excess"], first[1]["excess"], rtol=1e-6)
