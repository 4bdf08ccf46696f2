"""A model on another's codes is exact where both are linear and Gaussian: of every class p(x|y) is a Gaussian then."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp
from standard_errors import assert_mean
from test_few_labels import CENTRES, LOADINGS, LOGITS, SCALE, linear_model

from jaxvae import bounds, networks
from jaxvae.distributions import Normal, normal_with_scale
from jaxvae.losses import negative_bound
from jaxvae.model import standard_normal, vae
from jaxvae.models import Given, analogies, class_probabilities, held, labelled_vae, reading_both, stacked
from jaxvae.types import Network

MIXING = np.array([[1.0, 0.3, -0.2], [0.4, -0.8, 0.5], [0.0, 0.6, 1.1], [-0.7, 0.2, 0.3]])  # [4, 3]
NOISE = 0.5
X = np.array([0.3, -0.6, 0.8, -0.2])
NOTHING = {"first": {"prior": {}, "encoder": {}, "decoder": {}}}
NOTHING |= {"second": {"prior": {}, "classifier": {}, "encoder": {}, "decoder": {}}}


def linear_stack():
    """p(z, y) of `linear_model`, p(x|z) = N(A z, s² I), and a q(z|x) that is not the posterior but near it."""
    precision = MIXING.T @ MIXING / NOISE**2 + np.eye(3)
    weights, scales = np.linalg.solve(precision, MIXING.T) / NOISE**2, 1.2 / np.sqrt(np.diag(precision))

    def of(function):
        return Network(lambda key, x: {}, lambda params, x: function(x))

    def encode(x):
        return {"mean": jnp.asarray(weights, x.dtype) @ x, "log_scale": jnp.log(jnp.asarray(scales, x.dtype))}

    first = vae(
        encoder=of(encode),
        decoder=of(lambda z: {"mean": jnp.asarray(MIXING, z.dtype) @ z}),
        prior=standard_normal((3,)),
        likelihood=normal_with_scale(NOISE),
    )
    return stacked(first, linear_model(exact=True)), weights


def log_evidence(y):
    """Ln p(x, y)."""
    of_code = LOADINGS[y] @ LOADINGS[y].T + SCALE**2 * np.eye(3)
    covariance = MIXING @ of_code @ MIXING.T + NOISE**2 * np.eye(4)
    return stats.multivariate_normal(MIXING @ CENTRES[y], covariance).logpdf(X) + np.log(0.5)


@pytest.mark.parametrize("label", [-1, 0, 1])
def test_the_weight_averages_to_the_evidence_and_the_bound_is_below(label):
    model, _ = linear_stack()
    example = jnp.asarray(X, float), jnp.array(label, jnp.int32)
    keys = jax.random.split(jax.random.key(0), 50_000)
    terms = jax.jit(jax.vmap(lambda key: model.terms(key, NOTHING, example)))(keys)
    truth = logsumexp([log_evidence(y) for y in range(2)]) if label < 0 else log_evidence(label)
    assert np.std(terms.log_weight) > 0.1
    assert_mean(np.exp(np.asarray(terms.log_weight, np.float64) - truth), 1.0)
    bound = np.asarray(terms.log_likelihood - np.sum(terms.kl, 1), np.float64)
    assert terms.kl.shape == (50_000, 3)
    assert np.mean(bound) < truth - 0.05
    if label >= 0:  # at the exact posterior of M2 its bound of z and its weight are the same, in the mean
        assert_mean(bound - np.asarray(terms.log_weight, np.float64), 0.0)


def test_what_is_known_of_the_latent_variable_is_at_the_mean_code():
    model, weights = linear_stack()
    x, second = jnp.asarray(X, float), linear_model(exact=True)
    mean = jnp.asarray(weights @ X, float)
    np.testing.assert_allclose(class_probabilities(model, NOTHING, x), np.exp(LOGITS - logsumexp(LOGITS)), rtol=1e-5)
    found, expected = (
        of.expectation().z
        for of in (
            model.posterior(NOTHING, (x, jnp.array(1, jnp.int32))),
            second.posterior(NOTHING["second"], (mean, jnp.array(1, jnp.int32))),
        )
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    image = model.likelihood(NOTHING, Given(expected, jnp.eye(2)[1])).expectation()
    np.testing.assert_allclose(image, MIXING @ (CENTRES[1] + LOADINGS[1] @ np.asarray(expected)), rtol=1e-4)
    assert analogies(model, NOTHING, x).shape == (2, 4)


def test_samples_have_the_mean_that_is_said():
    model, _ = linear_stack()
    draws = jax.jit(jax.vmap(lambda key: model.sample(key, NOTHING)))(jax.random.split(jax.random.key(1), 20_000))
    assert_mean(draws, MIXING @ CENTRES.mean(0))


def test_a_part_that_is_held_has_no_gradient_until_it_is_let_go():
    first = vae(
        encoder=networks.mlp((5,), Normal.parameters((2,))),
        decoder=networks.mlp((5,), {"mean": (3,)}),
        prior=standard_normal((2,)),
        likelihood=normal_with_scale(1.0),
    )
    second = labelled_vae(
        classes=3,
        classifier=networks.mlp((5,), {"logits": (3,)}),
        encoder=reading_both(networks.mlp((5,), Normal.parameters((2,)))),
        decoder=reading_both(networks.mlp((5,), Normal.parameters((2,)))),
        prior=standard_normal((2,)),
        likelihood=Normal,
    )
    model = stacked(first, second)
    xs = jnp.ones((4, 3)), jnp.array([-1, -1, 0, 2], jnp.int32)
    params = model.init(jax.random.key(0), jax.tree.map(lambda leaf: leaf[0], xs))
    plain = negative_bound(model, bounds.average)
    loss, keys = held(plain, "first", 10), jax.random.split(jax.random.key(1), 4)

    def gradient(loss, step):
        return jax.jit(jax.value_and_grad(lambda params: loss(keys, params, (), xs, jnp.array(step))[0]))(params)

    (value, before), (_, after), (expected, truth) = gradient(loss, 9), gradient(loss, 10), gradient(plain, 0)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    assert all(np.all(np.asarray(leaf) == 0) for leaf in jax.tree.leaves(before["first"]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), before["second"], truth["second"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), after, truth)
    assert sum(float(np.sum(np.abs(leaf))) for leaf in jax.tree.leaves(after["first"])) > 0
