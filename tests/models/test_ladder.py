"""Ladder models are exact: their weights average to p(x), their divergences are closed, their draws are by layer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy import stats
from standard_errors import assert_mean

from jaxvae import elbo, networks
from jaxvae.distributions import Normal, normal_with_scale
from jaxvae.models import combined, ladder_vae
from jaxvae.types import Network

SCALE, X = 0.8, jnp.array([0.9, -0.4])


def upward(latent, features=3):
    outputs = {"features": (features,)} | Normal.parameters((latent,))
    return networks.mlp((6,), outputs, activation=jnp.tanh)


def model_of(layers, latent=1, likelihood_network=None):
    return ladder_vae(
        bottom_up=[upward(latent) for _ in range(layers)],
        top_down=[networks.mlp((4,), Normal.parameters((latent,)), activation=jnp.tanh) for _ in range(layers - 1)],
        decoder=likelihood_network or networks.mlp((5,), {"mean": (2,)}, activation=jnp.tanh),
        top=(latent,),
        likelihood=normal_with_scale(SCALE),
    )


def started(model):
    """Params at which the layers matter to each other."""
    return jax.tree.map(lambda leaf: 1.5 * leaf, model.init(jax.random.key(0), X))


def draws_of(model, params, count=20_000):
    keys = jax.random.split(jax.random.key(1), count)
    return jax.jit(jax.vmap(lambda key: model.terms(key, params, X)))(keys)


def by_quadrature(model, params):
    """log p(x) of a model with two layers of one dimension, on a grid."""
    nodes = jnp.linspace(-8.0, 8.0, 401)
    prior = model.prior(params)

    def joint(above, below):
        z = (above[None], below[None])
        return jnp.exp(prior.log_prob(z) + model.likelihood(params, z).log_prob(X))

    densities = jax.jit(jax.vmap(jax.vmap(joint, (None, 0)), (0, None)))(nodes, nodes)
    return float(jnp.log(jnp.sum(densities) * (nodes[1] - nodes[0]) ** 2))


@pytest.mark.slow
def test_importance_weights_average_to_the_density_by_quadrature():
    model = model_of(2)
    params = started(model)
    truth = by_quadrature(model, params)
    terms = draws_of(model, params)
    assert_mean(np.exp(np.asarray(terms.log_weight, np.float64) - truth), 1.0)
    assert terms.kl.shape == (20_000, 2)
    assert np.mean(terms.log_likelihood - terms.kl.sum(axis=1)) < truth


def test_a_linear_ladder_is_the_gaussian_that_it_should_be():
    """z₀ ~ N(0, 1), z₁|z₀ ~ N(½ z₀, 0.6²), x|z₁ ~ N(w z₁, σ²): p(x) in closed form, whatever the messages are."""
    below = Network(lambda key, z: {}, lambda params, z: {"mean": 0.5 * z, "log_scale": jnp.log(jnp.full((1,), 0.6))})
    weights = np.array([1.2, -0.7])
    decoder = Network(lambda key, z: {}, lambda params, z: {"mean": jnp.asarray(weights, jnp.float32) * z})
    model = ladder_vae(
        bottom_up=[upward(1), upward(1)],
        top_down=[below],
        decoder=decoder,
        top=(1,),
        likelihood=normal_with_scale(SCALE),
    )
    terms = draws_of(model, model.init(jax.random.key(0), X))
    covariance = (0.25 + 0.36) * np.outer(weights, weights) + SCALE**2 * np.eye(2)
    truth = stats.multivariate_normal(np.zeros(2), covariance).logpdf(X)
    assert_mean(np.exp(np.asarray(terms.log_weight, np.float64) - truth), 1.0)


@pytest.mark.parametrize("layers", [1, 2, 5])
def test_the_closed_divergences_are_the_mean_log_ratio(layers):
    model = model_of(layers, latent=2)
    terms = draws_of(model, started(model))
    assert terms.kl.shape[1] == layers
    assert np.all(np.asarray(terms.kl) >= -1e-6)
    assert_mean(terms.log_weight - (terms.log_likelihood - terms.kl.sum(axis=1)), 0.0)


def test_joint_densities_are_those_that_are_drawn_from():
    model = model_of(3, latent=2)
    params = started(model)
    posterior, prior = model.posterior(params, X), model.prior(params)
    key = jax.random.key(5)
    z = posterior.sample(key)
    again = model.terms(key, params, X)  # the same draw, by the same keys
    expected = model.likelihood(params, z).log_prob(X) + prior.log_prob(z) - posterior.log_prob(z)
    np.testing.assert_allclose(again.log_weight, expected, rtol=1e-5)


def test_the_product_of_two_gaussians():
    one, other = Normal(jnp.array([0.3]), jnp.array([-0.5])), Normal(jnp.array([-1.2]), jnp.array([0.4]))
    product, nodes = combined(one, other), jnp.linspace(-3.0, 3.0, 7)

    def log_ratio(z):
        return one.log_prob(z[None]) + other.log_prob(z[None]) - product.log_prob(z[None])

    values = jax.vmap(log_ratio)(nodes)
    np.testing.assert_allclose(values, values[0], rtol=1e-4)
    extreme = combined(Normal(jnp.zeros(1), jnp.full(1, -80.0)), Normal(jnp.ones(1), jnp.full(1, 80.0)))
    assert float(extreme.mean[0]) == 0
    assert float(extreme.log_scale[0]) == -80


def test_the_network_farthest_from_the_image_speaks_to_the_top():
    """Its message is the top's posterior; the layer below is the product of its own and of what the top says."""

    def saying(mean, scale):
        message = {"mean": jnp.array([mean]), "log_scale": jnp.log(jnp.array([scale]))}
        return Network(lambda key, x: {}, lambda params, x: {"features": x, **message})

    below = Network(lambda key, z: {}, lambda params, z: {"mean": 0.5 * z, "log_scale": jnp.log(jnp.array([0.6]))})
    decoder = networks.mlp((3,), {"mean": (2,)})
    model = ladder_vae(
        bottom_up=[saying(1.0, 0.3), saying(4.0, 0.2)],
        top_down=[below],
        decoder=decoder,
        top=(1,),
        likelihood=normal_with_scale(SCALE),
    )
    top, bottom = model.posterior(model.init(jax.random.key(0), X), X).expectation()
    np.testing.assert_allclose(top, 4.0)
    np.testing.assert_allclose(bottom, (1.0 / 0.3**2 + 2.0 / 0.6**2) / (1 / 0.3**2 + 1 / 0.6**2), rtol=1e-5)


def test_layers_have_temperatures_or_are_given():
    model = model_of(3, latent=2)
    prior = model.prior(started(model))
    key = jax.random.key(2)
    mean = prior.expectation()
    cold = prior.sample_at(key, temperatures=(0, 0, 0))
    for a, b in zip(cold, mean, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
    whole = prior.sample(key)
    warm = prior.sample_at(key, temperatures=(1, 0.5, 1))
    np.testing.assert_array_equal(warm[0], whole[0])
    of_second, _ = prior.at(1, whole[0])
    np.testing.assert_allclose(warm[1], of_second.mean + 0.5 * (whole[1] - of_second.mean), rtol=1e-5)
    kept = prior.sample_at(jax.random.key(9), fixed=(whole[0], whole[1], None))
    np.testing.assert_array_equal(kept[0], whole[0])
    np.testing.assert_array_equal(kept[1], whole[1])
    assert not np.array_equal(kept[2], whole[2])


def test_the_gradient_is_that_of_the_mean_bound():
    """By common random numbers: the change of the mean bound along a direction is the mean gradient along it."""
    model = model_of(2)
    flat, unravel = ravel_pytree(started(model))
    keys = jax.random.split(jax.random.key(1), 200)

    @jax.jit
    def mean_bound(flat):
        return jnp.mean(jax.vmap(lambda key: elbo(model, key, unravel(flat), X))(keys))

    direction = jax.random.normal(jax.random.key(2), flat.shape) / np.sqrt(flat.size)
    slope = (mean_bound(flat + 1e-2 * direction) - mean_bound(flat - 1e-2 * direction)) / 2e-2
    assert float(jnp.dot(jax.grad(mean_bound)(flat), direction)) == pytest.approx(float(slope), rel=1e-2)


def test_numbers_of_networks_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="2 layers need 1 networks between them, not 0"):
        ladder_vae(bottom_up=[upward(1), upward(1)], top_down=[], decoder=upward(1), top=(1,))
