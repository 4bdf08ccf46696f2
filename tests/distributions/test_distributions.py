import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as numpyro_distributions
import pytest
import scipy
from standard_errors import assert_mean

from jaxvae.distributions import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    Delta,
    Frozen,
    Laplace,
    Normal,
    kl,
    normal_with_scale,
    softplus,
)

MEAN = np.array([[0.3, -1.2], [2.0, 0.0], [-0.7, 5.0]])
LOG_SCALE = np.array([[0.1, -1.0], [0.8, 0.0], [-0.3, 1.5]])
LOGITS = np.array([[0.0, -3.0], [0.05, 2.0], [-0.099, 4.0]])
OUTCOMES = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
GREY = np.array([[0.25, 0.1], [0.5, 1.0], [0.0, 0.9]])
CLASS_LOGITS = np.array([[0.5, -1.0, 2.0, 0.0], [3.0, 0.0, -2.0, 1.0]])
CLASSES = np.array([2, 1])


def continuous_bernoulli_log_density(value, logit):
    """The exponent, normalised by quadrature."""
    normaliser, _ = scipy.integrate.quad(lambda t: np.exp(t * logit), 0, 1, epsabs=1e-13, epsrel=1e-13)
    return value * logit - np.log(normaliser)


ORACLES = {
    "normal": (Normal, (MEAN, LOG_SCALE), GREY, scipy.stats.norm(MEAN, np.exp(LOG_SCALE)).logpdf(GREY)),
    "normal, shared scale": (Normal, (MEAN, np.array(-0.4)), GREY, scipy.stats.norm(MEAN, np.exp(-0.4)).logpdf(GREY)),
    "normal, fixed scale": (normal_with_scale(0.3), (MEAN,), GREY, scipy.stats.norm(MEAN, 0.3).logpdf(GREY)),
    "laplace": (Laplace, (MEAN, LOG_SCALE), GREY, scipy.stats.laplace(MEAN, np.exp(LOG_SCALE)).logpdf(GREY)),
    "laplace, shared scale": (
        Laplace,
        (MEAN, np.array(0.7)),
        GREY,
        scipy.stats.laplace(MEAN, np.exp(0.7)).logpdf(GREY),
    ),
    "bernoulli": (Bernoulli, (LOGITS,), OUTCOMES, scipy.stats.bernoulli(scipy.special.expit(LOGITS)).logpmf(OUTCOMES)),
    "continuous bernoulli": (
        ContinuousBernoulli,
        (LOGITS,),
        GREY,
        np.vectorize(continuous_bernoulli_log_density)(GREY, LOGITS),
    ),
    "categorical": (
        Categorical,
        (CLASS_LOGITS,),
        CLASSES,
        scipy.stats.multinomial(1, scipy.special.softmax(CLASS_LOGITS, axis=-1)).logpmf(np.eye(4)[CLASSES]),
    ),
}


@pytest.mark.parametrize("name", ORACLES)
def test_log_prob_agrees_with_scipy_in_double_precision(name, float64):
    distribution, parameters, value, expected = ORACLES[name]
    log_prob = distribution(*map(jnp.asarray, parameters)).log_prob(jnp.asarray(value))
    assert log_prob.shape == ()
    np.testing.assert_allclose(log_prob, expected.sum(), rtol=1e-12)


@pytest.mark.parametrize("name", ORACLES)
def test_log_prob_agrees_with_scipy_in_single_precision(name):
    distribution, parameters, value, expected = ORACLES[name]
    parameters = [jnp.asarray(parameter, jnp.float32) for parameter in parameters]
    value = jnp.asarray(value, jnp.int32 if name == "categorical" else jnp.float32)
    log_prob = distribution(*parameters).log_prob(value)
    assert log_prob.dtype == jnp.float32
    np.testing.assert_allclose(log_prob, expected.sum(), rtol=3e-6)


@pytest.mark.parametrize(
    ("distribution", "lower", "upper"),
    [
        (Normal(jnp.array(0.7), jnp.array(-0.5)), -12, 12),
        (Laplace(jnp.array(0.5), jnp.array(-0.2)), -40, 40),  # its kink lies on a point of the grid
        (ContinuousBernoulli(jnp.array(0.03)), 0, 1),
        (ContinuousBernoulli(jnp.array(-7.0)), 0, 1),
    ],
)
def test_densities_integrate_to_one_and_their_mean_is_the_expectation(distribution, lower, upper, float64):
    distribution = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), distribution)
    grid = np.linspace(lower, upper, 32_001)
    density = np.exp(jax.vmap(distribution.log_prob)(jnp.asarray(grid)))
    np.testing.assert_allclose(scipy.integrate.simpson(density, x=grid), 1, rtol=1e-7)
    mean = scipy.integrate.simpson(density * grid, x=grid)
    np.testing.assert_allclose(distribution.expectation(), mean, rtol=1e-6)


def test_probabilities_of_all_outcomes_sum_to_one():
    outcomes = jnp.array(list(itertools.product([0.0, 1.0], repeat=6))).reshape(-1, 3, 2)
    bernoulli = Bernoulli(jnp.asarray(LOGITS, jnp.float32))
    probabilities = jnp.exp(jax.vmap(bernoulli.log_prob)(outcomes))
    np.testing.assert_allclose(probabilities.sum(), 1, rtol=1e-5)
    np.testing.assert_allclose(jnp.tensordot(probabilities, outcomes, 1), bernoulli.expectation(), rtol=1e-4)

    classes = jnp.array(list(itertools.product(range(4), repeat=2)))
    categorical = Categorical(jnp.asarray(CLASS_LOGITS, jnp.float32))
    probabilities = jnp.exp(jax.vmap(categorical.log_prob)(classes))
    np.testing.assert_allclose(probabilities.sum(), 1, rtol=1e-5)
    first = [probabilities[classes[:, 0] == level].sum() for level in range(4)]
    np.testing.assert_allclose(first, categorical.expectation()[0], rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in ORACLES if "categorical" not in name])
def test_moments_of_draws(name):
    distribution, parameters, _, _ = ORACLES[name]
    distribution = distribution(*[jnp.asarray(parameter, jnp.float32) for parameter in parameters])
    draws = np.asarray(jax.jit(jax.vmap(distribution.sample))(jax.random.split(jax.random.key(3), 20_000)))
    moments = {
        "normal": lambda mean, log_scale: (mean, np.exp(2 * log_scale)),
        "laplace": lambda mean, log_scale: (mean, 2 * np.exp(2 * log_scale)),
        "normal, fixed scale": lambda mean: (mean, 0.3**2),
        "bernoulli": lambda logits: (
            scipy.special.expit(logits),
            scipy.stats.bernoulli(scipy.special.expit(logits)).var(),
        ),
        "continuous bernoulli": lambda logits: np.vectorize(continuous_bernoulli_moments)(logits),
    }
    name = name.removesuffix(", shared scale")
    mean, variance = moments[name](*parameters)
    assert_mean(draws, mean)
    assert_mean(np.square(draws - mean), np.broadcast_to(variance, mean.shape))


def continuous_bernoulli_moments(logit):
    """The mean and the variance, by quadrature."""

    def moment(order, center=0.0):
        def integrand(t):
            return (t - center) ** order * np.exp(continuous_bernoulli_log_density(t, logit))

        return scipy.integrate.quad(integrand, 0, 1)[0]

    mean = moment(1)
    return mean, moment(2, mean)


@pytest.mark.parametrize("logit", [-20.0, -0.15, 0.05, 3.0])
def test_draws_of_the_continuous_bernoulli_have_its_distribution_function(logit):
    distribution = ContinuousBernoulli(jnp.asarray(logit, jnp.float32))
    draws = jax.jit(jax.vmap(distribution.sample))(jax.random.split(jax.random.key(0), 20_000))
    assert scipy.stats.kstest(draws, lambda t: np.expm1(t * logit) / np.expm1(logit)).pvalue > 1e-4


def test_frequencies_of_classes():
    distribution = Categorical(jnp.asarray(CLASS_LOGITS, jnp.float32))
    draws = jax.jit(jax.vmap(distribution.sample))(jax.random.split(jax.random.key(4), 20_000))
    assert draws.shape == (20_000, 2)
    assert_mean(np.eye(4)[draws], scipy.special.softmax(CLASS_LOGITS, axis=-1))


@pytest.mark.parametrize("location_scale", [Normal, Laplace])
def test_location_scale_draws_are_reparameterised(location_scale):
    key, mean, log_scale = jax.random.key(0), jnp.array([0.5, -2.0]), jnp.array([0.3, -0.7])
    draw = location_scale(mean, log_scale).sample(key)
    jacobian = jax.jit(jax.jacobian(lambda *p: location_scale(*p).sample(key), argnums=(0, 1)))
    by_mean, by_log_scale = jacobian(mean, log_scale)
    np.testing.assert_allclose(by_mean, np.eye(2))
    np.testing.assert_allclose(by_log_scale, np.diag(draw - mean), rtol=1e-5)


@pytest.mark.parametrize("logit", [-4.0, 0.07, 1.0])
def test_continuous_bernoulli_draws_are_reparameterised(logit, float64):
    def distribution_function(t, l):
        return np.expm1(t * l) / np.expm1(l)

    key = jax.random.key(5)
    draw, slope = jax.value_and_grad(lambda l: ContinuousBernoulli(l).sample(key))(jnp.asarray(logit))
    draw, step = float(draw), 1e-6
    by_logit = (distribution_function(draw, logit + step) - distribution_function(draw, logit - step)) / (2 * step)
    density = np.exp(continuous_bernoulli_log_density(draw, logit))
    np.testing.assert_allclose(slope, -by_logit / density, rtol=1e-6)  # implicit differentiation of F(z; l) = u


def exact_continuous_bernoulli(l, value, u):
    """ln p(value), the mean and F⁻¹(u) in extended precision, with their derivatives in l."""
    l, value, u = (np.asarray(a, np.longdouble) for a in (l, value, u))
    tiny = np.abs(l) < 1e-6  # there the first order of each is exact to 1e-12, and its slope to 1e-8
    safe = np.where(tiny, 1, l)
    log_prob = np.where(tiny, (value - 0.5) * l, value * l - np.log(np.expm1(safe) / safe))
    mean = np.where(tiny, 0.5 + l / 12, 0.5 + 0.5 / np.tanh(safe / 2) - 1 / safe)
    variance = np.where(tiny, 1 / np.longdouble(12), 1 / safe**2 - 0.25 / np.sinh(safe / 2) ** 2)
    inverse, slope = np.log1p(u * np.expm1(safe)), u * np.exp(safe) / (1 + u * np.expm1(safe))
    draw = np.where(tiny, u + l * u * (1 - u) / 2, inverse / safe)
    draw_slope = np.where(tiny, u * (1 - u) / 2, slope / safe - inverse / safe**2)
    return log_prob, mean, draw, value - mean, variance, draw_slope


@pytest.mark.parametrize(("dtype", "tolerance", "slope_tolerance"), [("float32", 2e-6, 5e-5), ("float64", 2e-12, 1e-8)])
def test_continuous_bernoulli_is_exact_across_its_singularity(dtype, tolerance, slope_tolerance, float64):
    threshold = np.asarray(0.1, dtype)
    near = [np.nextafter(threshold, np.asarray(side, dtype)) for side in (0, 1)]
    positive = [1e-8, 1e-3, 0.01, 0.05, 0.09, 0.0999, near[0], threshold, near[1], 0.1001, 0.2, 0.316, 0.4, 1, 10, 80]
    logits = np.array([*(-np.array(positive)), 0, *positive], dtype)
    value, key = jnp.asarray(0.3, dtype), jax.random.key(8)
    u = jax.random.uniform(key, (), dtype)

    def quantities(l):
        distribution = ContinuousBernoulli(l)
        return jnp.stack([distribution.log_prob(value), distribution.expectation(), distribution.sample(key)])

    found = jax.jit(lambda l: jnp.concatenate([jax.vmap(quantities)(l).T, jax.vmap(jax.jacrev(quantities))(l).T]))(
        logits
    )
    assert found.dtype == dtype
    expected = np.stack(exact_continuous_bernoulli(logits, value, u))
    np.testing.assert_allclose(found[:3], expected[:3], rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(found[3:], expected[3:], rtol=slope_tolerance, atol=slope_tolerance)


Q_P = {
    "normal": (Normal, (MEAN, LOG_SCALE), (MEAN.T.reshape(3, 2) * 0.5, LOG_SCALE[::-1])),
    "laplace": (Laplace, (MEAN, LOG_SCALE), (MEAN.T.reshape(3, 2) * 0.5, LOG_SCALE[::-1])),
    "bernoulli": (Bernoulli, (LOGITS,), (LOGITS[::-1] * 0.4,)),
    "categorical": (Categorical, (CLASS_LOGITS,), (CLASS_LOGITS[::-1],)),
    "continuous bernoulli": (ContinuousBernoulli, (LOGITS,), (LOGITS[::-1] * 0.4,)),
}


def pair(name, dtype=jnp.float32):
    distribution, q, p = Q_P[name]
    return distribution(*[jnp.asarray(a, dtype) for a in q]), distribution(*[jnp.asarray(a, dtype) for a in p])


def expected_kl(name):
    if name == "normal":
        q, p = (numpyro_distributions.Normal(mean, np.exp(log_scale)) for mean, log_scale in Q_P[name][1:])
        return numpyro_distributions.kl_divergence(q, p).sum()
    if name == "categorical":
        q, p = (numpyro_distributions.CategoricalProbs(scipy.special.softmax(l, axis=-1)) for (l,) in Q_P[name][1:])
        return numpyro_distributions.kl_divergence(q, p).sum()
    if name == "bernoulli":
        q, p = (scipy.special.expit(logits) for (logits,) in Q_P[name][1:])
        return (scipy.special.rel_entr(q, p) + scipy.special.rel_entr(1 - q, 1 - p)).sum()
    if name == "laplace":

        def integral(q_mean, q_scale, p_mean, p_scale):
            q, p = scipy.stats.laplace(q_mean, q_scale), scipy.stats.laplace(p_mean, p_scale)
            kinks = sorted([q_mean, p_mean])
            edges = [q_mean - 60 * q_scale, *kinks, q_mean + 60 * q_scale]
            pieces = [
                scipy.integrate.quad(lambda t: q.pdf(t) * (q.logpdf(t) - p.logpdf(t)), a, b, limit=200)[0]
                for a, b in itertools.pairwise(edges)
                if b > a
            ]
            return sum(pieces)

        (q_mean, q_log_scale), (p_mean, p_log_scale) = Q_P[name][1:]
        return np.vectorize(integral)(q_mean, np.exp(q_log_scale), p_mean, np.exp(p_log_scale)).sum()
    raise AssertionError(name)


@pytest.mark.parametrize("name", ["normal", "laplace", "bernoulli", "categorical"])
def test_closed_form_kl_agrees_with_a_peer_or_quadrature(name, float64):
    q, p = pair(name, jnp.float64)
    np.testing.assert_allclose(kl(q, p, jnp.nan), expected_kl(name), rtol=1e-6)


@pytest.mark.parametrize("name", Q_P)
def test_kl_is_the_mean_of_the_drawn_difference(name):
    q, p = pair(name)

    @jax.jit
    @jax.vmap
    def drawn(key):
        z = q.sample(key)
        return q.log_prob(z) - p.log_prob(z), kl(q, p, z)

    drawn_difference, divergence = drawn(jax.random.split(jax.random.key(1), 20_000))
    if name == "continuous bernoulli":  # no closed form: the drawn difference is what is returned
        np.testing.assert_allclose(divergence, drawn_difference, rtol=1e-5, atol=1e-5)
        assert divergence.std() > 0.1
    else:
        assert np.ptp(divergence) == 0
        assert_mean(drawn_difference, divergence[0])


def test_kl_of_different_or_frozen_families_is_the_drawn_difference():
    q, p = pair("normal")
    other, z = Laplace(p.mean, p.log_scale), jnp.asarray(GREY, jnp.float32)
    np.testing.assert_allclose(kl(q, other, z), q.log_prob(z) - other.log_prob(z))
    np.testing.assert_allclose(kl(Frozen(q), p, z), q.log_prob(z) - p.log_prob(z))
    assert float(kl(q, p, z)) != float(kl(Frozen(q), p, z))


@pytest.mark.parametrize("name", ["normal", "laplace", "bernoulli", "categorical"])
def test_kl_of_a_distribution_with_itself_is_zero(name):
    q, p = pair(name)
    assert abs(float(kl(q, q, jnp.zeros(())))) < 1e-6
    assert float(kl(q, p, jnp.zeros(()))) > 0.1


@pytest.mark.parametrize("distribution", [Normal, Laplace, Bernoulli, ContinuousBernoulli])
def test_parameters_are_the_shapes_of_the_outputs(distribution):
    shapes = distribution.parameters((4, 3, 2))
    made = distribution(**{name: jnp.zeros(shape) for name, shape in shapes.items()})
    assert jax.eval_shape(made.sample, jax.random.key(0)).shape == (4, 3, 2)
    assert jax.eval_shape(made.expectation).shape == (4, 3, 2)
    assert jax.eval_shape(made.log_prob, jnp.zeros((4, 3, 2))).shape == ()


LARGE = float(np.log(1e6))
EXTREME = {
    Normal: [([[0.0, 1e4, -1e4]], [[side, side, side]]) for side in (-LARGE, LARGE)],
    Laplace: [([[0.0, 1e4, -1e4]], [[side, side, side]]) for side in (-LARGE, LARGE)],
    Bernoulli: [([[1e4, -1e4, 0.0]],), ([[-1e4, 1e4, 88.0]],)],
    ContinuousBernoulli: [([[1e4, -1e4, 0.0]],), ([[-1e4, 1e4, 88.0]],)],
    Categorical: [([[1e4, -1e4, 0.0]],), ([[-1e4, 1e4, 1e4]],)],
}


def extreme(distribution):
    return [distribution(*[jnp.array(a) for a in parameters]) for parameters in EXTREME[distribution]]


def assert_finite(tree):
    for leaf in jax.tree.leaves(tree):
        assert np.all(np.isfinite(leaf)), leaf


@pytest.mark.parametrize("distribution", EXTREME)
def test_finite_values_and_gradients_at_extremes(distribution):
    values = [jnp.array([[0.0, 1.0, 1.0]]), jnp.array([[1.0, 0.0, 0.0]])]
    if distribution is Categorical:
        values = [jnp.array([0]), jnp.array([1])]

    @jax.jit
    def everything(made, value):
        argnums = 0 if distribution is Categorical else (0, 1)
        density = jax.value_and_grad(lambda d, v: d.log_prob(v), argnums=argnums)(made, value)
        key = jax.random.key(0)
        draw = made.sample(key)
        path = () if distribution is Categorical else jax.grad(lambda d: jnp.sum(d.sample(key)))(made)
        return density, made.expectation(), draw, path

    for made, value in itertools.product(extreme(distribution), values):
        assert_finite(everything(made, value))


@pytest.mark.parametrize("distribution", [Normal, Laplace, Bernoulli, Categorical])
def test_finite_kl_and_gradients_at_extremes(distribution):
    divergence = jax.jit(jax.value_and_grad(lambda q, p: kl(q, p, jnp.zeros(())), argnums=(0, 1)))
    for q, p in itertools.product(extreme(distribution), repeat=2):
        value, gradient = divergence(q, p)
        assert_finite((value, gradient))
        assert value >= 0


def test_the_slope_of_a_bernoulli_is_what_it_missed(float64):
    """∂ ln p / ∂l = x - σ(l), and σ's own slope beneath it."""
    logits, expected = jnp.asarray(LOGITS), scipy.special.expit(LOGITS)
    slope = jax.grad(lambda logits: Bernoulli(logits).log_prob(jnp.asarray(OUTCOMES)))
    np.testing.assert_allclose(slope(logits), OUTCOMES - expected, rtol=1e-12)
    curvature = jax.grad(lambda logits: jnp.sum(slope(logits)))(logits)
    np.testing.assert_allclose(curvature, -expected * (1 - expected), rtol=1e-12)


def test_extreme_logits_give_the_exact_log_probability():
    logits = jnp.array([1e4, -1e4])
    assert float(Bernoulli(logits).log_prob(jnp.array([0.0, 0.0]))) == -1e4
    assert float(Bernoulli(logits).log_prob(jnp.array([1.0, 0.0]))) == 0.0
    # the density 1e4 e^(-1e4 (1 - x)) at x = 1, and its mirror image
    np.testing.assert_allclose(ContinuousBernoulli(logits).log_prob(jnp.array([1.0, 0.0])), 2 * np.log(1e4), rtol=1e-6)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_a_scale_that_is_not_positive_is_refused(scale):
    with pytest.raises(ValueError, match="scale must be positive"):
        normal_with_scale(scale)


def test_a_point_mass_draws_itself_and_has_no_density():
    point = Delta(jnp.arange(3.0))
    np.testing.assert_array_equal(point.sample(jax.random.key(0)), point.expectation())
    with pytest.raises(ValueError, match="no density"):
        point.log_prob(jnp.zeros(3))


def test_a_frozen_distribution_passes_gradients_to_the_value_only():
    q, z = Normal(jnp.array([0.5]), jnp.array([0.2])), jnp.array([2.0])
    by_q, by_z = jax.grad(lambda q, z: Frozen(q).log_prob(z), argnums=(0, 1))(q, z)
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(by_q))
    np.testing.assert_allclose(by_z, -(2.0 - 0.5) / np.exp(0.4), rtol=1e-6)
    key = jax.random.key(0)
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(jax.grad(lambda q: Frozen(q).sample(key)[0])(q)))
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(jax.grad(lambda q: Frozen(q).expectation()[0])(q)))
    np.testing.assert_array_equal(Frozen(q).sample(key), q.sample(key))


def with_its_slope(logits):
    """The value that training sees."""
    return jax.jvp(softplus, (logits,), (jnp.ones_like(logits),))[0]


@pytest.mark.parametrize("of", [softplus, with_its_slope])
def test_softplus_is_exact_to_the_last_digits_and_beyond_every_logit(of, float64):
    logits = np.concatenate([np.linspace(-30, 30, 60_001), np.linspace(-87, 87, 201), [-1e4, 1e4]])
    np.testing.assert_allclose(of(jnp.asarray(logits)), np.logaddexp(0, logits), rtol=1e-14)
    single = logits.astype(np.float32)
    found = np.asarray(jax.jit(of)(jnp.asarray(single)))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.logaddexp(0, single.astype(float)), rtol=3e-7)
    assert of(jnp.float32(np.inf)) == np.inf
    assert of(jnp.float32(-np.inf)) == 0
    assert np.isnan(of(jnp.float32(np.nan)))
