import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from jax.flatten_util import ravel_pytree
from standard_errors import assert_mean, assert_same_mean

from jaxvae import bounds, networks
from jaxvae.distributions import Normal
from jaxvae.model import standard_normal
from jaxvae.models import auxiliary_vae, linear, reading_both
from jaxvae.types import Network

pytestmark = pytest.mark.slow  # long to compile

LOADINGS = jnp.array([[1.0, 0.3], [-0.4, 0.9], [0.8, 0.5]])
X = jnp.array([0.8, -0.6, 0.5])
NOISE = jnp.asarray(np.log(0.6), jnp.float32)


def model_and_params():
    """The linear model, in whose posterior a network of x and of an auxiliary number has its say."""
    model = auxiliary_vae(
        auxiliary_encoder=networks.mlp((4,), Normal.parameters((1,)), activation=jnp.tanh),
        encoder=reading_both(networks.mlp((4,), Normal.parameters((2,)), activation=jnp.tanh)),
        reverse=reading_both(networks.mlp((4,), Normal.parameters((1,)), activation=jnp.tanh)),
        decoder=Network(lambda key, z: {}, lambda params, z: {"mean": LOADINGS @ z, "log_scale": NOISE}),
        prior=standard_normal((2,)),
        likelihood=Normal,
    )
    params = jax.jit(model.init)(jax.random.key(0), X)
    # weights of random sizes, so that z does depend on a
    flat, unravel = ravel_pytree(params)
    return model, unravel(flat + 0.4 * jnp.asarray(np.random.default_rng(1).normal(size=flat.shape), flat.dtype))


def log_evidence():
    return float(linear.log_marginal(linear.parameters(LOADINGS, jnp.zeros(3), jnp.exp(NOISE)), X))


def test_the_weight_by_hand():
    model, params = model_and_params()
    key = jax.random.key(2)
    terms = jax.jit(model.terms)(key, params, X)
    key_a, key_z = jax.random.split(key)

    def network(of_network, *inputs):
        """The same network, one input after the other, in NumPy."""
        weights = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), of_network["params"])
        hidden = np.tanh(np.concatenate(inputs) @ weights["Dense_0"]["kernel"] + weights["Dense_0"]["bias"])
        heads = {k: hidden @ head["kernel"] + head["bias"] for k, head in weights["heads"].items()}
        return scipy.stats.norm(heads["mean"], np.exp(heads["log_scale"]))

    x = np.asarray(X, np.float64)
    q_a = network(params["encoder"]["auxiliary"], x)
    a = q_a.mean() + q_a.std() * np.asarray(jax.random.normal(key_a, (1,)))
    q_z = network(params["encoder"]["latent"], x, a)
    z = q_z.mean() + q_z.std() * np.asarray(jax.random.normal(key_z, (2,)))
    log_likelihood = scipy.stats.norm(np.asarray(LOADINGS) @ z, 0.6).logpdf(x).sum()
    of_a = q_a.logpdf(a).sum() - network(params["reverse"], x, z).logpdf(a).sum()
    weight = log_likelihood + scipy.stats.norm.logpdf(z).sum() - q_z.logpdf(z).sum() - of_a
    np.testing.assert_allclose(terms.log_likelihood, log_likelihood, rtol=1e-4)
    np.testing.assert_allclose(terms.log_weight, weight, rtol=1e-4)
    closed = 0.5 * np.sum(q_z.std() ** 2 + q_z.mean() ** 2 - 1 - 2 * np.log(q_z.std()))
    np.testing.assert_allclose(terms.kl, [closed, of_a], rtol=1e-4, atol=1e-5)


def test_importance_weights_average_to_the_evidence():
    model, params = model_and_params()
    weigh = jax.jit(jax.vmap(lambda key: model.terms(key, params, X).log_weight))
    log_weights = np.asarray(weigh(jax.random.split(jax.random.key(3), 20_000)), np.float64)
    assert_mean(np.exp(log_weights - log_evidence()), 1)
    assert np.std(log_weights) > 0.1


def test_the_posterior_is_drawn_from_and_has_no_density():
    model, params = model_and_params()
    posterior = jax.jit(model.posterior)(params, X)
    keys = jax.random.split(jax.random.key(4), 5_000)
    draws = jax.jit(jax.vmap(posterior.sample))(keys)
    assert draws.shape == (5_000, 2)
    assert posterior.expectation().shape == (2,)
    with pytest.raises(ValueError, match=r"take iwae_bound or jaxvae\.log_likelihood instead"):
        posterior.log_prob(draws[0])
    # of the same law as the draws that the terms see: their likelihoods have one mean
    others = jax.random.split(jax.random.key(5), 5_000)
    of_terms = jax.jit(jax.vmap(lambda key: model.terms(key, params, X).log_likelihood))(others)
    of_posterior = jax.jit(jax.vmap(lambda z: model.likelihood(params, z).log_prob(X)))(draws)
    assert_same_mean(of_terms, of_posterior)


def test_the_gradient_reaches_every_network():
    model, params = model_and_params()
    gradient = jax.jit(jax.grad(lambda p: bounds.iwae_bound(model, jax.random.key(6), p, X, num_samples=3)))(params)
    assert set(gradient) == {"prior", "encoder", "decoder", "reverse"}
    assert all(np.abs(leaf).max() > 1e-6 for leaf in jax.tree.leaves(gradient))
    assert jax.jit(model.sample)(jax.random.key(0), params).shape == X.shape
