import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy
from standard_errors import assert_mean

from jaxvae import bounds, networks
from jaxvae.distributions import Bernoulli, Laplace, Normal
from jaxvae.draws import sticking_the_landing
from jaxvae.model import autoencoder, standard_normal, vae
from jaxvae.priors import Prior
from jaxvae.types import Network

SHAPE = (3, 2, 1)


def small_vae(**parts):
    given = {
        "encoder": networks.mlp((6,), Normal.parameters((2,)), activation=jnp.tanh),
        "decoder": networks.mlp((6,), Bernoulli.parameters(SHAPE), activation=jnp.tanh),
        "prior": standard_normal((2,)),
    }
    return vae(**(given | parts))


def example():
    return jnp.array([1.0, 0, 1, 1, 0, 0]).reshape(SHAPE)


@pytest.mark.parametrize("draw", [None, sticking_the_landing])
def test_terms_by_hand(draw):
    model = small_vae() if draw is None else small_vae(draw=draw)
    x, key = example(), jax.random.key(1)
    params = jax.jit(model.init)(jax.random.key(0), x)
    terms = jax.jit(model.terms)(key, params, x)

    q = jax.jit(model.posterior)(params, x)
    z, mean, scale = (np.asarray(a, np.float64) for a in (q.sample(key), q.mean, np.exp(q.log_scale)))
    logits = np.asarray(jax.jit(model.likelihood)(params, jnp.asarray(z, jnp.float32)).logits, np.float64)
    log_likelihood = scipy.stats.bernoulli(scipy.special.expit(logits)).logpmf(np.asarray(x)).sum()
    log_ratio = scipy.stats.norm.logpdf(z).sum() - scipy.stats.norm(mean, scale).logpdf(z).sum()
    closed_kl = 0.5 * (scale**2 + mean**2 - 1 - 2 * np.log(scale)).sum()
    np.testing.assert_allclose(terms.log_likelihood, log_likelihood, rtol=1e-5)
    np.testing.assert_allclose(terms.log_weight, log_likelihood + log_ratio, rtol=1e-5)
    assert terms.kl.shape == (1,)
    np.testing.assert_allclose(terms.kl[0], closed_kl if draw is None else -log_ratio, rtol=1e-4)
    assert terms.feedback is None


def test_the_parts_of_a_model_are_those_it_was_given():
    prior = Prior(
        init=lambda key, x: {"mean": jax.random.normal(key, (2,)), "log_scale": jnp.full(2, -1.0)},
        apply=lambda params, posterior: Laplace(**params),
    )
    model = small_vae(prior=prior, posterior=Laplace)
    x = example()
    params = jax.jit(model.init)(jax.random.key(0), x)
    assert set(params) == {"prior", "encoder", "decoder"}
    assert isinstance(model.prior(params), Laplace)
    np.testing.assert_array_equal(model.prior(params).mean, params["prior"]["mean"])
    assert isinstance(jax.eval_shape(model.posterior, params, x), Laplace)
    assert isinstance(jax.eval_shape(model.likelihood, params, jnp.zeros(2)), Bernoulli)
    gradient = jax.jit(jax.grad(lambda params: bounds.elbo(model, jax.random.key(1), params, x)))(params)
    for part in ("prior", "encoder", "decoder"):
        assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(gradient[part])), part


def test_parts_are_initialised_from_independent_keys():
    model = small_vae(decoder=networks.mlp((6,), {"logits": (2,)}), encoder=networks.mlp((6,), Normal.parameters((2,))))
    init = jax.jit(model.init)
    first, second, again = (init(jax.random.key(seed), jnp.ones(2)) for seed in (0, 1, 0))
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, first, again)))
    kernels = [p[part]["params"]["Dense_0"]["kernel"] for p in (first, second) for part in ("encoder", "decoder")]
    for one, other in itertools.combinations(kernels, 2):  # all of shape [2, 6]
        assert not np.array_equal(one, other)


def test_a_model_hashes():
    assert hash(small_vae()) != hash(small_vae())
    model = small_vae()
    assert hash(model) == hash(model._replace(terms=model.terms))


def test_samples_are_ancestral():
    """z ~ p(z), then x ~ p(x|z): with logits 3 z the pixels of one image agree more often than chance."""
    decoder = Network(lambda key, z: {}, lambda params, z: {"logits": 3 * jnp.ones(2) * z})
    model = vae(encoder=networks.mlp((), Normal.parameters((1,))), decoder=decoder, prior=standard_normal((1,)))
    keys = jax.random.split(jax.random.key(0), 20_000)
    draws = jax.jit(jax.vmap(lambda key: model.sample(key, {"prior": {}, "decoder": {}})))(keys)

    def expected(power):
        def integrand(z):
            return scipy.special.expit(3 * z) ** power * scipy.stats.norm.pdf(z)

        return scipy.integrate.quad(integrand, -9, 9)[0]

    assert draws.shape == (20_000, 2)
    assert_mean(draws, expected(1))
    assert_mean(draws[:, 0] * draws[:, 1], expected(2))
    assert expected(2) > 0.35


def test_the_standard_normal_prior():
    prior = standard_normal((3, 2))
    assert prior.init(jax.random.key(0), example()) == {}
    z = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)
    np.testing.assert_allclose(
        prior.apply({}, None).log_prob(jnp.asarray(z)), scipy.stats.norm.logpdf(z).sum(), rtol=1e-6
    )


def plain_autoencoder():
    decoder = networks.mlp((6,), Bernoulli.parameters(SHAPE))
    return autoencoder(encoder=networks.mlp((6,), {"value": (2,)}), decoder=decoder)


def test_the_elbo_of_an_autoencoder_is_its_reconstruction():
    model, x = plain_autoencoder(), example()
    params = jax.jit(model.init)(jax.random.key(0), x)
    code = jax.jit(model.posterior)(params, x).expectation()
    expected = jax.jit(model.likelihood)(params, code).log_prob(x)
    for num_samples in (1, 4):
        bound = bounds.batched_elbo(model, jax.random.key(1), params, x[None], num_samples=num_samples)
        np.testing.assert_allclose(bound, [expected], rtol=1e-6)
    terms = jax.jit(model.terms)(jax.random.key(1), params, x)
    assert terms.log_weight is None
    np.testing.assert_array_equal(terms.kl, [0.0])


def test_an_autoencoder_refuses_what_it_has_not():
    model, x = plain_autoencoder(), example()
    params = jax.jit(model.init)(jax.random.key(0), x)
    with pytest.raises(ValueError, match="no prior to draw from"):
        model.prior(params)
    with pytest.raises(ValueError, match="no prior to draw from"):
        model.sample(jax.random.key(0), params)
    with pytest.raises(ValueError, match="no iwae_bound; take elbo"):
        bounds.iwae_bound(model, jax.random.key(0), params, x, num_samples=2)
