import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from scipy.special import logsumexp
from standard_errors import assert_mean

from jaxvae.distributions import NormalMixture


def mixture(components=4, shape=(3,), seed=0, dtype=jnp.float32):
    rng = np.random.default_rng(seed)
    values = (rng.normal(size=size) for size in NormalMixture.parameters(shape, components=components).values())
    return NormalMixture(*(jnp.asarray(value, dtype) for value in values))


def truth(density, value):
    logits, mean, log_scale = (np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(density))
    of_components = scipy.stats.norm(mean, np.exp(log_scale)).logpdf(np.asarray(value, np.float64)[None])
    return logsumexp(logits - logsumexp(logits) + of_components.reshape(len(logits), -1).sum(axis=1))


def test_the_density_is_scipys():
    for shape in ((3,), (2, 2)):
        density = mixture(shape=shape)
        for value in np.random.default_rng(1).normal(size=(3, *shape)).astype(np.float32):
            np.testing.assert_allclose(density.log_prob(jnp.asarray(value)), truth(density, value), rtol=1e-5)


def narrow_and_far():
    """Components of scale 0.01 around five, and a value near to one of them."""
    rng = np.random.default_rng(2)
    mean = 5 + 3 * rng.normal(size=(50, 40))
    density = NormalMixture(jnp.zeros(50), jnp.asarray(mean, jnp.float32), jnp.full((50, 40), np.log(0.01)))
    return density, jnp.asarray(mean[7] + 0.01 * rng.normal(size=40), jnp.float32)


def test_the_density_keeps_its_digits_far_from_zero():
    density, value = narrow_and_far()
    np.testing.assert_allclose(jax.jit(NormalMixture.log_prob)(density, value), truth(density, value), atol=1e-3)


def test_the_gradient_of_the_density_keeps_enough_of_them():
    """Of 50 components one counts: the gradient is that of its Gaussian."""
    density, value = narrow_and_far()
    gradient, by_value = jax.jit(jax.grad(NormalMixture.log_prob, argnums=(0, 1)))(density, value)
    standardised = (np.asarray(value, np.float64) - np.asarray(density.mean[7], np.float64)) / 0.01
    np.testing.assert_allclose(by_value, -standardised / 0.01, atol=0.1)  # the numbers are about a hundred
    np.testing.assert_allclose(gradient.mean[7], standardised / 0.01, atol=0.1)
    np.testing.assert_allclose(gradient.log_scale[7], standardised**2 - 1, atol=0.1)
    np.testing.assert_allclose(gradient.mean[8], 0, atol=1e-6)


def test_the_gradient_of_the_density_is_that_of_the_differences(float64):
    density = mixture(dtype=jnp.float64)
    value = jnp.array([0.3, -0.8, 1.5])

    def plain(density, value):
        of_components = jax.scipy.stats.norm.logpdf(value[None], density.mean, jnp.exp(density.log_scale))
        return jax.nn.logsumexp(jax.nn.log_softmax(density.logits) + jnp.sum(of_components, axis=1))

    found = jax.jit(jax.grad(NormalMixture.log_prob, argnums=(0, 1)))(density, value)
    expected = jax.jit(jax.grad(plain, argnums=(0, 1)))(density, value)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


def test_draws_have_the_moments():
    density = mixture(shape=(2,))
    draws = jax.jit(jax.vmap(density.sample))(jax.random.split(jax.random.key(0), 50_000))
    weights = np.exp(density.logits - logsumexp(density.logits))
    mean, scale = np.asarray(density.mean), np.exp(density.log_scale)
    np.testing.assert_allclose(density.expectation(), weights @ mean, rtol=1e-5)
    assert_mean(draws, weights @ mean)
    assert_mean(np.asarray(draws) ** 2, weights @ (mean**2 + scale**2))


def test_the_implicit_gradient_of_one_dimension_is_that_of_its_distribution_function():
    """dz/dθ = -∂F/∂θ / p(z), for the weights, the means and the scales."""
    logits, mean, log_scale = jnp.array([0.3, -0.5]), jnp.array([[-1.0], [1.5]]), jnp.array([[0.1], [-0.6]])
    density, key = NormalMixture(logits, mean, log_scale), jax.random.key(3)
    gradient = jax.jit(jax.grad(lambda density: density.sample(key)[0]))(density)
    z = float(density.sample(key)[0])

    weight = np.exp(logits) / np.exp(logits).sum()
    components = scipy.stats.norm(np.asarray(mean)[:, 0], np.exp(log_scale)[:, 0])
    below, at = components.cdf(z), components.pdf(z)
    slope = weight @ at
    standardised = (z - np.asarray(mean)[:, 0]) / np.exp(log_scale)[:, 0]
    np.testing.assert_allclose(gradient.logits, -weight * (below - weight @ below) / slope, rtol=1e-4)
    np.testing.assert_allclose(gradient.mean[:, 0], weight * at / slope, rtol=1e-4)
    scales = np.exp(np.asarray(log_scale)[:, 0])
    np.testing.assert_allclose(gradient.log_scale[:, 0], weight * at * standardised * scales / slope, rtol=1e-4)


def test_one_component_is_the_gaussian_reparameterisation():
    density, key = mixture(components=1), jax.random.key(4)
    jacobian = jax.jit(jax.jacobian(lambda density: density.sample(key)))(density)
    np.testing.assert_allclose(jacobian.mean[:, 0], np.eye(3), atol=1e-5)
    np.testing.assert_allclose(jacobian.log_scale[:, 0], np.diag(density.sample(key) - density.mean[0]), atol=1e-5)
    np.testing.assert_allclose(jacobian.logits, 0, atol=1e-5)


def test_components_far_apart_have_finite_gradients():
    """Each draw lies where all components but one have no density at all."""
    density = NormalMixture(jnp.zeros(2), jnp.array([[-100.0, 50.0], [100.0, -50.0]]), jnp.full((2, 2), -3.0))

    def gradient(key):
        return jax.grad(lambda density: jnp.sum(density.sample(key)))(density)

    gradients = jax.jit(jax.vmap(gradient))(jax.random.split(jax.random.key(5), 200))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradients))
    np.testing.assert_allclose(np.sum(gradients.mean, axis=1), 1, rtol=1e-3)  # one component moves it all
