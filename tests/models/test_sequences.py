"""Models of sequences are exact where they are linear: Kalman's likelihood, and the recurrent network's own."""

from dataclasses import dataclass
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import multivariate_normal
from scipy import stats
from standard_errors import assert_mean, assert_same_mean

from jaxvae import batched_elbo, elbo, iwae_bound, networks, vae
from jaxvae.distributions import Bernoulli, Normal
from jaxvae.evaluation import log_likelihood, prior_log_likelihood
from jaxvae.models import Chain, Sequence, deep_markov, given, variational_recurrent
from jaxvae.models.chain import keys_of
from jaxvae.priors import learned
from jaxvae.types import Network

# z_t = A z_{t-1} + B x_{t-1} + N(0, Q),    x_t = C z_t + N(0, r² I)
A = np.array([[0.8, 0.3], [-0.4, 0.7]])
B = np.array([[0.5, -0.2, 0.1], [0.0, 0.3, -0.4]])
C = np.array([[1.0, 0.2], [-0.5, 0.9], [0.3, 0.3]])
Q = np.array([0.5, 0.3])  # a diagonal
NOISE = 0.6
START = np.array([0.7, -1.1])
LENGTH = 5


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Gaussian:
    """With any covariance: the posterior's form in a linear model."""

    mean: jax.Array
    covariance: jax.Array

    def sample(self, key):
        return self.mean + jnp.linalg.cholesky(self.covariance) @ jax.random.normal(key, self.mean.shape)

    def log_prob(self, value):
        return multivariate_normal.logpdf(value, self.mean, self.covariance)

    def expectation(self):
        return self.mean


def fixed(apply):
    """A network without parameters."""
    return Network(lambda key, *inputs: {}, lambda params, *inputs: apply(*inputs))


def diagonal(mean, scale):
    return {"mean": mean, "log_scale": jnp.log(scale) * jnp.ones_like(mean)}


def emit(z):
    return diagonal(jnp.asarray(C) @ z, NOISE)


def move(z):
    return diagonal(jnp.asarray(A) @ z, jnp.sqrt(jnp.asarray(Q)))


def future(values, mask):
    """p(x_t, ..., x_T | z_t) ∝ exp(-½ zᵀ Λ_t z + η_tᵀ z), by the information filter that goes back."""
    precision = jnp.asarray(np.diag(1 / Q))

    def one(carry, inputs):
        ahead, shift_ahead = carry
        x, there = inputs
        now = ahead + there * jnp.asarray(C.T @ C / NOISE**2)
        shift = shift_ahead + there * jnp.asarray(C.T / NOISE**2) @ x
        gain = now @ jnp.linalg.inv(precision + now)
        before = jnp.asarray(A.T) @ (now - gain @ now) @ jnp.asarray(A)
        return (before, jnp.asarray(A.T) @ (shift - gain @ shift)), (now, shift)

    return jax.lax.scan(one, (jnp.zeros((2, 2)), jnp.zeros(2)), (values, mask), reverse=True)[1]


def smooth(before, heard):
    information, shift = heard
    precision = jnp.asarray(np.diag(1 / Q))
    covariance = jnp.linalg.inv(precision + information)
    return {"mean": covariance @ (precision @ jnp.asarray(A) @ before + shift), "covariance": covariance}


def poorly(before, heard):
    """Listens to the present only, and is too wide."""
    return diagonal(0.6 * jnp.asarray(A) @ before + 0.4 * heard, 0.8)


def linear_model(combiner=smooth, posterior=Gaussian, reader=future):
    return deep_markov(
        transition=fixed(move),
        reader=fixed(reader),
        combiner=fixed(combiner),
        decoder=fixed(emit),
        latent=(2,),
        length=LENGTH,
        posterior=posterior,
        likelihood=Normal,
    )


def poor_model():
    return linear_model(poorly, Normal, lambda values, mask: values @ jnp.asarray(C))


def of_linear(start=START):
    prior = {"start": jnp.asarray(start), "transition": {}}
    return {"prior": prior, "encoder": {"reader": {}, "combiner": {}}, "decoder": {}}


def joint(length, feedback=0.0):
    """The mean and covariance of (z_1, ..., z_T) and of (x_1, ..., x_T), as sums of all the noise before them."""
    inner = A + feedback * B @ C  # x_{t-1} = C z_{t-1} + noise
    size = 2 * length
    shape = np.zeros((size, size + 3 * length))  # z = mean + shape @ noise, noise (w, v) with the scales below
    mean, now, state = [], np.zeros((2, size + 3 * length)), START
    for t in range(length):
        previous_noise = np.zeros((3, size + 3 * length))
        if t:
            previous_noise[:, size + 3 * (t - 1) : size + 3 * t] = np.eye(3)
        now = inner @ now + feedback * B @ previous_noise if t else now
        now[:, 2 * t : 2 * t + 2] += np.eye(2)
        state = inner @ state if t else A @ state
        shape[2 * t : 2 * t + 2] = now
        mean.append(state)
    scales = np.concatenate([np.tile(np.sqrt(Q), length), np.full(3 * length, NOISE)])
    of_x = np.kron(np.eye(length), C) @ shape
    of_x[:, size:] += np.eye(3 * length)
    mean_z = np.concatenate(mean)
    mean_x = np.kron(np.eye(length), C) @ mean_z
    return mean_z, (shape * scales) @ (shape * scales).T, mean_x, (of_x * scales) @ (of_x * scales).T


def log_evidence(x, feedback=0.0):
    _, _, mean, covariance = joint(len(x), feedback)
    return stats.multivariate_normal(mean, covariance).logpdf(np.asarray(x).reshape(-1))


def by_kalman(x):
    """The same by the filter: the sum of the densities of the innovations."""
    mean, covariance, total = START, np.zeros((2, 2)), 0.0
    for value in np.asarray(x):
        mean, covariance = A @ mean, A @ covariance @ A.T + np.diag(Q)
        innovation = C @ covariance @ C.T + NOISE**2 * np.eye(3)
        total += stats.multivariate_normal(C @ mean, innovation).logpdf(value)
        gain = covariance @ C.T @ np.linalg.inv(innovation)
        mean, covariance = mean + gain @ (value - C @ mean), covariance - gain @ C @ covariance
    return total


def seen(length=LENGTH, seed=0):
    return np.random.default_rng(seed).normal(size=(length, 3))


def whole(values, padding=0, fill=0.0):
    mask = np.concatenate([np.ones(len(values)), np.zeros(padding)])
    values = np.concatenate([values, np.full((padding, *values.shape[1:]), fill)])
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, float), Sequence(values, mask))


def many(model, params, x, count):
    keys = jax.random.split(jax.random.key(1), count)
    return jax.jit(jax.vmap(lambda key: model.terms(key, params, x)))(keys)


@pytest.mark.parametrize(("length", "padding"), [(1, 0), (5, 0), (5, 3)])
def test_at_the_exact_smoother_every_draw_gives_kalmans_likelihood(float64, length, padding):
    values = seen(length)
    truth = log_evidence(values)
    assert by_kalman(values) == pytest.approx(truth, abs=1e-10)
    terms = many(linear_model(), of_linear(), whole(values, padding), 20)
    np.testing.assert_allclose(terms.log_weight, truth, rtol=0, atol=1e-8)
    np.testing.assert_allclose(terms.log_likelihood - terms.kl[:, 0], truth, rtol=0, atol=1e-8)
    assert np.std(terms.log_likelihood) > 0.1  # the draws differ


def test_importance_weighting_rises_to_kalmans_likelihood():
    values = seen()
    model, params, x = poor_model(), jax.tree.map(jnp.float32, of_linear()), whole(values)
    truth = log_evidence(values)
    draws = many(model, params, x, 20_000)
    assert_mean(np.exp(np.asarray(draws.log_weight, np.float64) - truth), 1.0)
    weights = np.asarray(draws.log_weight, np.float64)
    bounds = [np.log(np.mean(np.exp(weights.reshape(-1, k)), axis=1)) for k in (1, 10, 100)]
    means, errors = [row.mean() for row in bounds], [row.std(ddof=1) / np.sqrt(len(row)) for row in bounds]
    assert truth - means[0] > 1
    for index in (0, 1):
        assert means[index + 1] - means[index] > 5 * np.hypot(errors[index], errors[index + 1])
    assert means[2] < truth + 5 * errors[2]
    assert truth - means[2] < 0.1 * (truth - means[0])
    # the library's own bound, and its closed divergence, on other draws
    keys = jax.random.split(jax.random.key(5), 200)
    library = jax.jit(jax.vmap(lambda key: iwae_bound(model, key, params, x, num_samples=100)))(keys)
    assert_same_mean(library, bounds[2])
    assert_mean(draws.log_likelihood - draws.kl[:, 0] - draws.log_weight, 0.0)
    assert float(log_likelihood(model, jax.random.key(2), params, x, num_samples=20_000)) == pytest.approx(
        truth, abs=0.1
    )


def test_the_prior_of_a_deep_markov_model_is_the_gaussian_of_its_paths(float64):
    model, params = linear_model(), of_linear()
    mean, covariance, mean_x, covariance_x = joint(LENGTH)
    prior = model.prior(params)
    keys = jax.random.split(jax.random.key(0), 20_000)
    drawn = jax.jit(jax.vmap(prior.sample))(keys)
    assert drawn.z.shape == (20_000, LENGTH, 2)
    assert np.all(drawn.condition == 1)
    density = stats.multivariate_normal(mean, covariance)
    paths = np.asarray(drawn.z).reshape(20_000, -1)
    np.testing.assert_allclose(jax.vmap(prior.log_prob)(drawn)[:50], density.logpdf(paths[:50]), atol=1e-9)
    assert_mean(paths, mean)
    assert_mean(np.einsum("ni,nj->nij", paths - mean, paths - mean), covariance)
    xs = np.asarray(jax.jit(jax.vmap(model.sample, (0, None)))(keys, params).values).reshape(20_000, -1)
    assert_mean(xs, mean_x)
    assert_mean(np.einsum("ni,nj->nij", xs - mean_x, xs - mean_x), covariance_x)


def test_the_likelihood_averaged_over_paths_of_the_prior_is_kalmans():
    values = seen(3)
    model, params = linear_model(), jax.tree.map(jnp.float32, of_linear())
    estimate = partial(prior_log_likelihood, model, params=params, x=whole(values, 2), num_samples=1000)
    found = jax.jit(jax.vmap(lambda key: estimate(key)))(jax.random.split(jax.random.key(0), 50))
    assert_mean(np.exp(np.asarray(found, np.float64) - log_evidence(values)), 1.0)


# The variational recurrent network, linear: h_t = (z_t, x_t).


def linear_recurrent(transition=1.0, feedback=1.0):
    """Its filter knows x_t and h_{t-1}, the future not: exact where z_t does not depend on z_{t-1}."""

    def expected(h):
        return transition * jnp.asarray(A) @ h[:2] + feedback * jnp.asarray(B) @ h[2:]

    def listen(h, x):
        covariance = jnp.asarray(np.linalg.inv(np.diag(1 / Q) + C.T @ C / NOISE**2))
        shift = jnp.asarray(np.diag(1 / Q)) @ expected(h) + jnp.asarray(C.T / NOISE**2) @ x
        return {"mean": covariance @ shift, "covariance": covariance}

    return variational_recurrent(
        features_x=fixed(lambda x: x),
        features_z=fixed(lambda z: z),
        prior=fixed(lambda h: diagonal(expected(h), jnp.sqrt(jnp.asarray(Q)))),
        encoder=fixed(listen),
        decoder=fixed(lambda h, z: emit(z)),
        recurrence=fixed(lambda h, z, x: jnp.concatenate([z, x])),
        state=(5,),
        length=LENGTH,
        posterior=Gaussian,
        likelihood=Normal,
    )


def of_linear_recurrent():
    start = jnp.asarray(np.concatenate([START, np.zeros(3)]))
    recurrence = {"start": start, "features_x": {}, "features_z": {}, "cell": {}}
    return {"prior": {}, "encoder": {}, "decoder": {}, "recurrence": recurrence}


def test_a_recurrent_filter_is_exact_where_the_past_is_seen(float64):
    """z_t = B x_{t-1} + noise: then p(x_t | x_{t-1}) = N(C B x_{t-1}, C Q Cᵀ + r² I)."""
    values, before = seen(), np.zeros(3)
    covariance, truth = C @ np.diag(Q) @ C.T + NOISE**2 * np.eye(3), 0.0
    for value in values:
        truth += stats.multivariate_normal(C @ B @ before, covariance).logpdf(value)
        before = value
    terms = many(linear_recurrent(transition=0.0), of_linear_recurrent(), whole(values, 2, 7.0), 20)
    np.testing.assert_allclose(terms.log_weight, truth, rtol=0, atol=1e-8)
    assert np.std(terms.log_likelihood) > 0.1


def test_the_weights_of_a_recurrent_model_average_to_kalmans_likelihood(float64):
    values = seen()
    terms = many(linear_recurrent(), of_linear_recurrent(), whole(values), 20_000)
    assert_mean(np.exp(terms.log_weight - log_evidence(values, feedback=1.0)), 1.0)


def test_sequences_drawn_from_a_recurrent_model_have_its_covariance(float64):
    keys = jax.random.split(jax.random.key(0), 20_000)
    drawn = jax.jit(jax.vmap(linear_recurrent().sample, (0, None)))(keys, of_linear_recurrent())
    _, _, mean, covariance = joint(LENGTH, feedback=1.0)
    assert drawn.mask.shape == (20_000, LENGTH)
    xs = np.asarray(drawn.values).reshape(20_000, -1)
    assert_mean(xs, mean)
    assert_mean(np.einsum("ni,nj->nij", xs - mean, xs - mean), covariance)


def test_a_decoder_that_ignores_z_is_a_recurrent_network(float64):
    rng = np.random.default_rng(3)
    U, W, V = rng.normal(size=(4, 4)), rng.normal(size=(4, 3)), rng.normal(size=(3, 4))
    same = fixed(lambda h: diagonal(h[:2], 0.7))
    model = variational_recurrent(
        features_x=fixed(lambda x: jnp.asarray(W) @ x),
        features_z=fixed(lambda z: z),
        prior=same,
        encoder=fixed(lambda h, heard: same.apply({}, h)),
        decoder=fixed(lambda h, z: {"logits": jnp.asarray(V) @ h}),
        recurrence=fixed(lambda h, z, heard: jnp.tanh(jnp.asarray(U) @ h + heard)),
        state=(4,),
        length=6,
    )
    values, h, truth = rng.integers(0, 2, (6, 3)), np.zeros(4), 0.0
    for value in values:
        truth += stats.bernoulli(1 / (1 + np.exp(-V @ h))).logpmf(value).sum()
        h = np.tanh(U @ h + W @ value)
    x = whole(values, 2)
    terms = many(model, model.init(jax.random.key(0), x), x, 10)
    np.testing.assert_allclose(terms.log_weight, truth, atol=1e-10)
    np.testing.assert_allclose(terms.kl, 0, atol=1e-12)


# Networks, and what holds whatever they are.


@cache
def markov():
    parts = networks.markov_networks(2, Bernoulli.parameters((3,)), hidden=5, width=4)
    return deep_markov(**parts._asdict(), latent=(2,), length=7)


@cache
def recurrent():
    parts = networks.recurrent_networks(2, Bernoulli.parameters((3,)), width=4)
    return variational_recurrent(**parts._asdict(), state=(4,), length=7)


BOTH = pytest.mark.parametrize("make", [markov, recurrent])


def bits(length, padding=0, seed=0, fill=0.0):
    return whole(np.random.default_rng(seed).integers(0, 2, (length, 3)), padding, fill)


@cache
def started(model):
    """Params at which the steps matter to each other, with a start that is not zero."""
    params = jax.jit(model.init)(jax.random.key(0), bits(4))
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    moved = [leaf + 0.3 * jax.random.normal(key, leaf.shape) for leaf, key in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(tree, moved)


@BOTH
def test_padding_changes_nothing_whatever_it_holds(make):
    model = make()
    params = started(model)
    short = jax.jit(model.terms)(jax.random.key(3), params, bits(5))
    for fill in (0.0, 1.0, np.nan):
        padded = jax.jit(model.terms)(jax.random.key(3), params, bits(5, 4, fill=fill))
        jax.tree.map(partial(np.testing.assert_allclose, rtol=2e-6), padded, short)
    longer = jax.jit(model.terms)(jax.random.key(3), params, bits(9))
    assert float(longer.log_likelihood) != pytest.approx(float(short.log_likelihood), rel=1e-3)


@BOTH
@pytest.mark.parametrize("kind", [bool, np.uint8, np.float32])
def test_a_mask_may_be_of_any_kind(make, kind):
    model = make()
    params, x = started(model), bits(5, 2)
    found = jax.jit(model.terms)(jax.random.key(3), params, x._replace(mask=x.mask.astype(kind)))
    assert float(found.log_weight) == float(jax.jit(model.terms)(jax.random.key(3), params, x).log_weight)


@BOTH
def test_the_weight_is_the_densities_of_the_parts(make):
    """log w = ln p(x|z) + ln p(z) - ln q(z|x) of the distributions that the model hands out, at the same draw."""
    model, x = make(), bits(5, 2)
    params = started(model)

    @jax.jit
    def by_parts(key):
        posterior, prior = model.posterior(params, x), model.prior(params)
        latent = posterior.sample(key)
        return (
            model.likelihood(params, latent).log_prob(x) + prior.log_prob(latent) - posterior.log_prob(latent),
            given(model, latent.condition).prior(params).log_prob(latent.z) - prior.log_prob(latent),
        )

    weight, nothing = by_parts(jax.random.key(3))
    assert float(weight) == pytest.approx(float(model.terms(jax.random.key(3), params, x).log_weight), rel=1e-5)
    assert float(nothing) == 0


@BOTH
def test_one_step_is_a_variational_auto_encoder(make):
    model, x = make(), bits(1, seed=4)
    params = started(model)
    if make is markov:
        parts = networks.markov_networks(2, Bernoulli.parameters((3,)), hidden=5, width=4)
        start = params["prior"]["start"]
        of_prior = parts.transition.apply(params["prior"]["transition"], start)

        def encode(own, x):
            heard = parts.reader.apply(own["reader"], x[None], jnp.ones(1))
            return parts.combiner.apply(own["combiner"], start, heard[0])

        decoder = parts.decoder
    else:
        parts = networks.recurrent_networks(2, Bernoulli.parameters((3,)), width=4)
        own = params["recurrence"]
        of_prior = parts.prior.apply(params["prior"], own["start"])

        def encode(encoder, x):
            return parts.encoder.apply(encoder, own["start"], parts.features_x.apply(own["features_x"], x))

        def decode(decoder, z):
            return parts.decoder.apply(decoder, own["start"], parts.features_z.apply(own["features_z"], z))

        decoder = Network(lambda key, z: {}, decode)
    plain = vae(encoder=Network(lambda key, x: {}, encode), decoder=decoder, prior=learned(Normal, (2,)))
    of_plain = {"prior": of_prior, "encoder": params["encoder"], "decoder": params["decoder"]}
    key = jax.random.key(9)
    expected = plain.terms(keys_of(key, 1)[0], of_plain, x.values[0])
    found = model.terms(key, params, x)
    for name in ("log_likelihood", "kl", "log_weight"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-6)
    alone, wide = model.posterior(params, x).expectation().z, plain.posterior(of_plain, x.values[0]).expectation()
    np.testing.assert_allclose(alone[0], wide, rtol=1e-6)


def test_without_a_transition_the_steps_are_independent_auto_encoders():
    encoder = networks.mlp((4,), Normal.parameters((2,)))
    decoder = networks.mlp((4,), Bernoulli.parameters((3,)))
    standard = {"mean": jnp.zeros(2), "log_scale": jnp.zeros(2)}
    model = deep_markov(
        transition=fixed(lambda z: standard),
        reader=fixed(lambda values, mask: values),
        combiner=Network(lambda key, z, x: encoder.init(key, x), lambda params, z, x: encoder.apply(params, x)),
        decoder=decoder,
        latent=(2,),
        length=6,
    )
    plain = vae(encoder=encoder, decoder=decoder, prior=learned(Normal, (2,)))
    x = bits(6)
    params = model.init(jax.random.key(0), x)
    of_plain = {"prior": standard, "encoder": params["encoder"]["combiner"], "decoder": params["decoder"]}
    key = jax.random.key(2)
    each = jax.vmap(plain.terms, (0, None, 0))(keys_of(key, 6), of_plain, x.values)
    found = model.terms(key, params, x)
    jax.tree.map(lambda one, all_steps: np.testing.assert_allclose(one, all_steps.sum(0), rtol=2e-6), found, each)


@BOTH
def test_jitted_is_eager(make):
    model, x = make(), bits(4, 2)
    params = started(model)
    eager = model.terms(jax.random.key(3), params, x)
    compiled = jax.jit(model.terms)(jax.random.key(3), params, x)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5), compiled, eager)


@BOTH
def test_gradients_are_finite_and_those_without_padding(make):
    model = make()
    params = started(model)
    gradient = jax.jit(jax.grad(lambda params, x: elbo(model, jax.random.key(3), params, x)))
    padded = gradient(params, bits(4, 2, fill=np.nan))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), padded, gradient(params, bits(4)))
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(padded))
    large = gradient(jax.tree.map(partial(jnp.multiply, 100.0), params), bits(4))  # scales without a floor vanish
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(large))


@BOTH
def test_a_batch_of_all_lengths_compiles_once(make):
    model = make()
    params = started(model)
    xs = jax.tree.map(lambda *rows: jnp.stack(rows), bits(6), bits(2, 4), bits(4, 2), bits(1, 5))
    traced = []
    counted = model._replace(terms=lambda key, params, x: (traced.append(1), model.terms(key, params, x))[1])
    for seed in range(3):
        found = batched_elbo(counted, jax.random.key(seed), params, xs, num_samples=2)
    assert found.shape == (4,)
    assert len(traced) == 1
    for key, row, value in zip(jax.random.split(jax.random.key(2), 4), range(4), found, strict=True):
        x = jax.tree.map(lambda leaf: leaf[row], xs)  # noqa: B023
        assert float(jax.jit(partial(elbo, model, num_samples=2))(key, params, x)) == pytest.approx(
            float(value), rel=1e-5
        )


@BOTH
def test_new_sequences_have_the_length_that_was_stated(make):
    model = make()
    drawn = jax.jit(model.sample)(jax.random.key(0), started(model))
    assert drawn.values.shape == (7, 3)
    assert np.all(drawn.mask == 1)
    assert set(np.unique(drawn.values)) <= {0, 1}


def test_a_recurrent_models_prior_needs_the_sequence():
    model, x = recurrent(), bits(5, 2)
    params = started(model)
    prior = model.prior(params)
    assert isinstance(prior.given(x), Chain)
    assert prior.given(x).sample(jax.random.key(0)).shape == (7, 2)
    with pytest.raises(ValueError, match="no distribution of its condition to draw from"):
        prior.sample(jax.random.key(0))
    latent = model.posterior(params, x).sample(jax.random.key(0))
    expected = model.likelihood(params, latent).expectation()
    assert expected.values.shape == (7, 3)
    assert model.likelihood(params, latent).sample(jax.random.key(1)).values.shape == (7, 3)
