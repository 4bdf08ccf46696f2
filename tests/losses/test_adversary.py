"""Codes that are to pass for draws of the prior: the best discriminator between Gaussians, and what it costs."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.integrate
import scipy.stats
from standard_errors import assert_mean

from jaxvae.losses import adversarial, beside_discriminator, divergence, regularised
from jaxvae.model import standard_normal, vae
from jaxvae.training import make_step
from jaxvae.types import Network

MEAN, SCALE = 0.8, 0.6  # q(z|x) = N(m, s²), whatever x is: the aggregate posterior is the same


def normal(mean, scale):
    return {"mean": jnp.full((1,), mean), "log_scale": jnp.full((1,), jnp.log(scale))}


def model_of(mean, scale, best):
    discriminator = Network(
        lambda key, z: best, lambda of, z: {"logit": of["a"] * z[0] ** 2 + of["b"] * z[0] + of["c"]}
    )
    model = vae(
        encoder=Network(lambda key, x: {"shift": jnp.zeros(1)}, lambda params, x: normal(mean, scale)),
        decoder=Network(lambda key, z: {}, lambda params, z: {"logits": jnp.zeros(3) + 0.0 * z}),
        prior=standard_normal((1,)),
    )
    return beside_discriminator(model, discriminator), discriminator


def best_of(mean, scale):
    """ln N(z; 0, 1) - ln N(z; m, s²), a quadratic."""
    return {
        "a": jnp.asarray(0.5 / scale**2 - 0.5),
        "b": jnp.asarray(-mean / scale**2),
        "c": jnp.asarray(0.5 * mean**2 / scale**2 + np.log(scale)),
    }


def jensen_shannon(mean, scale):
    """½ KL(q || ½ (q + p)) + ½ KL(p || ½ (q + p)), by quadrature."""
    q, p = scipy.stats.norm(mean, scale).pdf, scipy.stats.norm().pdf

    def density(z):
        half = 0.5 * (q(z) + p(z))
        return 0.5 * (scipy.special.xlogy(q(z), q(z) / half) + scipy.special.xlogy(p(z), p(z) / half))

    return scipy.integrate.quad(density, -9, 9)[0]


def of_batches(model, discriminator, params, batches=200, size=64):
    """The discriminator's loss and the gradient of its params, of many batches."""
    loss, xs = adversarial(model, discriminator, weight=2.0), jnp.ones((size, 3))

    def of_batch(key):
        keys = jax.random.split(key, size)
        gradient, (_, metrics) = jax.grad(lambda of: loss(keys, of, (), xs, jnp.array(0)), has_aux=True)(params)
        return metrics["discriminator_loss"], jnp.stack(jax.tree.leaves(gradient["discriminator"])), metrics

    return jax.jit(jax.vmap(of_batch))(jax.random.split(jax.random.key(0), batches))


def test_the_best_discriminator_is_the_log_ratio_and_costs_what_jensen_and_shannon_leave():
    model, discriminator = model_of(MEAN, SCALE, best_of(MEAN, SCALE))
    params = model.init(jax.random.key(0), jnp.ones(3))
    z = np.array([-0.7])
    ratio = scipy.stats.norm.logpdf(z) - scipy.stats.norm.logpdf(z, MEAN, SCALE)
    found = discriminator.apply(params["discriminator"], jnp.asarray(z, jnp.float32))["logit"]
    np.testing.assert_allclose(found, ratio[0], rtol=1e-5)
    cost, gradient, _ = of_batches(model, discriminator, params)
    assert_mean(cost, np.log(2) - jensen_shannon(MEAN, SCALE))
    assert_mean(gradient, 0.0)  # the best: no other coefficients are better
    params["discriminator"]["b"] = params["discriminator"]["b"] + 0.3
    worse, slope, _ = of_batches(model, discriminator, params)
    assert worse.mean() > cost.mean()
    assert np.abs(slope.mean(axis=0)).max() > 0.02


def test_codes_that_are_draws_of_the_prior_cannot_be_told():
    model, discriminator = model_of(0.0, 1.0, best_of(0.0, 1.0))
    cost, gradient, _ = of_batches(model, discriminator, model.init(jax.random.key(0), jnp.ones(3)))
    np.testing.assert_allclose(cost, np.log(2), rtol=1e-6)
    assert_mean(gradient, 0.0)


@pytest.mark.parametrize("alpha", [1.0, 0.25])
def test_the_model_pays_for_being_told_and_the_rest_of_its_divergence(alpha):
    model, discriminator = model_of(MEAN, SCALE, best_of(MEAN, SCALE))
    params = model.init(jax.random.key(0), jnp.ones(3))
    keys, xs = jax.random.split(jax.random.key(1), 8), jnp.ones((8, 3))
    loss = adversarial(model, discriminator, weight=3.0, alpha=alpha)
    value, (_, metrics) = jax.jit(loss)(keys, params, (), xs, jnp.array(0))
    zs = jax.vmap(lambda key: MEAN + SCALE * jax.random.normal(jax.random.split(key, 1)[0], (1,)))(keys)
    passing = [-jax.nn.log_sigmoid(discriminator.apply(params["discriminator"], z)["logit"]) for z in zs]
    expected = (1 - alpha) * metrics["kl"] - metrics["log_likelihood"] + 3 * np.mean(passing)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    plain, _ = jax.jit(regularised(model, of_posterior=divergence(-alpha)))(keys, params, (), xs, jnp.array(0))
    np.testing.assert_allclose(value - plain, 3 * np.mean(passing), rtol=1e-4)
    make_step(loss, optax.sgd(0.1), accumulate=2)  # a mean over examples: it can be taken in parts
