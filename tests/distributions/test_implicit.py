"""Waves of noise: their moments by quadrature and by draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
from standard_errors import assert_mean

from jaxvae.distributions import Implicit

ONE = {
    "mean": [0.5, -1.0],
    "log_width": [-1.0, -30.0],
    "weight": [[10.0, -20.0, 3.0], [0.0, 7.0, 15.0]],
    "phase": [0.2, -1.4, 2.0],
}
WAVES = Implicit(**{name: jnp.array(value) for name, value in ONE.items()}, turns=jnp.array([-3.0, 0.0, 1.2]))


def test_its_moments_are_those_of_quadrature():
    def mean_of(function, phase, scale):
        density = scipy.stats.norm.pdf
        return scipy.integrate.quad(lambda e: function(phase + scale * e) * density(e), -9, 9, limit=300)[0]

    scales = 2 * scipy.special.expit(np.asarray(WAVES.turns, float))
    pairs = list(zip(np.asarray(WAVES.phase, float), scales, strict=True))
    first = np.array([mean_of(np.sin, *pair) for pair in pairs])
    second = np.array([mean_of(lambda u: np.sin(u) ** 2, *pair) for pair in pairs])
    weight = np.asarray(WAVES.weight, float) / 10
    np.testing.assert_allclose(WAVES.expectation(), np.asarray(WAVES.mean) + weight @ first, atol=2e-6)
    spread = np.sqrt([np.exp(-2.0), 0.0] + weight**2 @ (second - first**2))
    np.testing.assert_allclose(WAVES.moments().mean, WAVES.expectation(), atol=1e-6)
    np.testing.assert_allclose(np.exp(WAVES.moments().log_scale), spread, rtol=1e-5)


def test_its_draws_have_these_moments_and_no_density():
    draws = jax.vmap(WAVES.sample)(jax.random.split(jax.random.key(0), 20_000))
    assert_mean(draws, WAVES.expectation())
    assert_mean(jnp.square(draws - WAVES.expectation()[None]), jnp.exp(2 * WAVES.moments().log_scale))
    with pytest.raises(ValueError, match="take a loss that needs none"):
        WAVES.log_prob(draws[0])


def test_a_wide_wave_piles_up_at_its_ends():
    """Beyond ±½ lie two thirds of it, and of a Gaussian of its variance under a half."""
    wide = Implicit(jnp.zeros(1), jnp.full(1, -30.0), jnp.full((1, 1), 10.0), jnp.zeros(1), jnp.full(1, 8.0))
    draws = jax.vmap(wide.sample)(jax.random.split(jax.random.key(1), 20_000))
    line = np.linspace(-9, 9, 200_001)
    beyond = np.sum(scipy.stats.norm.pdf(line) * (np.abs(np.sin(2 * scipy.special.expit(8.0) * line)) > 0.5))
    beyond *= line[1] - line[0]
    assert_mean(jnp.abs(draws) > 0.5, beyond)
    assert beyond > 0.65 > 0.5 > 2 * scipy.stats.norm.sf(0.5 / np.exp(float(wide.moments().log_scale[0])))


@pytest.mark.parametrize("log_scale", [-1e4, -30.0, 40.0, 1e4])
def test_its_moments_are_numbers_whatever_an_encoder_says(log_scale):
    far = Implicit(jnp.zeros(1), jnp.full(1, -log_scale), jnp.ones((1, 2)), jnp.ones(2), jnp.full(2, log_scale))
    slopes = jax.grad(lambda of: jnp.sum(of.moments().log_scale) + jnp.sum(of.sample(jax.random.key(0))))(far)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves((far.moments(), slopes)))


def test_what_is_no_vector_is_refused():
    assert Implicit.parameters((3,), noises=5)["weight"] == (3, 5)
    with pytest.raises(ValueError, match="make a vector of one noise at least"):
        Implicit.parameters((3, 2), noises=5)
