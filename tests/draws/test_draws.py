from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from jax.scipy import stats
from standard_errors import assert_mean, assert_same_mean

from jaxvae import bounds, losses
from jaxvae.distributions import Frozen, Normal
from jaxvae.draws import doubly_reparameterized, pathwise, score_function, sticking_the_landing
from jaxvae.model import vae
from jaxvae.models import linear
from jaxvae.priors import Prior
from jaxvae.types import Network

LATENT, PIXELS = 2, 4
ESTIMATORS = [pathwise, sticking_the_landing, doubly_reparameterized]


def encode(params, x):
    hidden = jnp.tanh(params["hidden"] @ x)
    return {"mean": params["mean"] @ hidden, "log_scale": params["log_scale"] @ hidden - 0.3}


def decode(params, z):
    return {"logits": params["out"] @ jnp.tanh(params["in"] @ z)}


def nonlinear_vae(draw):
    """A small model with a learned prior, whose every part is nonlinear."""
    return vae(
        encoder=Network(lambda key, x: {}, encode),
        decoder=Network(lambda key, z: {}, decode),
        prior=Prior(lambda key, x: {}, lambda params, posterior: Normal(**params)),
        draw=draw,
    )


def params_and_examples(batch=3):
    rng = np.random.default_rng(0)

    def matrix(*shape):
        return jnp.asarray(rng.normal(size=shape))

    params = {
        "encoder": {"hidden": matrix(5, PIXELS), "mean": matrix(LATENT, 5), "log_scale": 0.5 * matrix(LATENT, 5)},
        "decoder": {"in": matrix(5, LATENT), "out": matrix(PIXELS, 5)},
        "prior": {"mean": 0.5 * matrix(LATENT), "log_scale": 0.3 * matrix(LATENT)},
    }
    # the first example is grey, so that no weight's gradient is zero; the algebra does not mind
    xs = np.array([[1.0, 0.3, 0.8, 0.9], [0, 1, 1, 0], [1, 1, 0, 0], [0, 0, 1, 1], [1, 1, 1, 1]])
    return params, jnp.asarray(xs[:batch])


@partial(jax.jit, static_argnames="num_samples")
def reference_gradient(key, params, x, *, num_samples):
    """Tucker et al. (2019), equation 8, in two terms written out; the weights by densities that are not the library's.

    Encoder: Σ w̃_i² ∂ln w_i/∂z_i ∂z_i/∂φ; decoder and prior: Σ w̃_i ∇_θ ln w_i.
    """
    noise = jax.vmap(lambda key: jax.random.normal(key, (LATENT,)))(jax.random.split(key, num_samples))
    posterior = encode(params["encoder"], x)

    def path(encoder_params):
        outputs = encode(encoder_params, x)
        return outputs["mean"][None] + jnp.exp(outputs["log_scale"])[None] * noise

    def log_weight(generative_params, z):
        prior, logits = generative_params["prior"], decode(generative_params["decoder"], z)["logits"]
        probabilities = 1 / (1 + jnp.exp(-logits))
        log_likelihood = jnp.sum(x * jnp.log(probabilities) + (1 - x) * jnp.log(1 - probabilities))
        log_prior = jnp.sum(stats.norm.logpdf(z, prior["mean"], jnp.exp(prior["log_scale"])))
        return (
            log_likelihood
            + log_prior
            - jnp.sum(stats.norm.logpdf(z, posterior["mean"], jnp.exp(posterior["log_scale"])))
        )

    generative = {"prior": params["prior"], "decoder": params["decoder"]}
    z, pull_back = jax.vjp(path, params["encoder"])
    weight = jax.nn.softmax(jax.vmap(log_weight, (None, 0))(generative, z))
    slope = jax.vmap(jax.grad(log_weight, argnums=1), (None, 0))(generative, z)
    (by_encoder,) = pull_back(jnp.square(weight)[:, None] * slope)
    by_generative = jax.grad(lambda p: jnp.sum(weight * jax.vmap(log_weight, (None, 0))(p, z)))(generative)
    return {"encoder": by_encoder, **by_generative}


def assert_trees_close(found, expected, rtol=1e-9):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol * np.abs(other).max())


@pytest.mark.parametrize("num_samples", [1, 2, 7])
def test_the_doubly_reparameterised_gradient_is_the_two_terms_of_the_paper(num_samples, float64):
    params, xs = params_and_examples()
    key = jax.random.key(1)

    def bound(params):
        return bounds.iwae_bound(nonlinear_vae(doubly_reparameterized), key, params, xs[0], num_samples=num_samples)

    expected = reference_gradient(key, params, xs[0], num_samples=num_samples)
    assert_trees_close(jax.jit(jax.grad(bound))(params), expected)
    assert all(np.abs(leaf).max() > 1e-3 for leaf in jax.tree.leaves(expected))


@pytest.mark.parametrize("scale", [-1.0, 3.0, 1e-3])
def test_the_doubly_reparameterised_gradient_scales_with_the_loss(scale, float64):
    params, xs = params_and_examples()
    key = jax.random.key(2)

    def loss(params):
        return scale * bounds.iwae_bound(nonlinear_vae(doubly_reparameterized), key, params, xs[0], num_samples=4)

    expected = jax.tree.map(lambda leaf: scale * leaf, reference_gradient(key, params, xs[0], num_samples=4))
    assert_trees_close(jax.jit(jax.grad(loss))(params), expected)


def test_the_doubly_reparameterised_gradient_of_a_batch(float64):
    """-1/B from the mean over a batch must reach every gradient once: also the one that the feedback carries."""
    params, xs = params_and_examples(batch=5)
    key, num_samples = jax.random.key(3), 4
    model = nonlinear_vae(doubly_reparameterized)
    loss = losses.negative_bound(model, bounds.importance_weighted, num_samples=num_samples)
    keys = jax.random.split(key, len(xs))
    found = jax.jit(jax.grad(lambda params: loss(keys, params, (), xs, jnp.zeros((), jnp.int32))[0]))(params)
    gradients = [reference_gradient(k, params, x, num_samples=num_samples) for k, x in zip(keys, xs, strict=True)]
    assert_trees_close(found, jax.tree.map(lambda *leaves: -sum(leaves) / len(xs), *gradients))

    def gradient_of_example(k, x):
        return jax.grad(lambda params: bounds.iwae_bound(model, k, params, x, num_samples=num_samples))(params)

    of_examples = jax.jit(jax.vmap(gradient_of_example))(keys, xs)
    assert_trees_close(of_examples, jax.tree.map(lambda *leaves: jnp.stack(leaves), *gradients))


def gradients(draw, reduce, num_samples, seed, repeats):
    """[repeats, P] gradients of one example's bound with independent keys, and where the encoder's part lies."""
    params, xs = params_and_examples()
    x = xs[0]
    model = nonlinear_vae(draw)

    def gradient(key):
        def bound(params):
            return reduce(bounds.draw_terms(model, key, params, x, num_samples=num_samples))

        return ravel_pytree(jax.grad(bound)(params))[0]

    belongs = {
        name: jax.tree.map(lambda leaf, n=name: jnp.full_like(leaf, n == "encoder"), params[name]) for name in params
    }
    encoder = ravel_pytree(belongs)[0]
    keys = jax.random.split(jax.random.key(seed), repeats)
    return np.asarray(jax.jit(jax.vmap(gradient))(keys)), np.asarray(encoder, bool)


@pytest.mark.parametrize("num_samples", [1, 5])
def test_the_doubly_reparameterised_gradient_is_unbiased(num_samples):
    ours, _ = gradients(doubly_reparameterized, bounds.importance_weighted, num_samples, 0, 20_000)
    plain, _ = gradients(pathwise, bounds.importance_weighted, num_samples, 1, 20_000)
    assert_same_mean(ours, plain)


def test_sticking_the_landing_is_biased_for_many_samples():
    """What the doubly reparameterised gradient is for; and a proof that the test above can fail."""
    ours, encoder = gradients(sticking_the_landing, bounds.importance_weighted, 5, 0, 20_000)
    plain, _ = gradients(pathwise, bounds.importance_weighted, 5, 1, 20_000)
    assert_same_mean(ours[:, ~encoder], plain[:, ~encoder])
    with pytest.raises(AssertionError, match="standard errors apart"):
        assert_same_mean(ours[:, encoder], plain[:, encoder])


def test_sticking_the_landing_is_unbiased_for_the_elbo():
    ours, _ = gradients(sticking_the_landing, bounds.average, 1, 0, 20_000)
    closed, _ = gradients(pathwise, bounds.average, 1, 1, 20_000)
    assert_same_mean(ours, closed)
    one_sample, _ = gradients(sticking_the_landing, bounds.importance_weighted, 1, 0, 20_000)
    np.testing.assert_allclose(ours, one_sample, rtol=1e-3, atol=1e-4)


def test_the_encoder_gradient_of_many_samples_is_quieter_when_doubly_reparameterised():
    """Near the exact posterior, where training ends; with weights of heavy tails it need not be so."""
    loadings = jnp.array([[1.2, 0.3], [-0.4, 0.9], [0.8, 0.5], [0.1, -1.0]])
    params = linear.parameters(loadings, jnp.zeros(4), jnp.asarray(0.7))
    params["encoder"]["V"] += 0.05
    x = jnp.array([1.0, -0.5, 0.7, 0.2])

    def variance(draw, num_samples):
        def gradient(key):
            model = linear.linear_vae(latent=2, draw=draw)
            bound = jax.grad(lambda p: bounds.iwae_bound(model, key, p, x, num_samples=num_samples))
            return ravel_pytree(bound(params)["encoder"])[0]

        return jax.jit(jax.vmap(gradient))(jax.random.split(jax.random.key(0), 500)).var(axis=0).sum()

    assert variance(doubly_reparameterized, 50) < 0.2 * variance(pathwise, 50)
    # the signal falls as 1/k: so does the standard deviation of ours, and that of the other does not
    assert variance(doubly_reparameterized, 50) < 0.1 * variance(doubly_reparameterized, 5)
    assert variance(pathwise, 50) > 0.02 * variance(pathwise, 5)


def test_all_estimators_draw_the_same_value():
    posterior, key = Normal(jnp.array([1.0, -2.0]), jnp.array([0.5, -1.0])), jax.random.key(0)
    for estimator in ESTIMATORS:
        draw = estimator(key, posterior)
        np.testing.assert_array_equal(draw.value, posterior.sample(key))
        np.testing.assert_array_equal(draw.density.log_prob(draw.value), posterior.log_prob(draw.value))
    params, xs = params_and_examples()
    x = xs[0]
    values = [
        bounds.batched_iwae_bound(nonlinear_vae(draw), key, params, x[None], num_samples=3) for draw in ESTIMATORS
    ]
    np.testing.assert_allclose(values[1:], [values[0]] * 2, rtol=1e-6)


def test_gradients_of_the_log_density_of_a_draw():
    """ln q(z) of a draw z = μ + σ ε: in all 0 and -1 by μ and ln σ; by the path alone -ε/σ and -ε²."""
    key, posterior = jax.random.key(4), Normal(jnp.array([1.0, -2.0]), jnp.array([0.5, -1.0]))
    noise = (posterior.sample(key) - posterior.mean) / jnp.exp(posterior.log_scale)

    def log_density(posterior, estimator):
        draw = estimator(key, posterior)
        return draw.density.log_prob(draw.value)

    whole = jax.grad(log_density)(posterior, pathwise)
    np.testing.assert_allclose(whole.mean, 0, atol=1e-5)
    np.testing.assert_allclose(whole.log_scale, -1, rtol=1e-5)
    path = jax.grad(log_density)(posterior, sticking_the_landing)
    np.testing.assert_allclose(path.mean, -noise / jnp.exp(posterior.log_scale), rtol=1e-5)
    np.testing.assert_allclose(path.log_scale, -jnp.square(noise), rtol=1e-5)
    assert isinstance(sticking_the_landing(key, posterior).density, Frozen)


def test_a_draw_by_its_score_has_no_path_even_where_the_density_has_one():
    """∇ E z² = (2 μ, 2 σ²) by the score alone; a path beside it would give it twice."""
    posterior = Normal(jnp.array([1.0, -2.0]), jnp.array([0.5, -1.0]))

    @jax.jit
    @jax.vmap
    def gradient(key):
        def square(posterior):
            drawn = score_function(key, posterior)
            value = jnp.square(drawn.value)
            return jnp.sum(value + jax.lax.stop_gradient(value) * (drawn.score - jax.lax.stop_gradient(drawn.score)))

        return jax.grad(square)(posterior)

    found = gradient(jax.random.split(jax.random.key(6), 20_000))
    assert_mean(found.mean, 2 * posterior.mean)
    assert_mean(found.log_scale, 2 * np.exp(2 * np.asarray(posterior.log_scale)))


def test_the_score_of_a_draw_is_zero_in_expectation():
    posterior = Normal(jnp.array([1.0, -2.0]), jnp.array([0.5, -1.0]))

    @jax.jit
    @jax.vmap
    def score(key):
        z = pathwise(key, posterior).value
        return jax.grad(lambda q: q.log_prob(z))(posterior)

    scores = score(jax.random.split(jax.random.key(5), 10_000))
    assert_mean(scores.mean, 0)
    assert_mean(scores.log_scale, 0)


def test_the_elbo_refuses_the_doubly_reparameterised_gradient():
    params, xs = params_and_examples()
    x = xs[0]
    model, key = nonlinear_vae(doubly_reparameterized), jax.random.key(0)
    with pytest.raises(ValueError, match="belongs to iwae_bound; for elbo take draw=sticking_the_landing"):
        bounds.elbo(model, key, params, x)
    with pytest.raises(ValueError, match="belongs to iwae_bound"):
        bounds.batched_elbo(model, key, params, x[None], num_samples=2)


def test_tempered_weights_refuse_the_doubly_reparameterised_gradient():
    params, xs = params_and_examples()
    x = xs[0]
    model = nonlinear_vae(doubly_reparameterized)
    terms = jax.jit(partial(bounds.draw_terms, model, num_samples=3))(jax.random.key(0), params, x)
    with pytest.raises(ValueError, match="unbiased for beta = 1 alone"):
        bounds.temper(terms, jnp.asarray(0.5))
