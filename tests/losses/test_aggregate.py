"""The ELBO with prices r1 and r2: the β-VAE, β-TCVAE, DIP-VAE, InfoVAE and WAE are that one loss."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae import bounds, losses
from jaxvae.distributions import normal_with_scale
from jaxvae.draws import score_function
from jaxvae.losses import regularised
from jaxvae.model import standard_normal, vae
from jaxvae.models import linear
from jaxvae.training import make_step
from jaxvae.types import Network

MODEL, BATCH = linear.linear_vae(latent=2), 6
LOADINGS = np.array([[0.9, 0.2], [0.1, 0.6], [0.3, 0.5]])
KEYS = partial(jax.random.split, num=BATCH)


def parameters():
    params = linear.parameters(jnp.array(LOADINGS), jnp.zeros(3), jnp.asarray(0.7))
    params["encoder"]["V"] = params["encoder"]["V"] + 0.1
    return params


def examples():
    return jnp.asarray(np.random.default_rng(0).normal(size=(BATCH, 3)))


def values(loss, params=None):
    keys, step = KEYS(jax.random.key(0)), jnp.array(3)
    return jax.jit(jax.value_and_grad(lambda p: loss(keys, p, (), examples(), step), has_aux=True))(
        params or parameters()
    )


def same(one, other):
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-12), one, other)


def codes():
    """Means and scales [B, 2] of every posterior, and the draws that the losses see."""
    params = parameters()
    posteriors = [MODEL.posterior(params, x) for x in examples()]
    draws = [q.sample(jax.random.split(key, 1)[0]) for q, key in zip(posteriors, KEYS(jax.random.key(0)), strict=True)]
    means, scales = ([np.asarray(getattr(q, name)) for q in posteriors] for name in ("mean", "log_scale"))
    return np.stack(means), np.exp(np.stack(scales)), np.stack(draws)


@pytest.mark.parametrize("num_samples", [1, 3])
def test_a_price_on_each_posterior_is_the_beta_vae(num_samples, float64):
    weighed = regularised(MODEL, of_posterior=losses.divergence(3.0), num_samples=num_samples)
    beta = losses.negative_bound(MODEL, bounds.average, beta=lambda step: 4.0, num_samples=num_samples)
    (value, (_, metrics)), gradient = values(weighed)
    (expected, (_, of_beta)), expected_gradient = values(beta)
    same((value, gradient), (expected, expected_gradient))
    same({name: metrics[name] for name in of_beta}, of_beta)  # the bound is never weighed
    np.testing.assert_allclose(metrics["regulariser"], 3 * metrics["kl"], rtol=1e-10)
    make_step(weighed, None, accumulate=2)  # no loss of a whole batch


def normal_density(value, mean, scale):
    return np.exp(-0.5 * ((value - mean) / scale) ** 2) / (scale * np.sqrt(2 * np.pi))


def test_a_price_on_the_aggregate_is_the_beta_tcvae(float64):
    num_examples, (means, scales, draws) = 40, codes()
    weights = np.exp(losses.stratified_log_weights(num_examples, BATCH))
    total = 0.0
    for b in range(BATCH):
        each = normal_density(draws[b], means, scales)  # [B, 2]
        total += np.log(weights[b] @ each.prod(axis=1)) - np.log(weights[b] @ each).sum()
    r2 = losses.total_correlation(5.0, partial(losses.stratified_log_weights, num_examples))
    (value, (_, metrics)), _ = values(regularised(MODEL, of_aggregate=r2))
    np.testing.assert_allclose(metrics["regulariser"], 5 * total / BATCH, rtol=1e-9)
    np.testing.assert_allclose(value, 5 * total / BATCH - metrics["bound"], rtol=1e-9)


@pytest.mark.parametrize("with_variances", [False, True], ids=["I", "II"])
def test_a_price_on_the_aggregate_is_dip(with_variances, float64):
    means, scales, _ = codes()
    covariance = np.cov(means.T, bias=True) + with_variances * np.diag((scales**2).mean(axis=0))
    expected = 2 * 7.0 * covariance[0, 1] ** 2 + 3.0 * ((np.diag(covariance) - 1) ** 2).sum()
    r2 = losses.dip(off_diagonal=7.0, diagonal=3.0, with_variances=with_variances)
    (_, (_, metrics)), _ = values(regularised(MODEL, of_aggregate=r2))
    np.testing.assert_allclose(metrics["regulariser"], expected, rtol=1e-9)


def test_info_vae_takes_from_the_divergence_what_it_gives_to_the_discrepancy(float64):
    alpha, scale = 0.6, 5.0
    r1, r2 = losses.divergence(-alpha), losses.discrepancy(alpha + scale - 1, losses.gaussian_kernel)
    (value, (_, metrics)), _ = values(regularised(MODEL, of_posterior=r1, of_aggregate=r2))
    key = jax.random.fold_in(KEYS(jax.random.key(0))[0], 17)
    prior = jax.vmap(lambda key: jax.random.normal(key, (2,)))(KEYS(key))
    distance = losses.maximum_mean_discrepancy(losses.gaussian_kernel(2), jnp.asarray(codes()[2]), prior)
    expected = (1 - alpha) * metrics["kl"] - metrics["log_likelihood"] + (alpha + scale - 1) * distance
    np.testing.assert_allclose(value, expected, rtol=1e-9)


def test_wae_is_the_cost_and_the_kernel_sums_of_its_authors(float64):
    """.05 |x - x̂|² and λ times the U-statistic, summed over seven scales, as in wae.py; no divergence."""
    model = vae(
        encoder=Network(
            lambda key, x: {}, lambda params, x: {"mean": params["V"] @ x, "log_scale": params["log_scale"]}
        ),
        decoder=Network(lambda key, z: {}, lambda params, z: {"mean": params["W"] @ z}),
        prior=standard_normal((2,)),
        likelihood=normal_with_scale(10**0.5),
    )
    params = {"prior": {}, "encoder": parameters()["encoder"], "decoder": {"W": jnp.array(LOADINGS)}}
    loss = regularised(model, of_posterior=losses.divergence(-1.0), of_aggregate=losses.discrepancy(10.0))
    (value, _), _ = values(loss, params)

    zs = codes()[2]
    key = jax.random.fold_in(KEYS(jax.random.key(0))[0], 17)
    ys = np.asarray(jax.vmap(lambda key: jax.random.normal(key, (2,)))(KEYS(key)))
    cost = 0.05 * ((np.asarray(examples()) - zs @ LOADINGS.T) ** 2).sum(axis=1).mean()
    statistic, off = 0.0, ~np.eye(BATCH, dtype=bool)
    for scale in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0):
        c = 2 * 2 * scale

        def sums(one, other, c=c):
            return c / (c + ((one[:, None] - other[None]) ** 2).sum(axis=-1))

        statistic += ((sums(zs, zs) + sums(ys, ys))[off].sum()) / (BATCH * (BATCH - 1))
        statistic -= 2 * sums(zs, ys).sum() / BATCH**2
    constant = 3 * 0.5 * np.log(2 * np.pi * 10)  # of the Gaussian density: the same for all params
    np.testing.assert_allclose(value - constant, cost + 10 * statistic, rtol=1e-9)


def test_a_loss_with_a_price_on_the_aggregate_is_one_of_a_whole_batch():
    loss = regularised(MODEL, of_aggregate=losses.discrepancy(1.0))
    with pytest.raises(ValueError, match="looks at the aggregate posterior over the whole batch"):
        make_step(loss, None, accumulate=2)


def test_a_price_on_codes_refuses_draws_without_a_path():
    loss = regularised(linear.linear_vae(latent=2, draw=score_function), of_posterior=losses.divergence(1.0))
    with pytest.raises(ValueError, match="needs draws with a path"):
        values(loss, jax.tree.map(lambda leaf: leaf.astype(jnp.float32), parameters()))
