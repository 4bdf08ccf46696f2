import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy

from jaxvae import elbo, iwae_bound, networks, standard_normal, vae
from jaxvae.distributions import Bernoulli, Normal
from jaxvae.perceptual import Perceptual, perceptual_vae

WEIGHTS = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


def features(x):
    return jnp.tanh(x.reshape(-1) @ WEIGHTS)


PARTS = {
    "encoder": networks.mlp((8,), Normal.parameters((2,))),
    "decoder": networks.mlp((8,), Bernoulli.parameters((2, 2, 1))),
    "prior": standard_normal((2,)),
}
X = jnp.array([1.0, 0.0, 0.0, 1.0]).reshape(2, 2, 1)


def test_it_adds_a_gaussian_of_the_features_to_the_density():
    base = Bernoulli(jnp.array([0.3, -1.0, 2.0, 0.0]).reshape(2, 2, 1))
    made = Perceptual(base, features, 0.2)
    distance = np.tanh(np.ravel(X) @ WEIGHTS) - np.tanh(scipy.special.expit(np.ravel(base.logits)) @ WEIGHTS)
    expected = scipy.stats.norm(0, 0.2).logpdf(distance).sum() + base.log_prob(X)
    np.testing.assert_allclose(jax.jit(lambda made: made.log_prob(X))(made), expected, rtol=1e-5)
    np.testing.assert_array_equal(made.sample(jax.random.key(0)), base.sample(jax.random.key(0)))
    np.testing.assert_array_equal(made.expectation(), base.expectation())


@pytest.mark.slow
def test_a_model_has_a_loss_and_no_weight():
    model = perceptual_vae(likelihood=Bernoulli, features=features, scale=0.5, **PARTS)
    params = model.init(jax.random.key(0), X)
    terms = model.terms(jax.random.key(1), params, X)
    assert terms.log_weight is None
    plain = vae(**PARTS, likelihood=Bernoulli).terms(jax.random.key(1), params, X)
    np.testing.assert_allclose(terms.kl, plain.kl)
    assert float(terms.log_likelihood) != float(plain.log_likelihood)
    gradient = jax.jit(jax.grad(lambda params: elbo(model, jax.random.key(1), params, X, num_samples=2)))(params)
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(gradient))
    with pytest.raises(ValueError, match="weight"):
        iwae_bound(model, jax.random.key(1), params, X, num_samples=2)
    assert model.sample(jax.random.key(2), params).shape == (2, 2, 1)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_a_scale_that_is_not_positive_is_refused(scale):
    with pytest.raises(ValueError, match="scale of the features must be positive"):
        perceptual_vae(likelihood=Bernoulli, features=features, scale=scale, **PARTS)
