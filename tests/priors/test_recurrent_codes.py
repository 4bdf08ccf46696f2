"""A recurrent prior over images of codes, against enumeration."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.priors import recurrent_codes

pytestmark = pytest.mark.slow  # long to compile


def test_a_recurrent_prior_is_a_distribution_over_images_of_codes():
    """Over all 3⁴ images the probabilities sum to one, and draws have those frequencies."""
    prior = recurrent_codes.start(jax.random.key(0), (2, 2), 3, width=6)
    prior = jax.tree.map(lambda leaf: 3 * leaf, prior)
    every = jnp.array(list(itertools.product(range(3), repeat=4))).reshape(-1, 2, 2)
    probabilities = np.exp(np.asarray(jax.jit(jax.vmap(prior.log_prob))(every), np.float64))
    np.testing.assert_allclose(probabilities.sum(), 1.0, rtol=1e-5)
    assert probabilities.std() > 0.1 * probabilities.mean()
    draws = jax.jit(jax.vmap(prior.sample))(jax.random.split(jax.random.key(1), 20_000))
    number = np.asarray(draws).reshape(-1, 4) @ np.array([27, 9, 3, 1])
    counted = np.bincount(number, minlength=81)
    expected = 20_000 * probabilities
    assert np.all(np.abs(counted - expected) < 5 * np.sqrt(expected) + 5)


def test_a_recurrent_prior_knows_only_the_codes_before():
    """The log probability of the first i codes moves with no later code: by differences over every later image."""
    prior = jax.tree.map(lambda leaf: 3 * leaf, recurrent_codes.start(jax.random.key(0), (2, 2), 3, width=6))
    every = jnp.array(list(itertools.product(range(3), repeat=4))).reshape(-1, 2, 2)
    probabilities = np.exp(np.asarray(jax.vmap(prior.log_prob)(every), np.float64)).reshape(3, 3, 3, 3)
    first = probabilities.sum(axis=(1, 2, 3))
    np.testing.assert_allclose(first.sum(), 1.0, rtol=1e-5)
    again = recurrent_codes.start(jax.random.key(0), (1, 1), 3, width=6)
    again = jax.tree.map(lambda leaf: 3 * leaf, again)
    place = prior.place[:1, :1]
    alone = type(again)(**{**vars(prior), "place": place})
    np.testing.assert_allclose(np.exp(jax.vmap(alone.log_prob)(jnp.arange(3).reshape(3, 1, 1))), first, rtol=1e-4)
