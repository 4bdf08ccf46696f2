"""Models of few labels are exact where the truth is known: a decoder that is linear in its code, for two classes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy import stats
from scipy.special import logsumexp, softmax
from standard_errors import assert_mean

from jaxvae import bounds, elbo, iwae_bound, networks
from jaxvae.distributions import Bernoulli, Normal, normal_with_scale
from jaxvae.evaluation import log_likelihood
from jaxvae.losses import negative_bound
from jaxvae.model import standard_normal
from jaxvae.models import (
    Given,
    adding_both,
    analogies,
    balanced_labels,
    class_probabilities,
    classify,
    drawn_features,
    extended_objective,
    labelled_vae,
    reading_both,
    repeated,
)
from jaxvae.types import Network

LOADINGS = np.array([[[1.0], [-0.4], [0.7]], [[0.3], [0.9], [-0.5]]])  # [K, 3, 1]
CENTRES = np.array([[0.5, 0.0, -0.5], [-0.5, 1.0, 0.2]])  # [K, 3]
SCALE = 0.6
LOGITS = np.array([0.3, -0.4])
X = np.array([0.4, 0.7, -0.3])
UNKNOWN = np.int32(-1)
NOTHING = {"prior": {}, "classifier": {}, "encoder": {}, "decoder": {}}


def posterior_of(y, *, exact):
    """Of p(z|x, y), or of another Gaussian: V and a in the mean V (x - μ_y) + a, and the scale."""
    loadings = LOADINGS[y, :, 0]
    variance = 1 / (1 + loadings @ loadings / SCALE**2)
    weights, scale = variance * loadings / SCALE**2, np.sqrt(variance)
    return (weights, 0.0, scale) if exact else (0.7 * weights, 0.1, 1.2 * scale)


def linear_model(*, exact):
    """p(x|y) = N(μ_y, W_y W_yᵀ + σ² I), so that p(x) is a mixture of two Gaussians; its parameters are constants."""

    def of(function):
        return Network(lambda key, *inputs: {}, lambda params, *inputs: function(*inputs))

    posteriors = [posterior_of(y, exact=exact) for y in range(2)]

    def encode(x, y):
        weights, offsets, scales = (jnp.asarray(part, x.dtype) for part in zip(*posteriors, strict=True))
        mean = (y @ weights) @ (x - y @ jnp.asarray(CENTRES, y.dtype)) + y @ offsets
        return {"mean": mean[None], "log_scale": (y @ jnp.log(scales))[None]}

    def decode(z, y):
        return {
            "mean": jnp.einsum("k,kdl,l->d", y, jnp.asarray(LOADINGS, y.dtype), z) + y @ jnp.asarray(CENTRES, y.dtype)
        }

    return labelled_vae(
        classes=2,
        classifier=of(lambda x: {"logits": jnp.asarray(LOGITS, x.dtype)}),
        encoder=of(encode),
        decoder=of(decode),
        prior=standard_normal((1,)),
        likelihood=normal_with_scale(SCALE),
    )


def log_evidence(x, y):
    """Ln p(x, y) of the linear model."""
    covariance = LOADINGS[y] @ LOADINGS[y].T + SCALE**2 * np.eye(3)
    return stats.multivariate_normal(CENTRES[y], covariance).logpdf(x) + np.log(0.5)


def bound_by_hand(x, y):
    """L(x, y) of the linear model with the other posterior: every expectation is a Gaussian's."""
    weights, offset, scale = posterior_of(y, exact=False)
    mean = weights @ (x - CENTRES[y]) + offset
    loadings = LOADINGS[y, :, 0]
    residual = x - CENTRES[y] - loadings * mean
    square = residual @ residual + loadings @ loadings * scale**2
    reconstruction = -0.5 * (3 * np.log(2 * np.pi * SCALE**2) + square / SCALE**2)
    divergence = 0.5 * (scale**2 + mean**2 - 1) - np.log(scale)
    return reconstruction + np.log(0.5) - divergence


def drawn(model, label, count, key=0):
    """Terms of many draws."""
    keys = jax.random.split(jax.random.key(key), count)
    return jax.jit(jax.vmap(lambda key: model.terms(key, NOTHING, (jnp.asarray(X, float), label))))(keys)


def test_at_the_exact_posterior_every_draw_gives_the_evidence(float64):
    """ln w = ln p(x, y), or ln p(x) where the label is unknown, with no variance left."""
    model = linear_model(exact=True)
    truths = np.array([log_evidence(X, y) for y in range(2)])
    for y in range(2):
        terms = drawn(model, jnp.array(y, jnp.int32), 5)
        np.testing.assert_allclose(terms.log_weight, np.full(5, truths[y]), rtol=1e-12)
        np.testing.assert_allclose(np.sum(terms.kl, 1), np.full(5, np.sum(terms.kl[0])), rtol=1e-12)
    np.testing.assert_allclose(drawn(model, UNKNOWN, 5).log_weight, np.full(5, logsumexp(truths)), rtol=1e-12)


@pytest.mark.parametrize("label", [-1, 0, 1])
def test_the_weight_averages_to_the_evidence(label):
    terms = drawn(linear_model(exact=False), jnp.array(label, jnp.int32), 20_000)
    truths = np.array([log_evidence(X, y) for y in range(2)])
    truth = logsumexp(truths) if label < 0 else truths[label]
    assert np.std(terms.log_weight) > 0.1
    assert_mean(np.exp(np.asarray(terms.log_weight, np.float64) - truth), 1.0)


def test_the_summed_bound_is_that_by_hand():
    """U(x) = Σ_y q(y|x) [L(x, y) - ln q(y|x)], below the log-sum-exp of the bounds, and L where the label is known."""
    model = linear_model(exact=False)
    of_labels = np.array([bound_by_hand(X, y) for y in range(2)])
    q = softmax(LOGITS)
    truth = q @ (of_labels - np.log(q))
    assert truth < logsumexp(of_labels) < logsumexp([log_evidence(X, y) for y in range(2)])
    for label, expected in ((-1, truth), (0, of_labels[0]), (1, of_labels[1])):
        terms = drawn(model, jnp.array(label, jnp.int32), 20_000)
        assert_mean(terms.log_likelihood - np.sum(terms.kl, axis=1), expected)
    np.testing.assert_allclose(drawn(model, UNKNOWN, 2).kl[:, 0], np.full(2, q @ np.log(2 * q)), rtol=1e-5)


def small_model():
    """Three classes, networks of random weights: far from anything exact."""
    model = labelled_vae(
        classes=3,
        classifier=networks.mlp((5,), {"logits": (3,)}),
        encoder=reading_both(networks.mlp((5,), Normal.parameters((2,)))),
        decoder=reading_both(networks.mlp((5,), Bernoulli.parameters((4,)))),
        prior=standard_normal((2,)),
    )
    x = jnp.array([1.0, 0.0, 1.0, 1.0])
    params = jax.jit(model.init)(jax.random.key(0), (x, UNKNOWN))
    flat, unravel = ravel_pytree(params)
    return model, unravel(flat + 0.3 * jnp.asarray(np.random.default_rng(1).normal(size=flat.shape), flat.dtype)), x


def with_logits(params, logits):
    """The params with a classifier that says so of everything."""
    classifier = jax.tree.map(jnp.zeros_like, params["classifier"])
    classifier["params"]["heads"]["logits"]["bias"] = jnp.asarray(logits, jnp.float32)
    return params | {"classifier": classifier}


def test_the_branches_agree_draw_by_draw():
    """With the same key all labels see the same codes, so that the sums over classes hold for each draw."""
    model, params, x = small_model()
    params, key = with_logits(params, [0.2, -0.5, 1.0]), jax.random.key(1)
    terms = jax.jit(lambda params, label: model.terms(key, params, (x, label)))
    known = [terms(params, jnp.array(y, jnp.int32)) for y in range(3)]
    of_labels = np.array([of.log_likelihood - np.sum(of.kl) for of in known], np.float64)
    unknown = terms(params, UNKNOWN)
    value = unknown.log_likelihood - np.sum(unknown.kl)
    q = softmax([0.2, -0.5, 1.0])
    np.testing.assert_allclose(value, q @ (of_labels - np.log(q)), rtol=1e-5)
    np.testing.assert_allclose(unknown.log_weight, logsumexp([of.log_weight for of in known]), rtol=1e-5)
    assert value < logsumexp(of_labels) - 1e-3
    # equal at the softmax of the bounds
    best = terms(with_logits(params, of_labels), UNKNOWN)
    np.testing.assert_allclose(best.log_likelihood - np.sum(best.kl), logsumexp(of_labels), rtol=1e-5)
    # and a classifier that is sure is a known label
    sure = terms(with_logits(params, [0.0, 60.0, 0.0]), UNKNOWN)
    np.testing.assert_allclose(sure.log_likelihood, known[1].log_likelihood, rtol=1e-5)
    np.testing.assert_allclose(sure.kl, known[1].kl, rtol=1e-5)


def test_a_known_label_asks_nothing_of_the_classifier_nor_of_other_classes():
    model, params, x = small_model()

    def gradient(label, reduce):
        return jax.jit(
            jax.grad(lambda params: bounds.bound(reduce)(model, jax.random.key(1), params, (x, label), num_samples=2))
        )(params)

    def total(tree):
        return sum(float(np.sum(np.abs(leaf))) for leaf in jax.tree.leaves(tree))

    for label in (UNKNOWN, jnp.array(2, jnp.int32)):
        for reduce in (bounds.average, bounds.importance_weighted):
            of = gradient(label, reduce)
            assert np.isfinite(total(of))
            assert total(of["encoder"]) > 0
            assert total(of["decoder"]) > 0
            # importance weights hold no q(y|x)
            assert (total(of["classifier"]) > 0) == (label < 0 and reduce is bounds.average)


def test_the_density_over_all_images_is_one():
    """Σ_x p(x) = 1 over the 16 binary images, by the library's own estimate of log p(x)."""
    model, params, _ = small_model()
    images = jnp.array(np.indices((2,) * 4).reshape(4, -1).T, jnp.float32)
    estimate = jax.jit(
        lambda image, label: log_likelihood(model, jax.random.key(2), params, (image, label), num_samples=4000),
    )
    log_p = np.array([estimate(image, UNKNOWN) for image in images], np.float64)
    np.testing.assert_allclose(np.exp(log_p).sum(), 1.0, atol=0.01)
    with_label = np.array([[estimate(image, jnp.array(y, jnp.int32)) for y in range(3)] for image in images[:4]])
    np.testing.assert_allclose(np.exp(with_label).sum(1), np.exp(log_p[:4]), rtol=0.05)
    tighter = iwae_bound(model, jax.random.key(3), params, (images[3], UNKNOWN), num_samples=1000)
    assert elbo(model, jax.random.key(3), params, (images[3], UNKNOWN), num_samples=1000) < tighter


def test_draws_have_the_densities_that_are_said():
    model, params, x = small_model()
    params = with_logits(params, [0.2, -0.5, 1.0])
    keys = jax.random.split(jax.random.key(4), 20_000)
    posterior = model.posterior(params, (x, UNKNOWN))
    draws = jax.vmap(posterior.sample)(keys)
    assert_mean(draws.condition, softmax([0.2, -0.5, 1.0]))
    assert_mean(draws.z, posterior.expectation().z)
    prior = model.prior(params)
    assert_mean(jax.vmap(prior.sample)(keys).condition, np.full(3, 1 / 3))
    # importance weights of one distribution for the other: 1/E_q[p/q] = 1
    ratio = jax.vmap(lambda value: posterior.log_prob(value) - prior.log_prob(value))(jax.vmap(prior.sample)(keys))
    assert_mean(np.exp(np.asarray(ratio, np.float64)), 1.0)
    known = model.posterior(params, (x, jnp.array(2, jnp.int32)))
    np.testing.assert_array_equal(jax.vmap(known.sample)(keys[:50]).condition, np.tile(np.eye(3)[2], (50, 1)))
    code = Given(jnp.zeros(2), jnp.eye(3)[2])
    np.testing.assert_allclose(known.log_prob(code), known.given(code.condition).log_prob(code.z), rtol=1e-6)
    assert model.sample(jax.random.key(5), params).shape == x.shape


def test_classifying_and_analogies():
    model, params, x = small_model()
    logits = model.posterior(params, (x, UNKNOWN)).classes.logits
    np.testing.assert_allclose(class_probabilities(model, params, x), softmax(logits), rtol=1e-5)
    assert classify(model, params, x) == np.argmax(logits)
    params = with_logits(params, [0.2, -0.5, 1.0])
    assert classify(model, params, x) == 2
    z = model.posterior(params, (x, jnp.array(2, jnp.int32))).expectation().z
    images = analogies(model, params, x)
    for y in range(3):
        truth = model.likelihood(params, Given(z, jnp.eye(3)[y])).expectation()
        np.testing.assert_allclose(images[y], truth, rtol=1e-5)
    assert np.max(np.abs(images[0] - images[1])) > 1e-3


def test_a_prior_that_looks_at_the_posterior_is_refused():
    x = jnp.ones(2)
    looking = standard_normal((2,))._replace(apply=lambda params, posterior: posterior(x))
    other = labelled_vae(classes=3, classifier=None, encoder=None, decoder=None, prior=looking)
    with pytest.raises(ValueError, match="does not look"):
        other.prior({"prior": {}})


@pytest.mark.parametrize("times", [1, 3])
def test_the_loss_over_all_rows_is_the_extended_objective(times):
    """-J/N by its definition, whatever the repetition, with the bounds of each example drawn by the same key."""
    model, params, _ = small_model()
    labels = np.array([-1, 2, -1, -1, 0, -1], np.int32)
    xs = np.random.default_rng(0).integers(0, 2, (6, 4)).astype(np.float32)
    keys = jax.random.split(jax.random.key(5), 6)
    rows = repeated(labels, times)
    assert len(rows) == 6 + 2 * (times - 1)
    alpha = 0.7
    loss = extended_objective(model, bounds.average, alpha=alpha, examples=6, labelled=2, times=times)
    batch = jnp.asarray(xs[rows]), jnp.asarray(labels[rows])
    value, (extra, metrics) = jax.jit(loss)(keys[rows], params, (), batch, jnp.array(0))
    plain, (_, expected) = jax.jit(negative_bound(model, bounds.average))(keys, params, (), (xs, labels), jnp.array(0))
    log_q = np.log([class_probabilities(model, params, xs[n])[labels[n]] for n in (1, 4)])
    np.testing.assert_allclose(value, plain - alpha * np.mean(log_q), rtol=1e-5)
    np.testing.assert_allclose(metrics.pop("cross_entropy"), -np.mean(log_q), rtol=1e-5)
    assert extra == ()
    assert metrics.keys() == expected.keys()
    for name, metric in metrics.items():
        np.testing.assert_allclose(metric, expected[name], rtol=1e-5)


@pytest.mark.parametrize("wrong", [{"alpha": -1.0}, {"times": 0}, {"labelled": 0}, {"labelled": 7}])
def test_a_loss_of_nonsense_is_refused(wrong):
    options = {"alpha": 0.1, "examples": 6, "labelled": 2, "times": 1} | wrong
    with pytest.raises(ValueError, match="must not be negative"):
        extended_objective(small_model()[0], bounds.average, **options)


def test_labels_are_chosen_equally_and_alike_for_one_seed():
    labels = np.random.default_rng(0).integers(0, 10, 500)
    kept = balanced_labels(3, labels, count=100, classes=10)
    assert kept.dtype == np.int32
    np.testing.assert_array_equal(np.bincount(kept[kept >= 0], minlength=10), np.full(10, 10))
    np.testing.assert_array_equal(kept[kept >= 0], labels[kept >= 0])
    np.testing.assert_array_equal(kept, balanced_labels(3, labels, count=100, classes=10))
    assert np.any(kept != balanced_labels(4, labels, count=100, classes=10))
    with pytest.raises(ValueError, match="multiple of 10"):
        balanced_labels(0, labels, count=105, classes=10)
    with pytest.raises(ValueError, match="multiple of 10"):
        balanced_labels(0, labels, count=0, classes=10)
    with pytest.raises(ValueError, match="take fewer labels"):
        balanced_labels(0, labels, count=1000, classes=10)


def test_adding_is_reading_both_in_one_layer():
    """W [a, b] = W_a a + W_b b."""
    both = reading_both(networks.mlp((5,), {"out": (2,)}, activation=jnp.tanh))
    adding = adding_both(
        networks.mlp((), {"features": (5,)}),
        networks.mlp((), {"features": (5,)}),
        networks.mlp((), {"out": (2,)}),
        jnp.tanh,
    )
    a, b = jax.random.normal(jax.random.key(0), (2, 2)), jnp.eye(3)[1]
    params = adding.init(jax.random.key(1), a, b)
    kernels = [params[name]["params"]["heads"]["features"]["kernel"] for name in ("first", "second")]
    whole = both.init(jax.random.key(2), a, b)
    whole["params"]["Dense_0"]["kernel"] = jnp.concatenate(kernels)
    whole["params"]["heads"] = params["then"]["params"]["heads"]
    np.testing.assert_allclose(adding.apply(params, a, b)["out"], both.apply(whole, a, b)["out"], rtol=1e-5)


def test_features_are_drawn_afresh():
    posterior, label = Normal(jnp.array([1.0, -2.0]), jnp.array([-1.0, 0.5])), jnp.array(4, jnp.int32)
    draws, labels = jax.vmap(lambda key: drawn_features(key, (posterior, label)))(
        jax.random.split(jax.random.key(0), 5000)
    )
    assert_mean(draws, posterior.mean)
    draws, mean = np.asarray(draws), np.asarray(posterior.mean)
    assert_mean((draws - mean) ** 2, np.exp([-2.0, 1.0]))
    assert np.all(labels == 4)
