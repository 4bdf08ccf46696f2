"""One row for each posterior over vectors: the same truths for all, in two dimensions where quadrature knows them."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from rows import first
from standard_errors import assert_mean

from jaxvae import bounds, networks
from jaxvae.distributions import Bernoulli, FullNormal, Normal, NormalMixture, sample_and_log_prob
from jaxvae.draws import pathwise, sticking_the_landing
from jaxvae.flows import (
    FlowPosterior,
    affine_coupling,
    householder_sylvester,
    inverse_autoregressive,
    neural_spline,
    orthogonal_sylvester,
    planar,
    radial,
    triangular_sylvester,
)
from jaxvae.model import standard_normal, vae
from jaxvae.models import linear
from jaxvae.networks import Free

# the family, and the options of its `parameters`
FLOWS = {
    "inverse autoregressive": (inverse_autoregressive, {"hidden": 8}),
    "neural spline": (neural_spline, {"hidden": 8, "bins": 4}),
    "planar": (planar, {}),
    "radial": (radial, {}),
    "orthogonal sylvester": (orthogonal_sylvester, {"columns": 2}),
    "householder sylvester": (householder_sylvester, {"reflections": 2}),
    "triangular sylvester": (triangular_sylvester, {}),
    "affine coupling": (affine_coupling, {"hidden": 8}),
}
ROWS = {
    "normal": (Normal, {}),
    "full normal": (FullNormal, {}),
    "mixture": (NormalMixture, {"components": 3}),
    **{name: (family, {"num_flows": 2, **options}) for name, (family, options) in FLOWS.items()},
}
every_posterior = pytest.mark.parametrize("name", ROWS)
QUICK = ("planar", "mixture")
every_posterior_but_few_at_once = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in ROWS]
)

LOADINGS = np.array([[1.0, 0.3], [-0.4, 0.9], [0.8, 0.5]])
X = np.array([0.8, -0.6, 0.5])
AXIS = np.linspace(-9, 9, 145)
GRID = np.stack(np.meshgrid(AXIS, AXIS, indexing="ij"), axis=-1).reshape(-1, 2)
CELL = (AXIS[1] - AXIS[0]) ** 2


def outputs_of(name, size=2, seed=0):
    """Outputs far from where a network starts, so that the shapes are bent; float64 where the test is."""
    family, options = ROWS[name]
    outputs = {}
    for i, (output, shape) in enumerate(family.parameters((size,), **options).items()):
        key = jax.random.fold_in(jax.random.key(seed), i)
        if isinstance(shape, Free):
            value = shape.first_value(key, shape.shape) + 0.2 * jax.random.normal(key, shape.shape)
        else:
            value = jax.random.normal(key, shape)
        # the ones that enter by a tenth are as strong as the others here; the mean and the scales are a posterior's
        factor = {"direction": 10.0, "lower": 10.0, "strength": 10.0, "mean": 0.5, "log_scale": 0.2}.get(output, 1.0)
        outputs[output] = value.astype(jnp.zeros(()).dtype) * factor
    return outputs


def posterior_of(name, size=2, seed=0):
    return ROWS[name][0](**outputs_of(name, size, seed))


def log_joint(z):
    params = linear.parameters(jnp.asarray(LOADINGS), jnp.zeros(3), jnp.asarray(0.6))
    model = linear.linear_vae(latent=2)
    return model.likelihood(params, z).log_prob(jnp.asarray(X)) + model.prior(params).log_prob(z)


def log_evidence():
    params = linear.parameters(jnp.asarray(LOADINGS), jnp.zeros(3), jnp.asarray(0.6))
    return linear.log_marginal(params, jnp.asarray(X))


def flat_outputs(name):
    flat, unravel = ravel_pytree(outputs_of(name))
    return flat, lambda flat: ROWS[name][0](**unravel(flat))


@cache
def log_densities_of(name):
    """(flat outputs, points [N, 2]) -> [N], compiled once for all tests of a row."""
    _, posterior = flat_outputs(name)
    return jax.jit(lambda flat, points: jax.vmap(posterior(flat).log_prob)(points))


@cache
def draws_of(name):
    """(direction) -> of many draws: z, ln q(z), ln w, and the slope along the direction by either estimator."""
    flat, posterior = flat_outputs(name)

    def of_draw(direction, key):
        z, log_density = sample_and_log_prob(posterior(flat), key)

        def bound(draw, flat):
            drawn = draw(key, posterior(flat))
            return log_joint(drawn.value) - drawn.log_density

        slopes = [jnp.dot(jax.grad(partial(bound, draw))(flat), direction) for draw in (pathwise, sticking_the_landing)]
        return z, log_density, log_joint(z) - log_density, slopes

    keys = jax.random.split(jax.random.key(4), 10_000)
    return jax.jit(lambda direction: jax.vmap(of_draw, (None, 0))(direction, keys))


@cache
def direction_and_draws(name):
    direction = np.random.default_rng(3).normal(size=flat_outputs(name)[0].shape)
    return direction, jax.tree.map(np.asarray, draws_of(name)(jnp.asarray(direction)))


@pytest.mark.slow
@every_posterior
def test_a_density_integrates_to_one_and_is_that_of_its_draws(name, float64):
    _, (draws, log_densities, _, _) = direction_and_draws(name)
    points = np.concatenate([GRID, draws])
    found = np.asarray(log_densities_of(name)(flat_outputs(name)[0], jnp.asarray(points)))
    np.testing.assert_allclose(CELL * np.exp(found[: len(GRID)]).sum(), 1, atol=2e-3)
    np.testing.assert_allclose(found[len(GRID) :], log_densities, rtol=1e-6, atol=1e-6)


@every_posterior_but_few_at_once
@pytest.mark.slow
def test_importance_weights_average_to_the_evidence(name, float64):
    _, (_, _, log_weights, _) = direction_and_draws(name)
    weights = np.exp(log_weights - log_evidence())
    assert_mean(weights, 1.0)
    assert np.std(weights) > 0.1  # it is not the exact posterior, whose weights tell nothing


@every_posterior_but_few_at_once
def test_the_gradient_of_a_draw_is_that_of_the_bound(name, float64):
    """Along a random direction of all outputs, against differences of the bound by quadrature."""
    direction, (draws, _, _, estimators) = direction_and_draws(name)
    points = jnp.asarray(np.concatenate([GRID, draws]))  # as many as above: it is compiled once
    log_joints = np.asarray(jax.jit(jax.vmap(log_joint))(points[: len(GRID)]))

    def bound(step):
        log_densities = log_densities_of(name)(flat_outputs(name)[0] + step * direction, points)
        log_density = np.asarray(log_densities)[: len(GRID)]
        return CELL * np.sum(np.exp(log_density) * (log_joints - log_density))

    # a wide step: kinks of a density, a spline's, cross the grid's points one by one
    expected = (8 * (bound(0.01) - bound(-0.01)) - (bound(0.02) - bound(-0.02))) / 0.12
    for slopes in estimators:
        assert_mean(slopes, expected)
        assert slopes.std() / np.sqrt(len(slopes)) < 0.1 * np.abs(slopes).mean()


@every_posterior
@pytest.mark.slow  # by the value, the test above shows it through the second estimator
def test_the_gradient_of_a_density_at_a_value(name, float64):
    """By the outputs and by the value, through whatever the inverses do, against central differences."""
    flat, posterior = flat_outputs(name)
    _, (draws, *_) = direction_and_draws(name)
    value = jnp.asarray(draws[0])
    rng, step = np.random.default_rng(6), 1e-6
    gradient = jax.jit(jax.grad(lambda flat, value: posterior(flat).log_prob(value), argnums=(0, 1)))
    by_outputs, by_value = gradient(flat, value)
    for _ in range(3):
        one, other = rng.normal(size=flat.shape), rng.normal(size=2)
        points = jnp.asarray(np.tile(draws[0], (len(GRID) + len(draws), 1)))
        points = points.at[1].add(step * other).at[2].add(-step * other)
        up = log_densities_of(name)(flat + step * one, points)
        down = log_densities_of(name)(flat - step * one, points)
        np.testing.assert_allclose(by_outputs @ one, (up[0] - down[0]) / (2 * step), rtol=1e-5, atol=1e-6)
        here = log_densities_of(name)(flat, points)
        np.testing.assert_allclose(by_value @ other, (here[1] - here[2]) / (2 * step), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", first(4, FLOWS))
def test_determinants_and_inverses(name, float64):
    @jax.jit
    def facts(transform, z):
        image, log_determinant = transform.forward(z)
        return image, log_determinant, transform.inverse(image), jax.jacobian(lambda z: transform.forward(z)[0])(z)

    for transform in posterior_of(name, 5).transforms:
        z = jax.random.normal(jax.random.key(7), (5,)) * 2
        image, log_determinant, (back, log_determinant_back), jacobian = facts(transform, z)
        assert np.abs(np.sort(image) - np.sort(z)).max() > 1e-3
        np.testing.assert_allclose(log_determinant, np.linalg.slogdet(jacobian)[1], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(back, z, rtol=1e-7, atol=1e-7)
        np.testing.assert_allclose(log_determinant_back, -log_determinant, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(
    ("amortised", "name"),
    first(2, [(False, "planar"), *((True, name) for name in FLOWS)]),
)
def test_a_fresh_flow_is_near_the_identity_and_is_not_dead(name, amortised):
    family, options = FLOWS[name]
    outputs = family.parameters((6,), num_flows=2, amortised=amortised, **options)
    free = {output for output, shape in outputs.items() if isinstance(shape, Free)}
    assert amortised or free == set(outputs) - {"mean", "log_scale"}
    model = vae(
        encoder=networks.mlp((16,), outputs),
        decoder=networks.mlp((16,), Bernoulli.parameters((9,))),
        prior=standard_normal((6,)),
        posterior=family,
    )
    x = jnp.asarray(np.random.default_rng(8).integers(0, 2, 9), jnp.float32)

    @jax.jit
    def facts():
        params = model.init(jax.random.key(0), x)
        posterior = model.posterior(params, x)
        keys = jax.random.split(jax.random.key(1), 500)
        start, end = jax.vmap(posterior.base.sample)(keys), jax.vmap(posterior.sample)(keys)
        return start, end, jax.grad(lambda p: bounds.elbo(model, jax.random.key(2), p, x, num_samples=16))(params)

    start, end, gradient = facts()
    moved = np.linalg.norm(end - start, axis=1).mean() / np.linalg.norm(start, axis=1).mean()
    assert 1e-3 < moved < 0.5
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient["encoder"]):
        assert np.abs(leaf).max() > 1e-5, jax.tree_util.keystr(path)


@pytest.mark.parametrize("name", first(2, FLOWS))
def test_a_flow_is_finite_at_large_outputs(name):
    family, _ = FLOWS[name]
    outputs = {output: 30 * value.astype(jnp.float32) for output, value in outputs_of(name, size=4).items()}
    outputs["log_scale"] = outputs["log_scale"] / 30

    def drawn(outputs):
        draws, log_densities = jax.vmap(family(**outputs).sample_and_log_prob)(jax.random.split(jax.random.key(1), 50))
        return jnp.sum(log_densities) + jnp.sum(jnp.sin(draws))

    value, gradient = jax.jit(jax.value_and_grad(drawn))(outputs)
    assert np.isfinite(value)
    assert all(np.all(np.isfinite(leaf)) for leaf in gradient.values())


def test_the_expectation_of_a_flow_is_the_image_of_the_mean():
    flow = posterior_of("planar")
    image = flow.base.mean
    for transform in flow.transforms:
        image, _ = transform.forward(image)
    np.testing.assert_array_equal(flow.expectation(), image)


def test_what_a_flow_cannot_carry_is_refused():
    with pytest.raises(ValueError, match=r"a flow carries vectors, not events of shape \(4, 4, 1\); give z"):
        planar.parameters((4, 4, 1))
    with pytest.raises(ValueError, match="num_flows=0 must be at least one; without a flow, take posterior=Normal"):
        radial.parameters((4,), num_flows=0)
    with pytest.raises(ValueError, match="needs two latent dimensions or more, one to move another, not 1"):
        neural_spline.parameters((1,))


def test_a_transform_without_an_inverse_has_draws_but_no_density():
    class OneWay:
        def __init__(self, shift):
            self.shift = shift

        def forward(self, z):
            return z + self.shift, jnp.zeros(())

        def inverse(self, z):
            raise ValueError("nobody knows the inverse of this")

    flow = FlowPosterior(OneWay)(mean=jnp.zeros(2), log_scale=jnp.zeros(2), shift=jnp.ones((3, 2)))
    z, log_density = flow.sample_and_log_prob(jax.random.key(0))
    np.testing.assert_allclose(log_density, flow.base.log_prob(z - 3), rtol=1e-5)
    with pytest.raises(ValueError, match="nobody knows the inverse"):
        flow.log_prob(z)
