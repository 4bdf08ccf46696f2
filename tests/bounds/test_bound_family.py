import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy
from standard_errors import assert_same_mean

from jaxvae import bounds
from jaxvae.bounds import (
    chi_upper,
    combined,
    grouped,
    levelled_partition,
    log_partition,
    renyi,
    tempered_means,
    thermodynamic,
)
from jaxvae.draws import doubly_reparameterized
from jaxvae.model import Terms
from jaxvae.models import linear

PARTITION = [0.0, 0.1, 0.4, 1.0]


def random_terms(num_samples=12):
    rng = np.random.default_rng(3)
    shapes = [(num_samples,), (num_samples, 2), (num_samples,)]
    return Terms(*(jnp.asarray(3 * rng.normal(size=shape)) for shape in shapes))


def by_quadrature_rule(log_weight, left, right):
    """The area under the tempered means, the weights by numpy."""
    means = [np.sum(scipy.special.softmax(beta * log_weight) * log_weight) for beta in PARTITION]
    return np.sum(np.diff(PARTITION) * (left * np.array(means[:-1]) + right * np.array(means[1:])))


def power_mean(log_weight, power):
    return np.log(np.mean(np.exp(power * log_weight))) / power


FAMILY = {  # name: (reduction, the same by numpy of the log weights and the ELBO's summands)
    "renyi of a half": (renyi(alpha=0.5), lambda w, e: power_mean(w, 0.5)),
    "renyi of one": (renyi(alpha=1.0), lambda w, e: w.mean()),
    "renyi of zero": (renyi(alpha=0.0), lambda w, e: power_mean(w, 1.0)),
    "renyi of minus two": (renyi(alpha=-2.0), lambda w, e: power_mean(w, 3.0)),
    "vr-max": (renyi(alpha=-np.inf), lambda w, e: w.max()),
    "chi upper": (chi_upper(), lambda w, e: 0.5 * np.log(np.mean(np.exp(w) ** 2))),
    "combined of zero": (combined(beta=0), lambda w, e: power_mean(w, 1.0)),
    "combined": (combined(beta=0.3), lambda w, e: 0.3 * e.mean() + 0.7 * power_mean(w, 1.0)),
    "grouped": (grouped(num_groups=3), lambda w, e: np.mean([power_mean(g, 1.0) for g in w.reshape(3, 4)])),
    "thermodynamic, left": (thermodynamic(PARTITION), lambda w, e: by_quadrature_rule(w, 1.0, 0.0)),
    "thermodynamic, right": (thermodynamic(PARTITION, rule="right"), lambda w, e: by_quadrature_rule(w, 0.0, 1.0)),
    "thermodynamic, trapezoid": (
        thermodynamic(PARTITION, rule="trapezoid"),
        lambda w, e: by_quadrature_rule(w, 0.5, 0.5),
    ),
}


@pytest.mark.parametrize("name", FAMILY)
def test_a_reduction_is_its_formula(name, float64):
    reduce, formula = FAMILY[name]
    terms = random_terms()
    summands = np.asarray(terms.log_likelihood) - np.asarray(terms.kl).sum(axis=1)
    np.testing.assert_allclose(reduce(terms), formula(np.asarray(terms.log_weight), summands), rtol=1e-10)


@pytest.mark.parametrize("name", FAMILY)
def test_extreme_weights_give_finite_values_and_gradients(name):
    reduce, _ = FAMILY[name]
    terms = jax.tree.map(lambda field: field.astype(jnp.float32), random_terms())

    def of_weights(log_weight):
        return reduce(terms._replace(log_weight=log_weight))

    value, gradient = jax.value_and_grad(of_weights)(jnp.linspace(-1e4, 1e4, 12))
    assert np.isfinite(value)
    assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize("alpha", [0.99, 0.999999, 1 - 1e-10, 1 - 1e-15, 1 + 1e-10, 1.001, 0.0, -2.0])
def test_renyi_keeps_its_digits_near_one(alpha):
    """Log weights of -1e4, in single precision, against extended precision: it was off by 464 nats at 1 - 1e-10."""
    log_weight = (-1e4 + 3 * np.random.default_rng(0).normal(size=50)).astype(np.float32)
    power, exact = np.longdouble(1) - np.longdouble(alpha), log_weight.astype(np.longdouble)
    powers = power * (exact - exact.max())
    expected = exact.max() + np.log1p(np.mean(np.expm1(powers))) / power
    slopes = np.exp(powers) / np.exp(powers).sum()

    def of_weights(log_weight):
        return renyi(alpha=alpha)(Terms(log_weight, jnp.zeros((50, 1)), log_weight))

    value, gradient = jax.value_and_grad(of_weights)(jnp.asarray(log_weight))
    np.testing.assert_allclose(value, float(expected), atol=1e-3)  # whose unit in the last place is a thousandth
    np.testing.assert_allclose(gradient, slopes.astype(float), rtol=1e-4, atol=1e-6)


LEFT_OUT = {  # the value of log weights of which one is -inf; those that count it are -inf
    "renyi of a half": lambda w: np.log(np.mean(np.exp(w / 2))) * 2,
    "renyi of one": lambda w: -np.inf,
    "renyi of zero": lambda w: np.log(np.mean(np.exp(w))),
    "combined of zero": lambda w: np.log(np.mean(np.exp(w))),
    "vr-max": np.max,
    "thermodynamic, left": lambda w: -np.inf,
    "thermodynamic, trapezoid": lambda w: -np.inf,
    "thermodynamic, right": lambda w: sum(
        width * np.sum(scipy.special.softmax(beta * w[w > -np.inf]) * w[w > -np.inf])
        for width, beta in zip(np.diff(PARTITION), PARTITION[1:], strict=True)
    ),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_a_weight_of_zero_is_a_number(name):
    log_weight = np.array([-3.0, -np.inf, -1.0, -2.0])

    def of_weights(log_weight):
        return FAMILY[name][0](Terms(log_weight, jnp.zeros((4, 1)), log_weight))

    value, gradient = jax.value_and_grad(of_weights)(jnp.asarray(log_weight, jnp.float32))
    np.testing.assert_allclose(value, LEFT_OUT[name](log_weight), rtol=1e-6)
    if np.isfinite(value):
        np.testing.assert_allclose(np.sum(gradient), 1, rtol=1e-5)
        assert gradient[1] == 0


@pytest.mark.parametrize("rule", ["left", "right", "trapezoid"])
@pytest.mark.parametrize("partition", [PARTITION, 5])
def test_thermodynamic_sums_of_weights_of_zero(partition, rule):
    reduce = thermodynamic(partition, rule=rule)
    some, none = jnp.array([-3.0, -jnp.inf, -1.0, -2.0]), jnp.full(4, -jnp.inf)
    of_some, of_none = (reduce(Terms(w, jnp.zeros((4, 1)), w)) for w in (some, none))
    assert of_none == -np.inf
    if rule == "right":
        assert -2 < of_some < -1
    else:
        assert of_some == -np.inf


def test_renyi_falls_in_alpha_and_its_limits_are_the_two_bounds(float64):
    terms = random_terms()
    values = [float(renyi(alpha=alpha)(terms)) for alpha in (-np.inf, -5, -1, 0, 0.3, 0.999, 1, 2, 20)]
    assert np.all(np.diff(values) < 0)
    np.testing.assert_allclose(values[3], bounds.importance_weighted(terms), rtol=1e-12)
    np.testing.assert_allclose(values[5], values[6], atol=0.01)


def test_groups_lie_between_the_elbo_and_the_importance_weighted_bound(float64):
    terms = random_terms()
    of_one, of_all = grouped(num_groups=12)(terms), grouped(num_groups=1)(terms)
    np.testing.assert_allclose(of_one, jnp.mean(terms.log_weight), rtol=1e-12)
    np.testing.assert_allclose(of_all, bounds.importance_weighted(terms), rtol=1e-12)
    values = [float(grouped(num_groups=groups)(terms)) for groups in (12, 6, 3, 1)]  # nested groups
    assert np.all(np.diff(values) > 0)


def test_the_thermodynamic_sums_close_in_on_the_importance_weighted_bound(float64):
    """∫₀¹ of the weighted means is ln 1/k Σ w exactly; a finer partition of the rising curve raises the left sum."""
    terms = random_terms()
    truth = float(bounds.importance_weighted(terms))
    previous = float(thermodynamic([0.0, 1.0])(terms))
    np.testing.assert_allclose(previous, jnp.mean(terms.log_weight), rtol=1e-12)
    for intervals in (2, 4, 64, 4096):
        partition = np.linspace(0, 1, intervals + 1)
        left, right = (float(thermodynamic(partition, rule=rule)(terms)) for rule in ("left", "right"))
        assert previous < left < truth < right
        previous = left
    np.testing.assert_allclose([left, right], truth, atol=2e-3)
    np.testing.assert_allclose(thermodynamic(partition, rule="trapezoid")(terms), truth, atol=1e-5)


def test_an_adapted_partition_has_equal_steps_of_the_curve(float64):
    log_weight = random_terms().log_weight
    betas = levelled_partition(log_weight, num_intervals=5)
    assert betas.shape == (6,)
    steps = np.diff(tempered_means(log_weight, betas))
    np.testing.assert_allclose(steps, steps.mean(), rtol=1e-4)
    truth = bounds.importance_weighted(random_terms())
    assert thermodynamic(1)(random_terms()) < thermodynamic(5)(random_terms()) < truth
    # no gradient goes through the points: that of the fixed partition at the same points
    terms = random_terms()
    gradients = [
        jax.grad(lambda weights, p=partition: thermodynamic(p)(terms._replace(log_weight=weights)))(log_weight)
        for partition in (5, np.asarray(betas))
    ]
    np.testing.assert_allclose(*gradients, rtol=1e-6)


def test_a_logarithmic_partition():
    partition = log_partition(4, first=0.001)
    np.testing.assert_allclose(partition, [0, 0.001, 0.01, 0.1, 1.0], rtol=1e-12)


@pytest.mark.parametrize("name", ["renyi of a half", "grouped", "thermodynamic, left"])
def test_of_the_exact_posterior_every_bound_is_log_p(name):
    loadings = jnp.array([[1.5, 0.0], [0.0, 0.6], [0.0, 0.5]])
    params, x = linear.parameters(loadings, jnp.zeros(3), jnp.asarray(0.7)), jnp.array([1.0, -0.5, 0.2])
    value = bounds.batched(bounds.bound(FAMILY[name][0]))(
        linear.linear_vae(latent=2), jax.random.key(0), params, x[None], num_samples=12
    )
    np.testing.assert_allclose(value, [linear.log_marginal(params, x)], rtol=1e-5)


def test_chi_bounds_from_above_and_renyi_from_below():
    model = linear.linear_vae(latent=2)
    loadings = jnp.array([[0.9, 0.2], [0.0, 0.6], [0.3, 0.5]])
    params, x = linear.parameters(loadings, jnp.zeros(3), jnp.asarray(0.7)), jnp.array([1.0, -0.5, 0.2])
    params["encoder"]["log_scale"] += 0.1

    def value(reduce):
        bound = bounds.batched(bounds.bound(reduce))
        return float(bound(model, jax.random.key(0), params, x[None], num_samples=100_000)[0])

    truth = float(linear.log_marginal(params, x))
    assert value(renyi(alpha=0.5)) < truth - 0.005
    assert value(chi_upper()) > truth + 0.005
    assert value(thermodynamic(PARTITION, rule="right")) > truth + 0.005


def test_the_doubly_reparameterised_gradient_serves_groups_and_no_other_bound():
    params = linear.parameters(jnp.array([[0.9, 0.2], [0.1, 0.6], [0.3, 0.5]]), jnp.zeros(3), jnp.asarray(0.7))
    params["encoder"]["V"] += 0.1
    x, reduce = jnp.array([1.0, -0.5, 0.2]), grouped(num_groups=2)

    def gradients(model, key):
        def of_key(key):
            terms = lambda params: bounds.draw_terms(model, key, params, x, num_samples=6)  # noqa: E731
            return jax.grad(lambda params: reduce(terms(params)))(params)["encoder"]["V"]

        return jax.jit(jax.vmap(of_key))(jax.random.split(key, 20_000))

    double = linear.linear_vae(latent=2, draw=doubly_reparameterized)
    assert_same_mean(gradients(linear.linear_vae(latent=2), jax.random.key(0)), gradients(double, jax.random.key(1)))
    for other in (renyi(alpha=0.5), thermodynamic(PARTITION), chi_upper()):
        with pytest.raises(ValueError, match="belongs to iwae_bound"):
            bounds.bound(other)(double, jax.random.key(0), params, x, num_samples=4)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: renyi(alpha=np.inf), "alpha=inf"),
        (lambda: renyi(alpha=float("nan")), "alpha=nan"),
        (lambda: chi_upper(order=1.0), "order=1.0"),
        (lambda: combined(beta=1.5), "beta=1.5"),
        (lambda: grouped(num_groups=0), "num_groups=0"),
        (lambda: grouped(num_groups=5)(random_terms()), "12 draws do not make 5 groups"),
        (lambda: thermodynamic([0.0, 0.5])(random_terms()), "must rise from 0 to 1"),
        (lambda: thermodynamic(0)(random_terms()), "at least one interval, not 0"),
        (lambda: thermodynamic([0.0, 1.0], rule="middle"), "rule='middle'"),
        (lambda: log_partition(1), "num_intervals=1"),
        (lambda: renyi(alpha=0.5)(random_terms()._replace(log_weight=None)), "no importance weights"),
    ],
)
def test_refusals(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_leaving_each_draw_out_by_a_loop(float64):
    terms = random_terms(5)
    found = bounds.without_each(bounds.importance_weighted, terms)
    weights = np.asarray(terms.log_weight)
    np.testing.assert_allclose(found, [power_mean(np.delete(weights, i), 1.0) for i in range(5)], rtol=1e-12)
    np.testing.assert_array_equal(bounds.without_each(bounds.average, random_terms(1)), [0.0])
