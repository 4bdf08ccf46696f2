"""VaDE is the VAE whose prior is a mixture: its bound, written as in its paper, is that model's ELBO at the same z."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy

from jaxvae import bounds, networks, vae
from jaxvae.distributions import Bernoulli, Mixture, Normal, NormalMixture
from jaxvae.priors import normal_mixture

SHAPE, LATENT, COMPONENTS = (3, 2, 1), 4, 5


def numbers(seed=0, latent=LATENT):
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=COMPONENTS),
        2 * rng.normal(size=(COMPONENTS, latent)),
        0.4 * rng.normal(size=(COMPONENTS, latent)),
    )


@pytest.mark.parametrize("make", [NormalMixture, lambda logits, mean, scale: Mixture(logits, Normal(mean, scale))])
def test_the_bound_by_responsibilities_is_the_density_itself(make, float64):
    logits, mean, log_scale = numbers()
    prior = make(*map(jnp.asarray, (logits, mean, log_scale)))
    for z in 3 * np.random.default_rng(1).normal(size=(20, LATENT)):
        of_each = scipy.stats.norm(mean, np.exp(log_scale)).logpdf(z).sum(axis=1) + scipy.special.log_softmax(logits)
        log_gamma = np.asarray(prior.log_responsibilities(jnp.asarray(z)))
        np.testing.assert_allclose(prior.log_joint(jnp.asarray(z)), of_each, rtol=1e-12)
        np.testing.assert_allclose(np.exp(log_gamma), scipy.special.softmax(of_each), rtol=1e-11, atol=1e-300)
        np.testing.assert_allclose(np.exp(log_gamma).sum(), 1, rtol=1e-12)
        bound = np.exp(log_gamma) @ (of_each - log_gamma)
        np.testing.assert_allclose(bound, prior.log_prob(jnp.asarray(z)), rtol=1e-12)
        other = np.full(COMPONENTS, 1 / COMPONENTS)  # of any other γ it is less
        assert other @ (of_each - np.log(other)) < bound - 1e-3


def model_and_params():
    model = vae(
        encoder=networks.mlp((6,), Normal.parameters((LATENT,))),
        decoder=networks.mlp((6,), Bernoulli.parameters(SHAPE)),
        prior=normal_mixture((LATENT,), num_components=COMPONENTS),
    )
    x = jnp.asarray(np.random.default_rng(2).integers(0, 2, SHAPE), float)
    first = model.init(jax.random.key(0), x.astype(jnp.float32))
    params = jax.tree.map(lambda leaf: leaf.astype(float), first)
    logits, mean, log_scale = numbers()
    params["prior"] = jax.tree.map(jnp.asarray, {"logits": logits, "mean": mean, "log_scale": log_scale})
    return model, params, x


def test_the_bound_of_the_paper_is_the_elbo_at_the_same_code(float64):
    """E ln p(x|z) + E ln p(z|c) + E ln p(c) - E ln q(z|x) - E ln q(c|x), by draws z and q(c|x) = p(c|z)."""
    model, params, x = model_and_params()
    posterior, (logits, mean, log_scale) = model.posterior(params, x), numbers()
    q = scipy.stats.norm(np.asarray(posterior.mean), np.exp(np.asarray(posterior.log_scale)))
    for seed in range(10):
        terms = model.terms(jax.random.key(seed), params, x)
        drawn = posterior.sample(jax.random.key(seed))
        z, pixels = np.asarray(drawn), np.asarray(model.likelihood(params, drawn).logits)
        of_each = scipy.stats.norm(mean, np.exp(log_scale)).logpdf(z).sum(axis=1)
        log_weights = scipy.special.log_softmax(logits)
        gamma = scipy.special.softmax(of_each + log_weights)
        bound = (
            np.sum(np.asarray(x) * pixels - np.logaddexp(0, pixels))
            + gamma @ of_each
            + gamma @ log_weights
            - q.logpdf(z).sum()
            - gamma @ np.log(gamma)
        )
        np.testing.assert_allclose(bounds.average(jax.tree.map(lambda leaf: leaf[None], terms)), bound, rtol=1e-12)


def test_a_cluster_that_is_told_apart_from_the_code_is_a_looser_bound():
    """q(z, c|x) = q(z|x) q(c|x), as the closed form of the paper has it, against q(z|x) p(c|z): by quadrature."""
    logits, mean, log_scale = numbers(latent=1)
    z = np.linspace(-12, 12, 20_001)
    q = scipy.stats.norm(0.3, 0.9)
    of_each = scipy.stats.norm(mean, np.exp(log_scale)).logpdf(z) + scipy.special.log_softmax(logits)[:, None]
    prior = NormalMixture(*(jnp.asarray(array, jnp.float32) for array in (logits, mean, log_scale)))
    densities = jax.vmap(prior.log_prob)(jnp.asarray(z[:, None], jnp.float32))
    ours = scipy.integrate.simpson(q.pdf(z) * np.asarray(densities, float), x=z)
    means = scipy.integrate.simpson(q.pdf(z) * of_each, x=z)
    best = scipy.special.logsumexp(means)  # over all q(c|x) that do not see z
    assert best < ours - 0.05
