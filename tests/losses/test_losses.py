from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rows import first
from standard_errors import assert_same_mean

from jaxvae import bounds, losses
from jaxvae.bounds import grouped
from jaxvae.distributions import Normal
from jaxvae.draws import doubly_reparameterized, score_function
from jaxvae.model import vae
from jaxvae.models import generalized_doubly_reparameterized, linear
from jaxvae.priors import Prior
from jaxvae.types import Network

MODEL = linear.linear_vae(latent=2)
XS = jnp.array([[1.0, -0.5, 0.2], [0.3, 0.9, -1.0]])
STEP = jnp.array(3)


def parameters():
    params = linear.parameters(jnp.array([[0.9, 0.2], [0.1, 0.6], [0.3, 0.5]]), jnp.zeros(3), jnp.asarray(0.7))
    params["encoder"]["V"] += 0.1
    return params


def values(loss, key=0, params=None):
    keys = jax.random.split(jax.random.key(key), len(XS))
    return jax.value_and_grad(lambda p: loss(keys, p, (), XS, STEP), has_aux=True)(params or parameters())


@pytest.mark.slow
def test_free_bits_below_and_above_their_threshold():
    """Below it the divergence has no gradient, above it the loss is the negative ELBO."""
    plain = losses.negative_bound(MODEL, bounds.average)
    (value, (_, metrics)), gradient = values(plain)
    kl = float(metrics["kl"])
    above = losses.negative_elbo(MODEL, losses.free_bits(0.5 * kl))
    (same, (_, same_metrics)), same_gradient = values(above)
    np.testing.assert_allclose(same, value, rtol=1e-6)
    for name, metric in metrics.items():
        np.testing.assert_allclose(same_metrics[name], metric, rtol=1e-6)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), same_gradient, gradient)

    below = losses.negative_elbo(MODEL, losses.free_bits(2 * kl))
    (value, (_, metrics)), gradient = values(below)
    np.testing.assert_allclose(value, 2 * kl - metrics["log_likelihood"], rtol=1e-6)
    np.testing.assert_allclose(metrics["bound"], same_metrics["bound"], rtol=1e-6)  # the bound is never weighed
    free = losses.negative_bound(MODEL, bounds.average, beta=lambda step: 0.0)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), gradient, values(free)[1])


@pytest.mark.parametrize("target", first(1, [50.0, 0.0]))
def test_a_capacity_pulls_the_divergence_to_its_target(target):
    cost = losses.capacity(lambda step: target * step / STEP, gamma=7.0)
    (value, (_, metrics)), gradient = values(losses.negative_elbo(MODEL, cost))
    np.testing.assert_allclose(value, 7 * abs(metrics["kl"] - target) - metrics["log_likelihood"], rtol=1e-5)
    weight = 7.0 if target == 0 else -7.0
    tempered = losses.negative_bound(MODEL, bounds.average, beta=lambda step: weight)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5), gradient, values(tempered)[1])


def test_prices_of_several_groups():
    """Every group has free bits of its own; a capacity is one for all of them."""
    kl, step = jnp.array([0.5, 3.0, 2.5]), jnp.array(10)
    np.testing.assert_allclose(losses.free_bits(2.0)(kl, step), 2.0 + 3.0 + 2.5)
    capacity = losses.capacity(lambda step: 0.5 * step.astype(float), gamma=3.0)
    found = [capacity(factor * kl, step) for factor in (0.5, 1.0, 2.0)]
    np.testing.assert_allclose(found, [3 * 2.0, 3 * 1.0, 3 * 7.0])  # 3, 6 and 12 nats, and 5 are asked for


def test_another_price_refuses_draws_without_a_path():
    loss = losses.negative_elbo(linear.linear_vae(latent=2, draw=score_function), losses.free_bits(1.0))
    with pytest.raises(ValueError, match="needs draws with a path"):
        values(loss)


def test_a_cycle_rises_stays_and_begins_again():
    schedule = losses.cyclical(period=10, rising=0.4, top=2.0)
    np.testing.assert_allclose([schedule(jnp.array(s)) for s in (0, 2, 4, 9, 10, 12)], [0, 1, 2, 2, 0, 1])
    with pytest.raises(ValueError, match="period=0"):
        losses.cyclical(period=0)


@pytest.mark.slow
def test_two_bounds_for_two_networks():
    """The value is the decoder's bound; each network's gradient is that of its own bound, of the same draws."""
    of_all, of_groups = bounds.importance_weighted, grouped(num_groups=3)
    loss = losses.parted(MODEL, for_decoder=of_all, for_encoder=of_groups, num_samples=6)
    (value, (_, metrics)), gradient = values(loss)
    whole, parts = (values(losses.negative_bound(MODEL, reduce, num_samples=6)) for reduce in (of_all, of_groups))
    np.testing.assert_allclose(value, whole[0][0], rtol=1e-6)
    np.testing.assert_allclose(metrics["bound"], -value, rtol=1e-6)
    check = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
    jax.tree.map(check, gradient["decoder"], whole[1]["decoder"])
    jax.tree.map(check, gradient["encoder"], parts[1]["encoder"])
    assert np.any(np.abs(parts[1]["encoder"]["V"] - whole[1]["encoder"]["V"]) > 1e-3)


def test_two_bounds_cost_one_evaluation():
    loss = losses.parted(
        MODEL, for_decoder=bounds.importance_weighted, for_encoder=grouped(num_groups=3), num_samples=6
    )
    single = losses.negative_bound(MODEL, bounds.importance_weighted, num_samples=6)
    keys = jax.random.split(jax.random.key(0), len(XS))

    def operations(loss):
        program = jax.jit(lambda p: loss(keys, p, (), XS, STEP)).lower(parameters()).compile()
        return program.cost_analysis()["flops"]

    assert operations(loss) < 1.3 * operations(single)


def test_a_dream_teaches_the_encoder_alone():
    """A Gaussian's draws have a path, and the dreamer must not learn by it to dream what is easily read."""
    loss = losses.wake_sleep(linear.linear_vae(latent=2, draw=score_function), num_samples=2)
    keys = jax.random.split(jax.random.key(0), len(XS))
    gradient = jax.jit(jax.grad(lambda p: loss(keys, p, (), XS, STEP)[1][1]["dream"]))(parameters())
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(gradient["decoder"]))
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(gradient["encoder"]))


def learned_prior_vae(**parts):
    prior = Prior(lambda key, x: {}, lambda params, posterior: Normal(**params))

    def encode(params, x):
        return {"mean": params["V"] @ x, "log_scale": params["log_scale"]}

    def decode(params, z):
        return {"mean": jnp.tanh(params["W"] @ z), "log_scale": jnp.zeros(())}

    return vae(
        encoder=Network(lambda key, x: {}, encode),
        decoder=Network(lambda key, z: {}, decode),
        prior=prior,
        likelihood=Normal,
        **parts,
    )


def learned_prior_parameters():
    params = parameters()
    return {
        "encoder": {"V": params["encoder"]["V"], "log_scale": jnp.array([-0.3, 0.1])},
        "decoder": {"W": params["decoder"]["W"]},
        "prior": {"mean": jnp.array([0.4, -0.2]), "log_scale": jnp.array([0.2, -0.3])},
    }


@pytest.mark.slow
def test_the_generalised_gradient_is_unbiased_and_quieter_for_the_prior():
    plain, params = learned_prior_vae(), learned_prior_parameters()
    general = generalized_doubly_reparameterized(plain)

    def gradients(model, key):
        def objective(params, key):
            return bounds.iwae_bound(model, key, params, XS[0], num_samples=8)

        return jax.jit(jax.vmap(jax.grad(objective), (None, 0)))(params, jax.random.split(jax.random.key(key), 20_000))

    first, second = gradients(plain, 0), gradients(general, 1)
    jax.tree.map(assert_same_mean, first, second)
    keys = jax.random.split(jax.random.key(3), 3)
    same = [
        jax.vmap(lambda key, m=m: bounds.iwae_bound(m, key, params, XS[0], num_samples=8))(keys)
        for m in (plain, general)
    ]
    np.testing.assert_allclose(*same, rtol=1e-5)
    # near the exact posterior the weights are almost equal, and what is left of the prior's gradient is its path
    for name in ("mean", "log_scale"):
        assert np.var(second["prior"][name], axis=0).sum() < np.var(first["prior"][name], axis=0).sum()


@pytest.mark.slow
def test_without_parameters_in_the_prior_the_generalised_gradient_is_the_doubly_reparameterised_one():
    double = linear.linear_vae(latent=2, draw=doubly_reparameterized)
    general = generalized_doubly_reparameterized(MODEL)
    gradient = [
        jax.grad(lambda p, m=m: bounds.iwae_bound(m, jax.random.key(0), p, XS[0], num_samples=5))(parameters())
        for m in (double, general)
    ]
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), *gradient)
    with pytest.raises(ValueError, match="belongs to iwae_bound"):
        bounds.elbo(general, jax.random.key(0), parameters(), XS[0])
