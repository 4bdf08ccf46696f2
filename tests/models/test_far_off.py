"""Examples unlike any of training's: every bound is a number, low, and the lower the farther off the example lies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae import bounds, networks
from jaxvae.distributions import (
    Concrete,
    FullNormal,
    Laplace,
    Normal,
    NormalMixture,
    StudentT,
    VonMisesFisher,
    closed_kl,
    held,
    representable,
)
from jaxvae.evaluation import log_likelihood
from jaxvae.likelihoods import DiscretizedLogisticMixture, StructuredNormal
from jaxvae.model import standard_normal, vae
from jaxvae.networks import Free, reading_within

FAR = [0.0, 1.0, 10.0, 30.0, 100.0, 1e3, 99_999.0, 1e7, 1e12, 1e18, 1e25, 3e38]


def test_the_curve_is_the_identity_and_then_turns_to_its_ends(float64):
    between = np.linspace(-14, 14, 101)
    np.testing.assert_array_equal(held(jnp.asarray(between)), between)
    outside = np.array([-1e300, -100.0, -14.5, 14.5, 15.0, 1e5])
    inside = np.clip(outside, -14, 14)
    np.testing.assert_allclose(held(jnp.asarray(outside)), inside + 2 * np.tanh((outside - inside) / 2), rtol=1e-12)
    slope, bend = jax.grad(held), jax.grad(jax.grad(held))
    for end in (-14.0, 14.0):
        for derivative in (held, slope, bend):
            before, at, after = (float(derivative(jnp.asarray(end + step))) for step in (-1e-9, 0.0, 1e-9))
            np.testing.assert_allclose([before, after], at, atol=1e-8)
    assert float(held(jnp.asarray(1e5))) <= 16


def test_nats_have_an_end():
    most = representable(jnp.asarray([-jnp.inf, jnp.inf, -3.5, 1e30], jnp.float32))
    assert np.all(np.isfinite(10 * most))
    assert most[2] == -3.5
    assert most[3] == np.float32(1e30)


SIDES = [-1e30, -1e4, -88.0, 88.0, 1e4, 1e30]
SCALED = {
    "Normal": lambda l: Normal(jnp.zeros(3), jnp.full(3, l)),
    "Normal of one scale": lambda l: Normal(jnp.zeros(3), l),
    "Laplace": lambda l: Laplace(jnp.zeros(3), jnp.full(3, l)),
    "StudentT": lambda l: StudentT(jnp.zeros(3), jnp.full(3, l), jnp.ones(3)),
    "FullNormal": lambda l: FullNormal(jnp.zeros(3), jnp.full(3, l), jnp.ones(3)),
    "NormalMixture": lambda l: NormalMixture(jnp.zeros(2), jnp.zeros((2, 3)), jnp.full((2, 3), l)),
    "VonMisesFisher": lambda l: VonMisesFisher(jnp.ones(3), l),
    "Concrete": lambda l: Concrete(jnp.zeros(3), l),
    "StructuredNormal": lambda l: StructuredNormal(
        jnp.zeros((2, 2, 1)), jnp.full((2, 2, 1), l), jnp.zeros((2, 2, 4, 1))
    ),
    "DiscretizedLogisticMixture": lambda l: DiscretizedLogisticMixture(
        jnp.zeros((2, 2, 2)), jnp.zeros((2, 2, 1, 2)), jnp.full((2, 2, 1, 2), l)
    ),
}


@pytest.mark.parametrize("name", SCALED)
def test_a_scale_of_any_size_makes_a_finite_density_a_finite_draw_and_finite_gradients(name):
    make = SCALED[name]

    @jax.jit
    def everything(log_scale):
        draw = make(log_scale).sample(jax.random.key(0))

        def log_prob(log_scale, value):
            return make(log_scale).log_prob(value)

        return draw, jax.value_and_grad(log_prob, argnums=(0, 1))(log_scale, 0.5 * draw)

    for side in SIDES:
        found = everything(jnp.asarray(side, jnp.float32))
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(found)), side


@pytest.mark.parametrize("name", ["Normal", "Laplace"])
def test_divergences_are_finite_at_scales_of_any_size(name):
    make = SCALED[name]
    divergence = jax.jit(jax.value_and_grad(lambda q, p: closed_kl(make(q), make(p)), argnums=(0, 1)))
    for q in SIDES:
        for p in SIDES:
            value, gradient = divergence(jnp.asarray(q, jnp.float32), jnp.asarray(p, jnp.float32))
            assert np.all(np.isfinite([value, *gradient]))
            assert value >= 0


@pytest.mark.parametrize("one_scale", [True, False])
@pytest.mark.parametrize("likelihood", [Normal, Laplace, StudentT])
def test_the_bounds_of_examples_far_off_are_finite_low_and_ordered(likelihood, one_scale):
    """An untrained Gaussian decoder gave NaN at x = 100."""
    shape = (8, 8, 1)
    outputs = likelihood.parameters(shape) | ({"log_scale": Free(())} if one_scale else {})
    model = vae(
        encoder=reading_within(networks.mlp((50,), Normal.parameters((4,)))),
        decoder=networks.mlp((50,), outputs),
        prior=standard_normal((4,)),
        likelihood=likelihood,
    )
    params = model.init(jax.random.key(0), jnp.zeros(shape))

    @jax.jit
    def scores(x):
        key = jax.random.key(1)
        elbo, gradient = jax.value_and_grad(lambda params: bounds.elbo(model, key, params, x))(params)
        estimate = log_likelihood(model, key, params, x, num_samples=10)
        return elbo, estimate, jnp.max(jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(gradient)]))

    for away in ([1.0], [-1.0]):
        one_cell = [scores(jnp.zeros(shape).at[3, 3].set(jnp.array(away) * far)) for far in FAR]
        every_cell = [scores(jnp.full(shape, away[0] * far)) for far in FAR]
        for found in (one_cell, every_cell):
            elbos, estimates, _ = np.array(found).T
            assert np.all(np.isfinite(elbos))
            assert np.all(np.isfinite(estimates))
            for values in (elbos[2:], estimates[2:]):
                assert np.all(np.diff(values) <= 0)
                assert values[0] > values[2] > values[4]
            assert np.all(np.isfinite(np.array(found)[: FAR.index(1e18), 2]))


@pytest.mark.parametrize("likelihood", [Normal, Laplace, StudentT])
def test_an_encoder_without_ends_has_finite_and_low_bounds_too(likelihood):
    shape = (8, 8, 1)
    model = vae(
        encoder=networks.mlp((50,), Normal.parameters((4,))),
        decoder=networks.mlp((50,), likelihood.parameters(shape)),
        prior=standard_normal((4,)),
        likelihood=likelihood,
    )
    params = model.init(jax.random.key(0), jnp.zeros(shape))
    elbo = jax.jit(lambda x: bounds.elbo(model, jax.random.key(1), params, x))
    usual = elbo(jnp.zeros(shape))
    for far in FAR[4:-1]:
        value = elbo(jnp.full(shape, far))
        assert np.isfinite(value)
        assert value < usual - 1000


@pytest.mark.parametrize("reach", [0.0, -1.0, float("nan")])
def test_a_reach_that_is_not_positive_is_refused(reach):
    with pytest.raises(ValueError, match="must be positive"):
        reading_within(networks.mlp((5,), {"mean": (2,)}), reach)
