import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy
from standard_errors import assert_mean

from jaxvae.likelihoods import BetaBinomial, DiscretizedLogisticMixture, PixelCategorical, bits_per_dimension

LEVELS = np.arange(256) / 255


def mixture(levels=256, dtype=np.float32, *, shape=(2, 3, 2), components=4, seed=0):
    rng = np.random.default_rng(seed)
    mixture_logits = rng.normal(size=(*shape[:-1], components)).astype(dtype)
    mean = rng.uniform(-0.1, 1.1, (*shape, components)).astype(dtype)
    log_scale = rng.uniform(-4, -1, (*shape, components)).astype(dtype)
    return DiscretizedLogisticMixture(*map(jnp.asarray, (mixture_logits, mean, log_scale)), levels=levels)


def expected_log_prob(distribution, pixels):
    """Differences of scipy's logistic distribution function, the ends open; from the nearer tail where it matters."""
    fields = (distribution.mixture_logits, distribution.mean, distribution.log_scale)
    mixture_logits, mean, log_scale = (np.asarray(field, np.float64) for field in fields)
    half = 0.5 / (distribution.levels - 1)
    value = np.asarray(pixels, np.float64)[..., None]
    lower = np.where(value < half, -np.inf, value - half)
    upper = np.where(value > 1 - half, np.inf, value + half)
    logistic = scipy.stats.logistic(mean, np.exp(log_scale))
    mass = np.where(value < mean, logistic.cdf(upper) - logistic.cdf(lower), logistic.sf(lower) - logistic.sf(upper))
    log_components = scipy.special.log_softmax(mixture_logits, axis=-1) + np.log(mass).sum(axis=-2)
    return scipy.special.logsumexp(log_components, axis=-1).sum()


@pytest.mark.parametrize("levels", [2, 8, 256])
def test_logistic_mixture_agrees_with_scipy(levels, float64):
    distribution = mixture(levels, np.float64)
    pixels = np.random.default_rng(1).integers(0, levels, (2, 3, 2)) / (levels - 1)
    pixels[0, 0], pixels[1, 2] = [0.0, 1.0], [1.0, 0.0]
    log_prob = jax.jit(distribution.log_prob)(jnp.asarray(pixels))
    assert log_prob.shape == ()
    np.testing.assert_allclose(log_prob, expected_log_prob(distribution, pixels), rtol=1e-10)


def test_logistic_mixture_agrees_with_scipy_in_single_precision():
    distribution = mixture()
    pixels = (np.random.default_rng(2).integers(0, 256, (2, 3, 2)) / 255).astype(np.float32)
    log_prob = distribution.log_prob(jnp.asarray(pixels))
    assert log_prob.dtype == jnp.float32
    np.testing.assert_allclose(log_prob, expected_log_prob(distribution, pixels), rtol=1e-5)


def test_logistic_mixture_in_the_far_tail():
    """All of a pixel's mass in one tail: e^-100, which no difference of distribution functions can give in float32."""
    zeros = jnp.zeros((1, 1, 1, 1))
    distribution = DiscretizedLogisticMixture(jnp.zeros((1, 1, 1)), zeros + 0.25, zeros + np.log(0.005))
    pixels = np.full((1, 1, 1), 191 / 255, np.float32)
    expected = expected_log_prob(distribution, pixels)
    assert expected < -95
    np.testing.assert_allclose(distribution.log_prob(jnp.asarray(pixels)), expected, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-3, 0.05, 3.0])
def test_logistic_mixture_sums_to_one_over_the_levels(scale):
    log_scale = np.full((1, 1, 1, 2), np.log(scale), np.float32)
    mean = np.array([0.2, 0.97], np.float32).reshape(1, 1, 1, 2)
    distribution = DiscretizedLogisticMixture(jnp.array([[[0.3, -0.5]]]), jnp.asarray(mean), jnp.asarray(log_scale))
    log_probabilities = jax.vmap(distribution.log_prob)(jnp.asarray(LEVELS, jnp.float32).reshape(256, 1, 1, 1))
    np.testing.assert_allclose(np.exp(np.asarray(log_probabilities, np.float64)).sum(), 1, rtol=2e-5)


def test_channels_share_the_component():
    distribution = mixture(4, shape=(1, 1, 2))
    pixels = np.array(list(itertools.product(np.arange(4) / 3, repeat=2)), np.float32).reshape(16, 1, 1, 2)
    joint = np.exp(jax.vmap(distribution.log_prob)(jnp.asarray(pixels))).reshape(4, 4)
    np.testing.assert_allclose(joint.sum(), 1, rtol=1e-5)
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    assert np.abs(joint - independent).max() > 0.01


def test_draws_of_the_logistic_mixture_have_its_probabilities():
    distribution = mixture(4, shape=(1, 1, 2))
    pixels = np.array(list(itertools.product(range(4), repeat=2)), np.float32).reshape(16, 1, 1, 2) / 3
    probabilities = np.exp(jax.vmap(distribution.log_prob)(jnp.asarray(pixels)))
    draws = jax.jit(jax.vmap(distribution.sample))(jax.random.split(jax.random.key(0), 20_000))
    levels = np.asarray(draws).reshape(-1, 2) * 3
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-6)
    outcome = np.round(levels).astype(int) @ np.array([4, 1])
    assert_mean(np.eye(16)[outcome], probabilities)


def test_expectation_of_a_narrow_logistic_is_its_clipped_mean():
    mean = jnp.array([0.3, -0.5, 1.5]).reshape(1, 3, 1, 1)
    distribution = DiscretizedLogisticMixture(jnp.zeros((1, 3, 1)), mean, jnp.full((1, 3, 1, 1), -9.0))
    np.testing.assert_allclose(distribution.expectation().ravel(), [0.3, 0, 1], atol=1e-6)
    draws = jax.jit(jax.vmap(distribution.sample))(jax.random.split(jax.random.key(0), 100))
    np.testing.assert_allclose(draws.mean(axis=0).ravel(), [0.3, 0, 1], atol=1 / 255)


@pytest.mark.parametrize("log_scale", [-float(np.log(1e6)), 0.0, float(np.log(1e6))])
@pytest.mark.parametrize("mean", [-1e4, 0.5, 1e4])
def test_logistic_mixture_is_finite_at_extremes(mean, log_scale):
    @jax.jit
    @jax.value_and_grad
    def log_prob(distribution, pixels):
        return distribution.log_prob(pixels)

    distribution = DiscretizedLogisticMixture(
        jnp.array([[[1e4, -1e4]]]), jnp.full((1, 1, 3, 2), mean), jnp.full((1, 1, 3, 2), log_scale)
    )
    for level in (0.0, 100 / 255, 1.0):
        value, gradient = log_prob(distribution, jnp.full((1, 1, 3), level))
        for leaf in (value, gradient.mixture_logits, gradient.mean, gradient.log_scale):
            assert np.all(np.isfinite(leaf))


def test_pixel_categorical_agrees_with_scipy(float64):
    logits = np.random.default_rng(0).normal(size=(2, 3, 256)) * 3
    level = np.random.default_rng(1).integers(0, 256, (2, 3))
    expected = np.take_along_axis(scipy.special.log_softmax(logits, axis=-1), level[..., None], axis=-1).sum()
    distribution = PixelCategorical(jnp.asarray(logits))
    np.testing.assert_allclose(distribution.log_prob(jnp.asarray(level / 255)), expected, rtol=1e-12)
    np.testing.assert_allclose(distribution.expectation(), scipy.special.softmax(logits, axis=-1) @ LEVELS, rtol=1e-12)


def test_pixel_categorical_knows_every_level_of_a_byte():
    logits = jnp.asarray(np.random.default_rng(0).normal(size=256), jnp.float32)
    pixels = jnp.arange(256, dtype=jnp.uint8).astype(jnp.float32) / 255
    log_probabilities = jax.vmap(PixelCategorical(logits).log_prob)(pixels)
    np.testing.assert_allclose(log_probabilities, scipy.special.log_softmax(np.asarray(logits, float)), rtol=1e-5)
    np.testing.assert_allclose(np.exp(log_probabilities).sum(), 1, rtol=1e-5)
    for end in (0, 1):  # a pixel that was rounded elsewhere is the same level, on either side
        rounded = jnp.nextafter(pixels, jnp.full_like(pixels, end))
        np.testing.assert_array_equal(jax.vmap(PixelCategorical(logits).log_prob)(rounded), log_probabilities)


def test_draws_of_the_pixel_categorical_have_its_probabilities():
    logits = jnp.array([[0.0, 1.0, -1.0], [2.0, 0.0, 0.5]])
    draws = jax.jit(jax.vmap(PixelCategorical(logits).sample))(jax.random.split(jax.random.key(0), 20_000))
    assert_mean(np.eye(3)[np.round(np.asarray(draws) * 2).astype(int)], scipy.special.softmax(logits, axis=-1))
    assert_mean(draws, PixelCategorical(logits).expectation())


def test_pixel_categorical_is_finite_at_extremes():
    logits = jnp.zeros((2, 256)).at[0, 3].set(1e4).at[1, 3].set(-1e4)
    log_prob = jax.jit(jax.value_and_grad(lambda l, pixels: PixelCategorical(l).log_prob(pixels)))
    for level in (3, 4):
        value, gradient = log_prob(logits, jnp.full(2, level / 255))
        assert np.isfinite(value)
        assert np.all(np.isfinite(gradient))


ALPHA = np.array([0.003, 0.4, 1.0, 7.9, 8.1, 60.0, 3e4])
BETA = np.array([0.5, 0.002, 1.0, 8.1, 300.0, 2.0, 1e5])


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", 1e-3)])
def test_beta_binomial_agrees_with_scipy(dtype, tolerance, float64):
    distribution = BetaBinomial(jnp.asarray(np.log(ALPHA), dtype), jnp.asarray(np.log(BETA), dtype))
    level = np.array([0, 255, 17, 128, 3, 250, 60])
    expected = scipy.stats.betabinom(255, ALPHA, BETA).logpmf(level)
    found = jax.jit(distribution.log_prob)(jnp.asarray(level / 255, dtype))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected.sum(), atol=tolerance)
    np.testing.assert_allclose(distribution.expectation(), ALPHA / (ALPHA + BETA), rtol=1e-6)


def test_beta_binomial_sums_to_one_over_the_levels():
    """Not only in double precision: the ratios of Gammas are themselves hundreds of nats."""
    for alpha, beta in zip(ALPHA, BETA, strict=True):
        distribution = BetaBinomial(jnp.float32(np.log(alpha)), jnp.float32(np.log(beta)))
        log_probabilities = jax.vmap(distribution.log_prob)(jnp.asarray(LEVELS, jnp.float32))
        np.testing.assert_allclose(np.exp(np.asarray(log_probabilities, float)).sum(), 1, rtol=1e-3)


def test_beta_binomial_with_endless_alpha_and_beta_is_binomial():
    distribution = BetaBinomial(jnp.array([25.0]), jnp.array([25.0 - np.log(3)], jnp.float32))
    expected = scipy.stats.binom(255, 0.75).logpmf(200)
    np.testing.assert_allclose(distribution.log_prob(jnp.array([200 / 255])), expected, rtol=1e-4)


def test_draws_of_the_beta_binomial_have_its_probabilities():
    distribution = BetaBinomial(jnp.log(jnp.array([0.3, 5.0])), jnp.log(jnp.array([0.6, 2.0])), levels=4)
    draws = jax.jit(jax.vmap(distribution.sample))(jax.random.split(jax.random.key(0), 20_000))
    levels = np.round(np.asarray(draws) * 3).astype(int)
    np.testing.assert_allclose(levels / 3, draws, atol=1e-6)
    expected = [scipy.stats.betabinom(3, a, b).pmf(np.arange(4)) for a, b in ((0.3, 0.6), (5, 2))]
    assert_mean(np.eye(4)[levels], expected)
    assert_mean(draws, distribution.expectation())


@pytest.mark.parametrize("log_alpha", [-1e4, 0.0, 1e4])
@pytest.mark.parametrize("log_beta", [-1e4, 0.0, 1e4])
def test_beta_binomial_is_finite_at_extremes(log_alpha, log_beta):
    log_prob = jax.jit(jax.value_and_grad(lambda fields, pixels: BetaBinomial(*fields).log_prob(pixels)))
    for level in (0, 100, 255):
        value, gradient = log_prob((jnp.full(2, log_alpha), jnp.full(2, log_beta)), jnp.full(2, level / 255))
        assert np.isfinite(value)
        assert np.all(np.isfinite(gradient))


def test_bits_per_dimension_of_even_levels_are_those_of_a_byte():
    even = PixelCategorical(jnp.zeros((4, 4, 3, 256)))
    nats = jax.vmap(even.log_prob)(jnp.ones((2, 4, 4, 3)))
    np.testing.assert_allclose(bits_per_dimension(nats, (4, 4, 3)), [8, 8], rtol=1e-6)


def test_parameters_are_the_shapes_of_the_outputs():
    for distribution in (PixelCategorical, BetaBinomial, DiscretizedLogisticMixture):
        shapes = distribution.parameters((4, 3, 2))
        made = distribution(**{name: jnp.zeros(shape) for name, shape in shapes.items()})
        assert jax.eval_shape(made.sample, jax.random.key(0)).shape == (4, 3, 2)
        assert jax.eval_shape(made.expectation).shape == (4, 3, 2)
        assert jax.eval_shape(made.log_prob, jnp.zeros((4, 3, 2))).shape == ()
    assert DiscretizedLogisticMixture.parameters((4, 3, 2), num_components=5)["mixture_logits"] == (4, 3, 5)


@pytest.mark.parametrize("center", [-3.0, 0.0, 3.0, 7.0, 14.0])
def test_an_image_of_beta_binomial_pixels_keeps_its_digits_in_single_precision(center):
    """It was 0.026 nats too high over 784 pixels: the number of orders, 255!, has 1,161 nats."""
    rng = np.random.default_rng(0)
    log_alpha, log_beta = ((rng.normal(size=784) + center).astype(np.float32) for _ in range(2))
    exact = scipy.stats.betabinom(255, np.exp(log_alpha.astype(float)), np.exp(log_beta.astype(float)))
    counts = exact.rvs(random_state=rng)
    expected = exact.logpmf(counts).sum() if center < 10 else None
    if expected is None:  # scipy's differences have no digits there; as both grow it is the binomial
        share = scipy.special.expit(log_alpha.astype(float) - log_beta)
        expected = scipy.stats.binom(255, share).logpmf(counts).sum()
    made = BetaBinomial(jnp.asarray(log_alpha), jnp.asarray(log_beta))
    found = made.log_prob(jnp.asarray(counts / 255, jnp.float32))
    np.testing.assert_allclose(found, expected, atol=2e-3 if center < 10 else 0.5)


@pytest.mark.parametrize("log_alpha", [-30.0, -5.0, 0.0, 6.0, 30.0])
@pytest.mark.parametrize("log_beta", [-30.0, -1.0, 3.0, 30.0])
def test_every_level_of_a_beta_binomial_pixel_against_the_products(log_alpha, log_beta, float64):
    """ln Π (α + i) and so on, term by term, which loses no digits."""
    alpha, beta, counts = np.exp(log_alpha), np.exp(log_beta), np.arange(256)

    def rising(a):
        return np.concatenate([[0.0], np.cumsum(np.log(a + np.arange(255)))])

    orders = scipy.special.gammaln(256) - scipy.special.gammaln(counts + 1) - scipy.special.gammaln(256 - counts)
    expected = orders + rising(alpha) + rising(beta)[::-1] - rising(alpha + beta)[-1]
    for dtype, tolerance in ((jnp.float64, 1e-7), (jnp.float32, 2e-5)):
        made = BetaBinomial(jnp.asarray(log_alpha, dtype), jnp.asarray(log_beta, dtype))
        found, gradient = jax.vmap(jax.value_and_grad(lambda made, x: made.log_prob(x)), (None, 0))(
            made, jnp.asarray(counts / 255, dtype)
        )
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))
