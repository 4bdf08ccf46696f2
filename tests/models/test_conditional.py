"""Conditional models are exact where the truth is known: bounds on log p(x|c), quadrants, and the baseline."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from standard_errors import assert_mean

from jaxvae import elbo, networks
from jaxvae.distributions import Bernoulli, Normal, normal_with_scale
from jaxvae.evaluation import log_likelihood
from jaxvae.models import (
    Given,
    completed,
    conditional_vae,
    given,
    of_hidden,
    reading_both,
    regression,
    the_same_for_all,
    visible_quadrants,
)
from jaxvae.models.quadrants import parted
from jaxvae.types import Network

SCALE = 0.7


def gaussian_model():
    """p(z|c) = N(a c, s²), p(x|z,c) = N(w z + c, σ²) with one latent: p(x|c) is a Gaussian, and q is another one."""

    def of(function):
        return Network(lambda key, *inputs: {}, lambda params, *inputs: function(*inputs))

    model = conditional_vae(
        split=lambda example: example,
        encoder=of(lambda x, c: {"mean": 0.3 * (x[:1] + c), "log_scale": jnp.full((1,), -0.2)}),
        decoder=of(lambda z, c: {"mean": jnp.array([1.5, -0.5]) * z + c}),
        prior=of(lambda c: {"mean": 0.8 * c, "log_scale": jnp.full((1,), -0.1)}),
        likelihood=normal_with_scale(SCALE),
    )
    weights = np.array([1.5, -0.5])

    def truth(x, c):
        covariance = np.exp(-0.2) * np.outer(weights, weights) + SCALE**2 * np.eye(2)
        return stats.multivariate_normal(weights * 0.8 * c + c, covariance).logpdf(x)

    return model, truth


@pytest.mark.parametrize("c", [-1.0, 2.0])
def test_importance_weights_average_to_the_conditional_density(c):
    model, truth = gaussian_model()
    x = jnp.array([0.4, -1.1])
    example = (x, jnp.array([c]))
    draws = jax.jit(jax.vmap(lambda key: model.terms(key, {"prior": {}, "encoder": {}, "decoder": {}}, example)))
    terms = draws(jax.random.split(jax.random.key(0), 20_000))
    assert_mean(np.exp(np.asarray(terms.log_weight, np.float64) - truth(x, c)), 1.0)
    # the ELBO of closed divergences is the mean log weight
    assert_mean(terms.log_weight - (terms.log_likelihood - terms.kl[:, 0]), 0.0)


def test_at_one_condition_it_is_a_vae_with_the_density_that_it_draws_from():
    model, _ = gaussian_model()
    params = {"prior": {}, "encoder": {}, "decoder": {}}
    c = jnp.array([2.0])
    at = given(model, c)
    draws = jax.vmap(lambda key: at.sample(key, params))(jax.random.split(jax.random.key(1), 20_000))
    assert_mean(draws, np.array([1.5, -0.5]) * 1.6 + 2.0)
    z, x = jnp.array([0.2]), jnp.array([2.2, 1.9])
    assert at.likelihood(params, z).log_prob(x) == model.likelihood(params, Given(z, c)).log_prob(x)
    with pytest.raises(ValueError, match=r"give one, jaxvae.models.given"):
        model.sample(jax.random.key(0), params)
    with pytest.raises(ValueError, match="one mean for each condition"):
        model.prior(params).expectation()


@pytest.mark.slow
def test_without_a_latent_variable_every_bound_is_the_density():
    visible = visible_quadrants((4, 4, 1), 2)
    decoder = networks.mlp((6,), Bernoulli.parameters((4, 4, 1)))
    model = regression(
        split=lambda image: parted(image, visible),
        prior=networks.mlp((5,), {"mean": (3,)}),
        decoder=reading_both(of_hidden(decoder, visible)),
    )
    x = jax.random.bernoulli(jax.random.key(0), shape=(4, 4, 1)).astype(jnp.float32)
    params = model.init(jax.random.key(1), x)
    # over all images with these visible pixels the probabilities sum to one
    hidden, seen = parted(x, visible)
    every = jnp.array(list(itertools.product([0.0, 1.0], repeat=len(hidden))))
    images = jax.vmap(lambda values: completed(seen, values, visible))(every)
    total = jax.jit(jax.vmap(lambda image: elbo(model, jax.random.key(2), params, image)))(images)
    np.testing.assert_allclose(np.exp(np.asarray(total, np.float64)).sum(), 1.0, rtol=1e-5)
    bound = elbo(model, jax.random.key(3), params, x)
    estimate = log_likelihood(model, jax.random.key(4), params, x, num_samples=3)
    np.testing.assert_allclose(bound, estimate, rtol=1e-6)
    drawn = given(model, seen).sample(jax.random.key(5), params)
    assert set(np.unique(drawn)) <= {0, 1}
    with pytest.raises(ValueError, match="no distribution of its condition"):
        model.sample(jax.random.key(0), params)


@pytest.mark.slow
def test_with_a_latent_variable_the_hidden_pixels_alone_are_scored():
    """The average over the prior of p(hidden|z, visible), summed over all hidden pixels, is one; the bound is below."""
    visible = visible_quadrants((2, 2, 1), 1)
    latent = Normal.parameters((1,))
    read = networks.mlp((4,), latent)
    model = conditional_vae(
        split=lambda image: parted(image, visible),
        encoder=reading_both(read),
        decoder=reading_both(of_hidden(networks.mlp((4,), Bernoulli.parameters((2, 2, 1))), visible)),
        prior=networks.mlp((4,), latent),
    )
    seen = jnp.zeros((2, 2, 1)).at[1, 0, 0].set(1.0)
    params = model.init(jax.random.key(0), seen)
    every = jnp.array(list(itertools.product([0.0, 1.0], repeat=3)))
    nodes = jnp.linspace(-9.0, 9.0, 2001)
    prior = given(model, seen).prior(params)

    def by_quadrature(hidden):
        def density(z):
            return jnp.exp(prior.log_prob(z[None]) + model.likelihood(params, Given(z[None], seen)).log_prob(hidden))

        return jnp.sum(jax.vmap(density)(nodes)) * (nodes[1] - nodes[0])

    truth = np.log(np.asarray(jax.vmap(by_quadrature)(every), np.float64))
    np.testing.assert_allclose(np.exp(truth).sum(), 1.0, rtol=1e-4)
    for hidden, exact in zip(every, truth, strict=True):
        image = completed(seen, hidden, visible)
        draws = jax.vmap(lambda key, image=image: model.terms(key, params, image))(
            jax.random.split(jax.random.key(1), 4000)
        )
        assert_mean(np.exp(np.asarray(draws.log_weight, np.float64) - exact), 1.0)
        assert np.mean(draws.log_likelihood - draws.kl[:, 0]) < exact


@pytest.mark.parametrize("shape", [(28, 28, 1), (5, 3, 2)])
def test_quadrants_add_up_and_images_come_back(shape):
    one, two, three = (visible_quadrants(shape, count) for count in (1, 2, 3))
    assert not one[0].any()
    assert one[-1, 0].all()
    assert (two >= one).all()
    assert (three >= two).all()
    assert two[:, 0].all()
    assert not two[:, -1].any()
    assert three[0].all()
    assert not three[-1, -1].any()
    image = jax.random.uniform(jax.random.key(0), shape)
    for visible in (one, two, three):
        hidden, seen = parted(image, visible)
        assert hidden.shape == (np.sum(~visible),)
        np.testing.assert_array_equal(seen[~visible], 0)
        np.testing.assert_array_equal(completed(seen, hidden, visible), image)
    with pytest.raises(ValueError, match="not 4"):
        visible_quadrants(shape, 4)
    with pytest.raises(ValueError, match="no four quadrants"):
        visible_quadrants((1, 8, 1), 1)


def test_a_decoder_of_images_gives_hidden_pixels_and_leaves_shared_outputs_alone():
    visible = visible_quadrants((4, 6, 2), 3)
    outputs = {"mean": (4, 6, 2), "log_scale": networks.Free(()), "logits": (4, 6, 2, 5)}
    decoder = networks.mlp((3,), outputs)
    params = decoder.init(jax.random.key(0), jnp.zeros(2))
    whole, hidden = decoder.apply(params, jnp.ones(2)), of_hidden(decoder, visible).apply(params, jnp.ones(2))
    np.testing.assert_array_equal(hidden["mean"], whole["mean"][~visible])
    np.testing.assert_array_equal(hidden["logits"], whole["logits"][~visible])
    assert hidden["log_scale"].shape == ()


def test_a_standard_prior_does_not_look():
    network = the_same_for_all((3,))
    outputs = network.apply(network.init(jax.random.key(0), jnp.ones(2)), jnp.ones(2))
    assert Normal(**outputs).log_prob(jnp.zeros(3)) == pytest.approx(3 * stats.norm.logpdf(0))
