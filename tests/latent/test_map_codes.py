"""Codes against closed forms of the linear model and a search over a grid."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy
from curved_model import PARAMS, SCALE, curve, curved_vae
from curved_model import X as CURVED_X
from rows import first

from jaxvae.latent import encode, map_code
from jaxvae.models import linear

CENTER, NOISE = np.array([0.5, -1.0, 0.0, 2.0]), 0.5
LOADINGS = np.random.default_rng(0).normal(size=(4, 2))  # not orthogonal: the best diagonal posterior is not exact
X = CENTER + LOADINGS @ np.array([2.0, -1.5]) + np.array([0.1, -0.2, 0.3, 0.1])


def linear_params(dtype=jnp.float32):
    return linear.parameters(jnp.asarray(LOADINGS, dtype), jnp.asarray(CENTER, dtype), jnp.asarray(NOISE, dtype))


def misled(params):
    """The same model with an encoder that says the same of every x."""
    encoder = params["encoder"] | {"V": jnp.zeros_like(params["encoder"]["V"])}
    return params | {"encoder": encoder}


def exact_mode():
    """The mean of the Gaussian p(z|x), by conditioning the joint: another road than the library's."""
    return LOADINGS.T @ np.linalg.solve(LOADINGS @ LOADINGS.T + NOISE**2 * np.eye(4), X - CENTER)


def log_joint(z):
    return scipy.stats.norm.logpdf(X, LOADINGS @ z + CENTER, NOISE).sum() + scipy.stats.norm.logpdf(z).sum()


def test_encode_is_the_mean_of_the_posterior():
    np.testing.assert_allclose(
        encode(linear.linear_vae(latent=2), linear_params(), jnp.asarray(X, jnp.float32)), exact_mode(), atol=1e-5
    )


def test_the_map_code_is_the_mode_wherever_the_encoder_starts_it(float64):
    params, x = misled(linear_params(jnp.float64)), jnp.asarray(X)
    found = map_code(linear.linear_vae(latent=2), params, x, num_steps=1000, learning_rate=0.1)
    np.testing.assert_allclose(found.code, exact_mode(), atol=1e-4)
    assert float(found.log_joint) == pytest.approx(log_joint(exact_mode()), abs=1e-6)
    assert float(found.start_log_joint) == pytest.approx(log_joint(np.zeros(2)), abs=1e-9)


def test_the_default_climb_arrives_as_far_away_as_the_encoder_is_wrong():
    found = map_code(linear.linear_vae(latent=2), misled(linear_params()), jnp.asarray(X, jnp.float32))
    assert np.linalg.norm(exact_mode()) > 1
    np.testing.assert_allclose(found.code, exact_mode(), atol=0.02)


def test_the_map_code_of_a_curved_model_is_the_best_of_a_grid(float64):
    found = map_code(curved_vae(), PARAMS, jnp.asarray(CURVED_X), num_steps=1000)
    axis = np.linspace(-3, 3, 1201)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    values = scipy.stats.norm.logpdf(CURVED_X, curve(grid, np), SCALE).sum(axis=-1)
    values += scipy.stats.norm.logpdf(grid).sum(axis=-1)
    best = np.unravel_index(np.argmax(values), values.shape)
    np.testing.assert_allclose(found.code, grid[best], atol=2 * (axis[1] - axis[0]))
    assert values.max() <= float(found.log_joint) < values.max() + 1e-3
    assert float(found.log_joint) > float(found.start_log_joint) + 0.1


@pytest.mark.parametrize("learning_rate", first(2, [0.1, 1e4, 1e-3, 10.0]))
@pytest.mark.parametrize("num_steps", [1, 7])
def test_the_objective_is_never_lower_than_at_the_start(num_steps, learning_rate):
    params, xs = linear_params(), 2 * jax.random.normal(jax.random.key(0), (50, 4))
    model = linear.linear_vae(latent=2)
    found = jax.jit(jax.vmap(lambda x: map_code(model, params, x, num_steps=num_steps, learning_rate=learning_rate)))(
        xs
    )
    assert bool(jnp.all(found.log_joint >= found.start_log_joint))
    reached = jax.vmap(lambda z, x: model.likelihood(params, z).log_prob(x) + model.prior(params).log_prob(z))(
        found.code, xs
    )
    np.testing.assert_allclose(found.log_joint, reached, rtol=1e-5)
    if learning_rate == 1e4:  # every step leaps away: the start must have been kept
        np.testing.assert_array_equal(found.code, jax.vmap(lambda x: encode(model, params, x))(xs))


def test_a_climb_of_no_steps_is_refused():
    model, params, x = linear.linear_vae(latent=2), linear_params(), jnp.asarray(X, jnp.float32)
    with pytest.raises(ValueError, match="num_steps=0 must be at least one"):
        map_code(model, params, x, num_steps=0)
    with pytest.raises(ValueError, match=r"learning_rate=-0.1"):
        map_code(model, params, x, learning_rate=-0.1)
