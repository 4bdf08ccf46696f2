import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from rows import first
from standard_errors import assert_mean

from jaxvae.distributions import Normal, UniformSphere, VonMisesFisher, closed_kl, kl, log_bessel, unit


def density(size, concentration, seed=0):
    direction = 3 * np.random.default_rng(seed).normal(size=size)
    return VonMisesFisher(jnp.asarray(direction, jnp.float32), jnp.asarray(np.log(concentration), jnp.float32))


def draws_of(posterior, count, seed=0):
    return jax.jit(jax.vmap(posterior.sample))(jax.random.split(jax.random.key(seed), count))


@pytest.mark.parametrize("order", first(4, [0, 0.5, 50, 9, 1, 2, 30.5]))
def test_the_bessel_function_and_its_gradient_are_scipys(order):
    arguments = jnp.asarray(np.logspace(-3, 4, 71), jnp.float32)
    exact = np.asarray(arguments, np.float64)
    scaled = scipy.special.ive(order, exact)
    assert np.all(scaled > 0)
    found, slope = jax.jit(jax.vmap(jax.value_and_grad(lambda argument: log_bessel(order, argument))))(arguments)
    truth = np.log(scaled) + exact
    assert np.max(np.abs(found - truth) / np.maximum(1, np.abs(truth))) < 3e-6
    np.testing.assert_allclose(slope, scipy.special.ive(order + 1, exact) / scaled + order / exact, rtol=2e-4)


@pytest.mark.parametrize("concentration", [1e-3, 1.0, 50.0, 1e4])
@pytest.mark.parametrize("size", [2, 3, 10])
def test_the_density_is_scipys(size, concentration):
    ours = density(size, concentration)
    direction = np.asarray(ours.direction, np.float64)
    truth = scipy.stats.vonmises_fisher(direction / np.linalg.norm(direction), concentration)
    values = np.concatenate([truth.rvs(20, random_state=0), -truth.rvs(2, random_state=1)])
    found = jax.jit(jax.vmap(ours.log_prob))(jnp.asarray(values, jnp.float32))
    np.testing.assert_allclose(found, truth.logpdf(values), rtol=2e-5, atol=2e-3 if concentration > 1e3 else 2e-5)


@pytest.mark.parametrize("concentration", [0.1, 7.0])
def test_the_density_integrates_to_one_over_the_sphere(concentration):
    ours = density(3, concentration)
    height, angle = np.meshgrid(np.linspace(-1, 1, 401)[:-1] + 1 / 400, np.linspace(0, 2 * np.pi, 200, endpoint=False))
    radius = np.sqrt(1 - height**2)
    values = np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=-1).reshape(-1, 3)
    log_densities = np.asarray(jax.jit(jax.vmap(ours.log_prob))(jnp.asarray(values, jnp.float32)), np.float64)
    np.testing.assert_allclose(4 * np.pi * np.exp(log_densities).mean(), 1, rtol=1e-4)


@pytest.mark.parametrize(
    ("size", "concentration"), first(2, [(2, 0.5), (3, 1e-3), (3, 5.0), (3, 1e4), (12, 40.0), (40, 1e3)])
)
def test_draws_are_exact(size, concentration):
    """The angle by its distribution function, a numerical integral; around it, no direction is preferred."""
    ours = density(size, concentration)
    draws = np.asarray(draws_of(ours, 20_000), np.float64)
    np.testing.assert_allclose(np.linalg.norm(draws, axis=1), 1, rtol=1e-5)
    mean = np.asarray(ours.direction, np.float64) / np.linalg.norm(ours.direction)
    beside = draws - (draws @ mean)[:, None] * mean[None]
    angles = np.arctan2(np.linalg.norm(beside, axis=1), draws @ mean)

    grid = np.linspace(0, min(np.pi, 12 * np.sqrt(size / concentration)), 100_001)
    integrand = np.exp(-2 * concentration * np.sin(grid / 2) ** 2) * np.sin(grid) ** (size - 2)
    below = np.concatenate([[0], np.cumsum(0.5 * (integrand[1:] + integrand[:-1]))])
    assert scipy.stats.kstest(angles, lambda t: np.interp(t, grid, below / below[-1])).pvalue > 1e-4
    assert_mean(beside, 0)
    assert_mean(draws, ours.expectation())


@pytest.mark.parametrize(("size", "concentration"), first(2, [(2, 3.0), (3, 5.0), (3, 1e4), (10, 30.0), (40, 1e3)]))
def test_the_gradient_of_an_angle_is_that_of_its_quantile(size, concentration):
    """The drawn angle is held to be a quantile, whose slope in κ is a central difference of quadratures."""
    posterior, key = density(size, concentration), jax.random.key(0)
    mean = np.asarray(posterior.direction, np.float64) / np.linalg.norm(posterior.direction)

    def angle(z):
        return jnp.arctan2(jnp.linalg.norm(z - jnp.dot(z, mean32) * mean32), jnp.dot(z, mean32))

    mean32 = jnp.asarray(mean, jnp.float32)

    def of_key(key):
        def drawn(log_concentration):
            return angle(VonMisesFisher(posterior.direction, log_concentration).sample(key))

        return jax.value_and_grad(drawn)(posterior.log_concentration)

    angles, slopes = (np.asarray(leaf, np.float64) for leaf in jax.jit(jax.vmap(of_key))(jax.random.split(key, 30)))
    grid = np.linspace(0, min(np.pi, 12 * np.sqrt(size / concentration)), 200_001)

    def distribution(concentration):
        integrand = np.exp(-2 * concentration * np.sin(grid / 2) ** 2) * np.sin(grid) ** (size - 2)
        integrand /= integrand.max()
        below = np.concatenate([[0], np.cumsum(0.5 * (integrand[1:] + integrand[:-1]))])
        return below / below[-1]

    levels = np.interp(angles, grid, distribution(concentration))
    step = 1e-3
    up, down = (np.interp(levels, distribution(concentration * np.exp(s)), grid) for s in (step, -step))
    np.testing.assert_allclose(slopes, (up - down) / (2 * step), rtol=2e-3, atol=1e-3 * angles.mean())


@pytest.mark.parametrize(("size", "concentration"), first(2, [(2, 1.0), (3, 2.0), (8, 20.0)]))
def test_the_gradient_of_a_draw_is_unbiased(size, concentration):
    """E[aᵀz] = A(κ) aᵀμ is known, and so is its slope; the direction's too."""
    posterior = density(size, concentration)
    target = jnp.asarray(np.random.default_rng(1).normal(size=size), jnp.float32)

    def slope(key):
        return jax.grad(lambda posterior: jnp.dot(posterior.sample(key), target))(posterior)

    found = jax.jit(jax.vmap(slope))(jax.random.split(jax.random.key(1), 20_000))

    def mean_of(direction, concentration):
        ratio = scipy.special.ive(size / 2, concentration) / scipy.special.ive(size / 2 - 1, concentration)
        return ratio * direction @ np.asarray(target, np.float64) / np.linalg.norm(direction)

    direction, step = np.asarray(posterior.direction, np.float64), 1e-5
    by_concentration = mean_of(direction, concentration * np.exp(step)) - mean_of(
        direction, concentration * np.exp(-step)
    )
    assert_mean(found.log_concentration, by_concentration / (2 * step))
    by_direction = [
        mean_of(direction + step * axis, concentration) - mean_of(direction - step * axis, concentration)
        for axis in np.eye(size)
    ]
    assert_mean(found.direction, np.asarray(by_direction) / (2 * step))


@pytest.mark.parametrize(("size", "concentration"), first(2, [(2, 1.0), (3, 1e-3), (3, 20.0), (20, 100.0), (5, 1e4)]))
def test_the_closed_divergence_is_the_mean_of_the_drawn_one(size, concentration):
    posterior, prior = density(size, concentration), UniformSphere(jnp.zeros(size))
    closed = jax.jit(closed_kl)(posterior, prior)
    draws = draws_of(posterior, 5_000, seed=2)
    drawn = jax.jit(jax.vmap(lambda z: posterior.log_prob(z) - prior.log_prob(z)))(draws)
    assert_mean(drawn, closed)
    assert closed > -1e-5
    np.testing.assert_allclose(kl(posterior, prior, draws[0]), closed, rtol=1e-6)
    slope = jax.jit(jax.grad(lambda posterior: closed_kl(posterior, prior)))(posterior)
    exact = concentration
    ratio = scipy.special.ive(size / 2, exact) / scipy.special.ive(size / 2 - 1, exact)
    # dKL/dκ = κ A'(κ), A' = 1 - A² - (D - 1) A / κ
    expected = exact**2 * (1 - ratio**2 - (size - 1) * ratio / exact)
    np.testing.assert_allclose(slope.log_concentration, expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(slope.direction, 0, atol=1e-5)


def test_the_uniform_density_and_its_draws():
    for size in (2, 3, 7):
        uniform = UniformSphere(jnp.zeros(size))
        draws = draws_of(uniform, 5_000)
        np.testing.assert_allclose(np.linalg.norm(draws, axis=1), 1, rtol=1e-5)
        assert_mean(draws, uniform.expectation())
        truth = scipy.stats.uniform_direction(size)
        assert truth.rvs().shape == (size,)
        area = 2 * np.pi ** (size / 2) / scipy.special.gamma(size / 2)
        np.testing.assert_allclose(uniform.log_prob(draws[0]), -np.log(area), rtol=1e-6)


def test_no_closed_form_is_claimed_for_a_prior_off_the_sphere():
    assert closed_kl(density(3, 2.0), Normal(jnp.zeros(3), jnp.zeros(3))) is None


def test_importance_weights_average_to_the_evidence():
    """p(x) = ∫ p(x|z) dz / 4π over the sphere, by quadrature."""
    loadings, x = jnp.array([[1.0, 0.3, -0.5], [-0.4, 0.9, 0.2]]), jnp.array([0.5, 0.4])
    posterior, prior = density(3, 2.0), UniformSphere(jnp.zeros(3))

    def log_likelihood(z):
        return Normal(loadings @ z, jnp.asarray(-0.7)).log_prob(x)

    height, angle = np.meshgrid(np.linspace(-1, 1, 401)[:-1] + 1 / 400, np.linspace(0, 2 * np.pi, 200, endpoint=False))
    radius = np.sqrt(1 - height**2)
    grid = np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=-1).reshape(-1, 3)
    evidence = np.exp(np.asarray(jax.vmap(log_likelihood)(jnp.asarray(grid, jnp.float32)), np.float64)).mean()
    draws = draws_of(posterior, 20_000)
    log_weights = jax.jit(jax.vmap(lambda z: log_likelihood(z) + prior.log_prob(z) - posterior.log_prob(z)))(draws)
    assert_mean(np.exp(np.asarray(log_weights, np.float64)) / evidence, 1)


@pytest.mark.parametrize("size", [2, 3, 4, 5, 10, 40])
def test_the_divergence_from_the_uniform_has_the_digits_of_double_precision(size, float64):
    """The tail of the angle is no Gaussian's: where the integral stopped, 4e-7 of it were missing at D = 3, κ = 7."""
    for concentration in (1e-3, 1.0, 3.0, 7.0, 10.0, 20.0, 30.0, 100.0, 1000.0):
        order = size / 2 - 1
        bessel, above = scipy.special.ive([order, order + 1], concentration)
        log_normaliser = np.log(bessel) - order * np.log(concentration) + 0.5 * size * np.log(2 * np.pi)
        log_area = np.log(2) + 0.5 * size * np.log(np.pi) - scipy.special.gammaln(0.5 * size)
        expected = concentration * (above / bessel - 1) - log_normaliser + log_area
        made = VonMisesFisher(jnp.ones(size), jnp.log(jnp.asarray(concentration)))
        np.testing.assert_allclose(made.kl_to_uniform(), expected, atol=1e-11)


@pytest.mark.parametrize("length", [0.0, 1e-37, 1e-20, 1e-15, 1e-14, 1.0, 1e30])
def test_a_direction_of_any_length_is_on_the_sphere(length):
    vector = jnp.asarray(length * np.array([3.0, -4.0, 12.0]), jnp.float32)
    made = VonMisesFisher(vector, jnp.float32(20.0))
    np.testing.assert_allclose(unit(vector), np.array([3, -4, 12]) / 13 if length else [1, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(made.expectation()), 1, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(made.sample(jax.random.key(0))), 1, rtol=1e-6)
    if length >= 1e-15:  # a gradient is the inverse of the length
        gradient = jax.grad(lambda vector: VonMisesFisher(vector, jnp.float32(1.0)).log_prob(jnp.eye(3)[0]))(vector)
        assert np.all(np.isfinite(gradient))
