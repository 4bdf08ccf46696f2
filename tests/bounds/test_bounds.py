from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy
from rows import first
from standard_errors import assert_mean, assert_same_mean

from jaxvae import bounds, networks
from jaxvae.bounds import batched, elbo, iwae_bound
from jaxvae.distributions import Bernoulli, Normal
from jaxvae.draws import doubly_reparameterized, pathwise
from jaxvae.evaluation import log_likelihood
from jaxvae.model import Terms, autoencoder, standard_normal, vae
from jaxvae.models import linear
from jaxvae.networks import conv_decoder, conv_encoder, mlp


def image_vae(encoder, decoder, shape):
    outputs = Bernoulli.parameters(shape)
    return vae(encoder=encoder(Normal.parameters((2,))), decoder=decoder(outputs), prior=standard_normal((2,)))


MODELS = {  # name: (model, shape of an example)
    "mlp": (image_vae(partial(mlp, (5,)), partial(mlp, (5,)), (4, 3, 1)), (4, 3, 1)),
    "conv": (
        image_vae(partial(conv_encoder, (4,), normalise=True), partial(conv_decoder, (4,), normalise=True), (5, 3, 1)),
        (5, 3, 1),
    ),
    "linear": (linear.linear_vae(latent=2), (6,)),
    "doubly reparameterised": (linear.linear_vae(latent=2, draw=doubly_reparameterized), (6,)),
    "autoencoder": (autoencoder(encoder=mlp((5,), {"value": (2,)}), decoder=mlp((5,), {"logits": (6,)})), (6,)),
}
BOUNDS = {"elbo": elbo, "iwae_bound": iwae_bound, "log_likelihood": log_likelihood}
REFUSED = {
    ("autoencoder", "iwae_bound"): "no importance weights",
    ("autoencoder", "log_likelihood"): "no importance weights",
    ("doubly reparameterised", "elbo"): "belongs to iwae_bound",
}
QUICK = [
    ("mlp", "iwae_bound"),
    ("conv", "elbo"),
    ("linear", "log_likelihood"),
    ("doubly reparameterised", "iwae_bound"),
    ("autoencoder", "elbo"),
]
ALL = [(model, bound) for model in MODELS for bound in BOUNDS if (model, bound) not in REFUSED]
TABLE = QUICK + [pair for pair in ALL if pair not in QUICK]


def params_and_examples(model, shape, batch=3):
    xs = jnp.asarray(np.random.default_rng(0).integers(0, 2, (batch, *shape)), jnp.float32)
    return jax.jit(model.init)(jax.random.key(0), xs[0]), xs


@pytest.mark.parametrize(("model_name", "bound_name"), first(len(QUICK), TABLE))
def test_jitted_and_batched_is_eager_and_looped_and_compiles_once(model_name, bound_name):
    model, shape = MODELS[model_name]
    bound, key = BOUNDS[bound_name], jax.random.key(1)
    params, xs = params_and_examples(model, shape)
    traces = 0

    def counted(*arguments):
        nonlocal traces
        traces += 1
        return model.terms(*arguments)

    counting = model._replace(terms=counted)
    of_batch = batched(bound)
    values = of_batch(counting, key, params, xs, num_samples=2)
    assert values.shape == (3,)
    traces_of_one_shape = traces
    of_batch(counting, jax.random.key(2), jax.tree.map(lambda leaf: leaf + 1, params), 1 - xs, num_samples=2)
    assert traces == traces_of_one_shape >= 1
    assert of_batch._cache_size() == 1

    # a loop over two of the three examples, neither jitted nor batched
    for i in (0, 2):
        looped = bound(model, jax.random.split(key, 3)[i], params, xs[i], num_samples=2)
        np.testing.assert_allclose(values[i], looped, rtol=2e-5)


def test_another_shape_or_number_of_samples_compiles_again():
    model, shape = MODELS["linear"]
    params, xs = params_and_examples(model, shape)
    of_batch = batched(elbo)
    for examples, num_samples, expected in ((xs, 1, 1), (xs[:2], 1, 2), (xs, 3, 3), (xs[:2], 1, 3)):
        of_batch(model, jax.random.key(0), params, examples, num_samples=num_samples)
        assert of_batch._cache_size() == expected


@pytest.mark.parametrize(("model_name", "bound_name"), REFUSED)
def test_refusals_are_sentences(model_name, bound_name):
    model, shape = MODELS[model_name]
    params, xs = params_and_examples(model, shape)
    with pytest.raises(ValueError, match=REFUSED[model_name, bound_name]):
        batched(BOUNDS[bound_name])(model, jax.random.key(0), params, xs, num_samples=2)


@pytest.mark.parametrize("num_samples", [0, -1])
@pytest.mark.parametrize("bound", BOUNDS.values())
def test_less_than_one_sample_is_refused(bound, num_samples):
    model, shape = MODELS["linear"]
    params, xs = params_and_examples(model, shape)
    with pytest.raises(ValueError, match=f"num_samples={num_samples}"):
        bound(model, jax.random.key(0), params, xs[0], num_samples=num_samples)


@pytest.mark.parametrize(
    ("model_name", "bound_name"), first(4, [pair for pair in TABLE if pair[1] != "log_likelihood"])
)
def test_gradients_reach_every_parameter_and_are_finite(model_name, bound_name):
    model, shape = MODELS[model_name]
    params, xs = params_and_examples(model, shape)
    bound = batched(BOUNDS[bound_name])
    gradient = jax.grad(lambda p: jnp.mean(bound(model, jax.random.key(3), p, xs, num_samples=3)))(params)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.all(np.isfinite(leaf)), path
        if model_name != "conv":  # where a convolution's padding or a rectifier can leave a unit in the dark
            assert np.any(leaf != 0), path


def terms_of(seed=0, num_samples=7, groups=2):
    rng = np.random.default_rng(seed)
    return Terms(
        *(jnp.asarray(rng.normal(size=shape)) for shape in [(num_samples,), (num_samples, groups), (num_samples,)])
    )


def test_the_reductions_by_numpy(float64):
    terms = terms_of()
    log_likelihood, kl, log_weight = (np.asarray(field) for field in terms[:3])
    np.testing.assert_allclose(bounds.average(terms), np.mean(log_likelihood - kl.sum(axis=1)), rtol=1e-12)
    np.testing.assert_allclose(bounds.importance_weighted(terms), np.log(np.mean(np.exp(log_weight))), rtol=1e-12)
    with_feedback = terms._replace(feedback=jnp.zeros(7))
    np.testing.assert_allclose(
        bounds.importance_weighted(with_feedback), np.log(np.mean(np.exp(log_weight))), rtol=1e-12
    )


def test_weights_far_below_the_smallest_float():
    terms = terms_of()._replace(log_weight=jnp.array([-1e6, -1e6 + 1, -2e6]))
    for feedback in (None, jnp.zeros(3)):
        value, gradient = jax.value_and_grad(
            lambda weights, feedback: bounds.importance_weighted(terms._replace(log_weight=weights, feedback=feedback))
        )(terms.log_weight, feedback)
        np.testing.assert_allclose(value, -1e6, rtol=1e-6)
        np.testing.assert_allclose(gradient, scipy.special.softmax([-1.0, 0.0, -1e6]), rtol=1e-5)


def test_tempered_terms_by_hand(float64):
    """The weight in the loss scales what the latent costs, ln p(z) - ln q(z|x), and leaves ln p(x|z) alone."""
    terms = terms_of()
    tempered = bounds.temper(terms, jnp.asarray(0.25))
    np.testing.assert_array_equal(tempered.log_likelihood, terms.log_likelihood)
    np.testing.assert_allclose(tempered.kl, 0.25 * np.asarray(terms.kl))
    latent_part = np.asarray(terms.log_weight) - np.asarray(terms.log_likelihood)
    np.testing.assert_allclose(tempered.log_weight, np.asarray(terms.log_likelihood) + 0.25 * latent_part)
    for one, other in zip(bounds.temper(terms, jnp.asarray(1.0))[:3], terms[:3], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    assert bounds.temper(terms._replace(log_weight=None), jnp.asarray(0.5)).log_weight is None


def test_draws_are_independent_and_the_samples_axis_is_first():
    model, shape = MODELS["linear"]
    params, xs = params_and_examples(model, shape)
    terms = jax.jit(partial(bounds.draw_terms, model, num_samples=5))(jax.random.key(0), params, xs[0])
    assert (terms.log_likelihood.shape, terms.kl.shape, terms.log_weight.shape) == ((5,), (5, 1), (5,))
    assert len(np.unique(terms.log_weight)) == 5
    np.testing.assert_allclose(terms.kl, terms.kl[0, 0], rtol=1e-6)  # closed: the same for every draw


def test_examples_of_a_batch_have_independent_draws():
    model, shape = MODELS["linear"]
    params, xs = params_and_examples(model, shape)
    values = bounds.batched_elbo(model, jax.random.key(0), params, jnp.tile(xs[:1], (5, 1)))
    assert len(np.unique(values)) == 5


def test_more_draws_average_the_elbo_and_raise_the_importance_weighted_bound():
    model, shape = MODELS["linear"]
    params, xs = params_and_examples(model, shape)
    params["encoder"]["log_scale"] += 0.5
    xs = jnp.tile(xs[:1], (4000, 1))

    def values(bound, num_samples):
        return np.asarray(bound(model, jax.random.key(num_samples), params, xs, num_samples=num_samples))

    assert_same_mean(values(bounds.batched_elbo, 1), values(bounds.batched_elbo, 10))
    assert_same_mean(values(bounds.batched_elbo, 1), values(bounds.batched_iwae_bound, 1))
    truth = float(linear.log_marginal(params, xs[0]))
    gaps, errors = [], []
    for num_samples in (1, 2, 5, 50):
        log_ratio = np.asarray(values(bounds.batched_iwae_bound, num_samples), float) - truth
        assert_mean(np.exp(log_ratio), 1)  # the weights' mean is p(x), whatever k is
        gap = np.expm1(log_ratio) - log_ratio  # with that as a control variate
        gaps.append(gap.mean())
        errors.append(gap.std() / np.sqrt(len(gap)))
    assert np.all(-np.diff(gaps) > 5 * np.hypot(errors[1:], errors[:-1]))
    assert gaps[-1] > 5 * errors[-1]


@pytest.mark.parametrize("at_once", first(2, [3, 50, 1, 7]))
@pytest.mark.parametrize("draw", [pathwise, doubly_reparameterized])
def test_draws_a_few_at_a_time_are_the_same_draws(at_once, draw, float64):
    model = linear.linear_vae(latent=2, draw=draw)
    x = jnp.arange(3.0)
    params = jax.tree.map(lambda leaf: leaf.astype(float), model.init(jax.random.key(0), x))

    @partial(jax.jit, static_argnames="at_once")
    def bound_and_gradient(params, at_once):
        def bound(params):
            terms = bounds.draw_terms(model, jax.random.key(1), params, x, num_samples=7, at_once=at_once)
            return bounds.importance_weighted(terms)

        return jax.value_and_grad(bound)(params)

    found, expected = bound_and_gradient(params, at_once), bound_and_gradient(params, None)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


@pytest.mark.slow
def test_the_memory_of_a_gradient_does_not_grow_with_the_draws_when_few_are_held():
    model, x = image_vae(partial(mlp, (16,)), partial(mlp, (256,)), (32,)), jnp.zeros(32)
    params = model.init(jax.random.key(0), x)

    def temporary_bytes(num_samples, at_once):
        def bound(params):
            terms = bounds.draw_terms(model, jax.random.key(1), params, x, num_samples=num_samples, at_once=at_once)
            return bounds.importance_weighted(terms)

        return jax.jit(jax.grad(bound)).lower(params).compile().memory_analysis().temp_size_in_bytes

    assert temporary_bytes(5000, 50) < 3 * temporary_bytes(500, 50)
    assert temporary_bytes(5000, 50) < temporary_bytes(5000, None) / 10


def test_less_than_one_draw_at_once_is_refused():
    model = linear.linear_vae(latent=1)
    params = model.init(jax.random.key(0), jnp.zeros(2))
    with pytest.raises(ValueError, match="at_once=0 must be at least one draw"):
        bounds.draw_terms(model, jax.random.key(0), params, jnp.zeros(2), num_samples=3, at_once=0)


def test_the_encoder_runs_once_whatever_the_number_of_draws():
    """Operations counted by the compiler: a large encoder and a small decoder make 50 draws cheap."""
    encoder = networks.mlp((400,), Normal.parameters((2,)))
    model = vae(encoder=encoder, decoder=mlp((4,), {"logits": (64,)}), prior=standard_normal((2,)))
    params, xs = params_and_examples(model, (64,))

    def operations(num_samples):
        bound = jax.jit(partial(iwae_bound, model, num_samples=num_samples))
        return bound.lower(jax.random.key(0), params, xs[0]).compile().cost_analysis()["flops"]

    encoder_alone = 2 * 64 * 400
    assert operations(1) > encoder_alone
    assert operations(50) - operations(1) < 0.9 * 49 * encoder_alone


def test_a_model_of_ones_own_needs_only_terms():
    """k draws of an exponential weight: the bounds are reductions, and know nothing of networks."""

    def terms(key, params, x):
        return Terms(jnp.sum(x), params[None], jax.random.normal(key))

    model = linear.linear_vae(latent=1)._replace(terms=terms)
    x, params = jnp.array([1.0, 2.0]), jnp.asarray(0.5)
    np.testing.assert_allclose(elbo(model, jax.random.key(0), params, x, num_samples=3), 2.5)
    values = bounds.batched_iwae_bound(model, jax.random.key(0), params, jnp.zeros((20, 2)), num_samples=2000)
    assert_mean(np.exp(values), np.exp(0.5))
