import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy
from standard_errors import assert_mean

from jaxvae import bounds
from jaxvae.models import dequantized, linear
from jaxvae.networks import mlp
from jaxvae.types import Network

pytestmark = pytest.mark.slow  # long to compile

LEVELS = 3
IMAGES = np.array(list(itertools.product([0.0, 0.5, 1.0], repeat=2)), np.float32)
LOADINGS, CENTER, SCALE = np.array([[0.3], [-0.4]]), np.array([0.4, 0.6]), 0.15
MARGINAL = scipy.stats.multivariate_normal(CENTER, LOADINGS @ LOADINGS.T + SCALE**2 * np.eye(2))


def linear_params():
    """With one loading the best diagonal posterior is exact: every weight is the density of the pixels with noise."""
    return linear.parameters(*(jnp.asarray(array, jnp.float32) for array in (LOADINGS, CENTER, SCALE)))


def probability(image):
    """The density's mass over the image's square."""
    low = np.round(image * (LEVELS - 1)) / LEVELS
    return MARGINAL.cdf(low + 1 / LEVELS, lower_limit=low)


def uniform_bound(image):
    """E_u ln p((k + u) / K) - D ln K by quadrature: the log density is a quadratic, for which it is exact."""
    nodes, weights = np.polynomial.legendre.leggauss(4)
    grid = np.array(list(itertools.product(nodes / 2 + 0.5, repeat=2)))
    weights = np.prod(list(itertools.product(weights / 2, repeat=2)), axis=1)
    return weights @ MARGINAL.logpdf((np.round(image * (LEVELS - 1)) + grid) / LEVELS) - 2 * np.log(LEVELS)


@pytest.fixture(scope="module")
def log_weights():
    """Draws for each of all images: [images, draws]."""
    model = dequantized(linear.linear_vae(latent=1), levels=LEVELS)
    keys = jax.random.split(jax.random.key(0), 20_000)
    of_image = lambda x: jax.vmap(lambda key: model.terms(key, linear_params(), x).log_weight)(keys)  # noqa: E731
    return np.asarray(jax.jit(jax.vmap(of_image))(jnp.asarray(IMAGES)), float)


def test_the_bound_of_uniform_noise_never_exceeds_the_probability(log_weights):
    for image, of_image in zip(IMAGES, log_weights, strict=True):
        assert_mean(of_image, uniform_bound(image))
        assert uniform_bound(image) < np.log(probability(image)) - 0.01


def test_the_importance_weights_average_to_the_probability(log_weights):
    for image, of_image in zip(IMAGES, log_weights, strict=True):
        assert_mean(np.exp(of_image), probability(image))


def test_levels_cost_the_logarithm_of_their_width():
    """An 8-bit image under a density that is one on [0, 1]: 8 bits for each dimension."""
    flat = linear.parameters(jnp.zeros((3, 1)), jnp.full(3, 0.5), jnp.asarray(1e3))
    terms = dequantized(linear.linear_vae(latent=1)).terms(jax.random.key(0), flat, jnp.array([0.0, 0.5, 1.0]))
    log_density = -3 * (np.log(1e3) + 0.5 * np.log(2 * np.pi))
    np.testing.assert_allclose(terms.log_likelihood, log_density - 3 * np.log(256), rtol=1e-6)
    assert terms.kl.shape == (1,)


def test_samples_are_levels_with_the_probabilities_of_the_images():
    model = dequantized(linear.linear_vae(latent=1), levels=LEVELS)
    keys = jax.random.split(jax.random.key(0), 20_000)
    draws = np.asarray(jax.jit(jax.vmap(lambda key: model.sample(key, linear_params())))(keys))
    assert set(np.unique(draws)) == {0.0, 0.5, 1.0}
    middle = np.array([0.5, 0.5])  # an image whose square is inside: the others also take what lies outside of [0, 1]
    assert_mean(np.all(draws == middle, axis=1), probability(middle))


def test_learned_noise_is_unbiased_and_tightens_the_bound():
    noise = Network(
        init=lambda key, x: {"mean": jnp.zeros(2), "log_scale": jnp.full(2, 0.5)}, apply=lambda params, x: params
    )
    model = dequantized(linear.linear_vae(latent=1), levels=LEVELS, noise=noise)
    image = jnp.array([1.0, 1.0])
    start = model.init(jax.random.key(0), image)
    assert set(start) == {"prior", "encoder", "decoder", "noise"}
    optimizer = optax.adam(0.02)

    def loss(noise_params, key):
        params = linear_params() | {"noise": noise_params}
        return -bounds.elbo(model, key, params, image, num_samples=16)

    def step(state, key):
        params, memory = state
        with jax.numpy_dtype_promotion("standard"):
            updates, memory = optimizer.update(jax.grad(loss)(params, key), memory)
        return (optax.apply_updates(params, updates), memory), None

    keys = jax.random.split(jax.random.key(1), 400)
    learned, _ = jax.jit(lambda state: jax.lax.scan(step, state, keys))(
        (start["noise"], optimizer.init(start["noise"]))
    )
    params = linear_params() | {"noise": learned[0]}
    draw = jax.jit(jax.vmap(lambda key: model.terms(key, params, image)))
    terms = draw(jax.random.split(jax.random.key(2), 20_000))
    assert terms.kl.shape == (20_000, 2)
    assert_mean(np.exp(np.asarray(terms.log_weight, float)), probability(np.asarray(image)))
    bound = np.asarray(bounds.average(terms))
    assert uniform_bound(np.asarray(image)) + 0.1 < bound < np.log(probability(np.asarray(image)))


def test_a_network_makes_the_noise_and_learns():
    model = dequantized(linear.linear_vae(latent=1), noise=mlp((4,), {"mean": (3,), "log_scale": (3,)}))
    x = jnp.array([0.0, 0.2, 1.0])
    params = model.init(jax.random.key(0), x)
    gradient = jax.jit(jax.grad(lambda params: bounds.iwae_bound(model, jax.random.key(1), params, x, num_samples=3)))
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(gradient(params)["noise"]["params"]["heads"]))
    assert model.posterior(params, x).mean.shape == (1,)


def test_less_than_two_levels_are_refused():
    with pytest.raises(ValueError, match="levels=1: pixels take at least two values"):
        dequantized(linear.linear_vae(latent=1), levels=1)
