"""Adversarial variational Bayes at its best discriminator, where its estimates are the truth."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats
from jax.flatten_util import ravel_pytree
from rows import first
from standard_errors import assert_mean

from jaxvae.bounds import average, elbo
from jaxvae.distributions import FullNormal, Normal, NormalMixture, closed_kl
from jaxvae.losses import (
    Contrast,
    adversarial_bayes,
    beside_discriminator,
    estimating,
    negative_bound,
    optimizer_of_players,
    with_moments,
)
from jaxvae.model import standard_normal, vae
from jaxvae.models import linear, reading_both
from jaxvae.networks import mlp
from jaxvae.training import make_step, start
from jaxvae.types import Network

LINEAR, BATCH = linear.linear_vae(latent=2), 4
XS = jax.random.normal(jax.random.key(7), (BATCH, 3))
STEP = jnp.array(0)


def knowing(logit):
    """A discriminator without params, that knows."""
    return Network(lambda key, x, z: {}, lambda params, x, z: {"logit": logit(x, z)})


def of_any_image(posterior):
    """A model whose posterior is the same for every image, with what it is made of for its encoder's params."""
    fields = {name: getattr(posterior, name) for name in posterior.__dataclass_fields__}
    return vae(
        encoder=Network(lambda key, x: fields, lambda params, x: params),
        decoder=Network(lambda key, z: {}, lambda params, z: {"logits": jnp.zeros(3) + 0.0 * jnp.sum(z)}),
        prior=standard_normal(posterior.expectation().shape),
        posterior=type(posterior),
    )


def losses_of_discriminators(loss, params, *, batches=200, size=64):
    xs = jnp.ones((size, 3))

    def of_batch(key):
        def value(of):
            return loss(jax.random.split(key, size), params | {"discriminator": of}, (), xs, STEP)

        gradient, (_, metrics) = jax.grad(value, has_aux=True)(params["discriminator"])
        return metrics["discriminator_loss"], ravel_pytree(gradient)[0]

    return jax.jit(jax.vmap(of_batch))(jax.random.split(jax.random.key(0), batches))


# --- the best discriminator between Gaussians

MEAN, ROOT = np.array([0.7, -0.4]), np.array([[0.6, 0.0], [0.5, 1.2]])


def quadratic(of, x, z):
    return {"logit": z @ of["a"] @ z + of["b"] @ z + of["c"]}


def best_of(mean, covariance):
    """ln N(z; m, S) - ln N(z; 0, I)."""
    precision = np.linalg.inv(covariance)
    constant = -0.5 * mean @ precision @ mean - 0.5 * np.linalg.slogdet(covariance)[1]
    best = {"a": 0.5 * (np.eye(2) - precision), "b": precision @ mean, "c": np.asarray(constant)}
    return {name: jnp.asarray(value, jnp.float32) for name, value in best.items()}


def jensen_shannon(mean, covariance):
    """Of N(m, S) and N(0, I) in the plane, by the trapezoidal rule, which is exact for what is smooth and dies out."""
    line = np.linspace(-10, 10, 801)
    points = np.stack(np.meshgrid(line, line), axis=-1)
    q, p = scipy.stats.multivariate_normal(mean, covariance), scipy.stats.multivariate_normal(np.zeros(2))
    log_q, log_p = q.logpdf(points), p.logpdf(points)
    log_half = np.logaddexp(log_q, log_p) - np.log(2)
    density = 0.5 * np.exp(log_q) * (log_q - log_half) + 0.5 * np.exp(log_p) * (log_p - log_half)
    return density.sum() * (line[1] - line[0]) ** 2


def planar(mean, covariance):
    posterior = gaussian(mean, covariance)
    best = best_of(mean, covariance)
    contrast = Contrast(Network(lambda key, x, z: best, quadratic))
    model = estimating(of_any_image(posterior), contrast)
    return model, contrast, jax.jit(model.init)(jax.random.key(0), jnp.ones(3))


def gaussian(mean, covariance):
    """In the plane, with these moments."""
    root = np.linalg.cholesky(covariance)
    return FullNormal(
        jnp.asarray(mean, jnp.float32),
        jnp.asarray(np.log(np.diagonal(root)), jnp.float32),
        jnp.asarray([10 * root[1, 0] / root[1, 1]], jnp.float32),
    )


def test_the_best_discriminator_of_gaussians_is_quadratic_and_costs_what_jensen_and_shannon_leave():
    covariance = ROOT @ ROOT.T
    model, contrast, params = planar(MEAN, covariance)
    z = np.array([-0.7, 1.3])
    q, p = scipy.stats.multivariate_normal(MEAN, covariance), scipy.stats.multivariate_normal(np.zeros(2))
    found = contrast.discriminator.apply(params["discriminator"], None, jnp.asarray(z, jnp.float32))["logit"]
    np.testing.assert_allclose(found, q.logpdf(z) - p.logpdf(z), rtol=1e-5)
    loss = adversarial_bayes(model, contrast)
    cost, gradient = losses_of_discriminators(loss, params)
    assert_mean(cost, np.log(4) - 2 * jensen_shannon(MEAN, covariance))
    assert_mean(gradient, 0.0)  # the best: no other coefficients are better
    params["discriminator"]["b"] = params["discriminator"]["b"] + 0.3
    worse, slope = losses_of_discriminators(loss, params)
    assert worse.mean() > cost.mean()
    assert np.abs(slope.mean(axis=0)).max() > 0.02


def test_a_posterior_that_is_the_prior_cannot_be_told():
    model, contrast, params = planar(np.zeros(2), np.eye(2))
    cost, gradient = losses_of_discriminators(adversarial_bayes(model, contrast), params)
    np.testing.assert_allclose(cost, np.log(4), rtol=1e-6)
    assert_mean(gradient, 0.0)
    _, (_, metrics) = jax.jit(adversarial_bayes(model, contrast))(
        jax.random.split(jax.random.key(1), 3), params, (), jnp.ones((3, 3)), STEP
    )
    np.testing.assert_allclose(metrics["estimated_kl"], 0.0, atol=1e-6)


# --- the estimate is the divergence


def linear_params():
    params = jax.jit(LINEAR.init)(jax.random.key(1), XS[0])
    params["encoder"] = params["encoder"] | {"log_scale": jnp.array([-0.7, 0.2])}
    return params


def best_of_linear(params):
    """ln q(z|x) - ln p(z), frozen."""
    frozen = jax.lax.stop_gradient(params)
    return knowing(lambda x, z: LINEAR.posterior(frozen, x).log_prob(z) - LINEAR.prior(frozen).log_prob(z))


def gradients(loss, params, draws=2000):
    """Of many draws of the same batch, [draws, P], of the encoder."""

    def value(encoder, key):
        return loss(jax.random.split(key, BATCH), params | {"encoder": encoder}, (), XS, STEP)[0]

    found = jax.jit(jax.vmap(jax.grad(value), (None, 0)))(params["encoder"], jax.random.split(jax.random.key(3), draws))
    return jax.vmap(lambda tree: ravel_pytree(tree)[0])(found)


def test_at_the_best_discriminator_the_estimate_is_the_elbo_and_its_gradient_that_of_the_elbo():
    params = linear_params()
    contrast = Contrast(best_of_linear(params))
    model, x = estimating(LINEAR, contrast), XS[0]
    params = params | {"discriminator": {}}
    true = closed_kl(LINEAR.posterior(params, x), LINEAR.prior(params))
    each = jax.jit(jax.vmap(model.terms, (0, None, None)))(jax.random.split(jax.random.key(2), 4000), params, x)
    assert_mean(each.kl[:, 0], true)
    assert each.log_weight is None
    found = jax.jit(jax.vmap(lambda key: elbo(model, key, params, x)))(jax.random.split(jax.random.key(4), 4000))
    exact = jax.jit(jax.vmap(lambda key: elbo(LINEAR, key, params, x)))(jax.random.split(jax.random.key(5), 40_000))
    assert_mean(found, exact.mean())
    of_estimate = gradients(adversarial_bayes(model, contrast), params)
    of_elbo = gradients(negative_bound(LINEAR, average), params, draws=40_000)
    assert_mean(of_estimate, of_elbo.mean(axis=0))
    assert np.abs(of_elbo.mean(axis=0)).max() > 0.2


def test_a_gaussian_posterior_is_its_own_reference_and_nothing_is_left_to_tell():
    """T = 0 is best, and every draw's estimate the divergence in closed form, with its gradient."""
    params = linear_params() | {"discriminator": {}}
    contrast = Contrast(knowing(lambda x, z: 0.0 * jnp.sum(z)), with_moments)
    model, keys = estimating(LINEAR, contrast), jax.random.split(jax.random.key(2), BATCH)
    loss = adversarial_bayes(model, contrast)
    value, (_, metrics) = jax.jit(loss)(keys, params, (), XS, STEP)
    true, _ = jax.jit(negative_bound(LINEAR, average))(keys, params, (), XS, STEP)
    np.testing.assert_allclose(value, true, rtol=1e-6)
    np.testing.assert_allclose(metrics["discriminator_loss"], np.log(4), rtol=1e-6)
    np.testing.assert_allclose(
        gradients(loss, params, 20), gradients(negative_bound(LINEAR, average), params, 20), rtol=1e-4, atol=1e-5
    )


MIXTURE = NormalMixture(
    logits=jnp.array([0.3, -0.4]), mean=jnp.array([[1.5], [-1.0]]), log_scale=jnp.array([[-1.0], [-0.3]])
)
LINE = jnp.linspace(-8, 8, 401)[:, None]


def moments_of(mixture):
    """By the trapezoidal rule; of a law that no form of `Normal` knows."""
    density = jnp.exp(jax.vmap(mixture.log_prob)(LINE)) * (LINE[1, 0] - LINE[0, 0])
    mean = jnp.sum(density * LINE[:, 0])
    variance = jnp.sum(density * jnp.square(LINE[:, 0] - mean))
    return Normal(mean[None], 0.5 * jnp.log(variance)[None])


def divergence_of(mixture):
    log_q, log_p = jax.vmap(mixture.log_prob)(LINE), jax.vmap(Normal(jnp.zeros(1), jnp.zeros(1)).log_prob)(LINE)
    return jnp.sum(jnp.exp(log_q) * (log_q - log_p)) * (LINE[1, 0] - LINE[0, 0])


def told_from_reference(x, z):
    """ln q̃(z̃) - ln N(z̃; 0, 1), q̃ the law of the standardised draw."""
    reference = moments_of(MIXTURE)
    back = reference.mean + jnp.exp(reference.log_scale) * z
    log_q = MIXTURE.log_prob(back) + jnp.sum(reference.log_scale)
    return log_q - Normal(jnp.zeros(1), jnp.zeros(1)).log_prob(z)


def told_from_prior(x, z):
    return MIXTURE.log_prob(z) - Normal(jnp.zeros(1), jnp.zeros(1)).log_prob(z)


BEST = {
    "from the prior": Contrast(knowing(told_from_prior)),
    "adaptive contrast": Contrast(knowing(told_from_reference), moments_of),
}


@pytest.mark.parametrize("name", first(1, ["adaptive contrast", "from the prior"]))
def test_the_part_by_the_discriminator_and_the_closed_part_add_up_to_the_divergence_of_any_posterior(name):
    """KL(q, p) = KL(q, r) + KL(r, p) of a mixture, by quadrature; the gradient of the sum too."""
    model = estimating(of_any_image(MIXTURE), BEST[name])
    params = {"encoder": MIXTURE.__dict__, "prior": {}, "decoder": {}, "discriminator": {}}

    def estimate(encoder, key):
        return model.terms(key, params | {"encoder": encoder}, jnp.ones(3)).kl[0]

    values, slopes = jax.jit(jax.vmap(jax.value_and_grad(estimate), (None, 0)))(
        MIXTURE.__dict__, jax.random.split(jax.random.key(0), 5000)
    )
    true, slope = jax.value_and_grad(lambda of: divergence_of(NormalMixture(**of)))(MIXTURE.__dict__)
    assert_mean(values, true)
    assert closed_kl(moments_of(MIXTURE), Normal(jnp.zeros(1), jnp.zeros(1))) < 0.8 * true
    for field in ("mean", "log_scale"):
        assert_mean(slopes[field], slope[field])
        assert np.abs(slope[field]).max() > 0.05


@pytest.mark.slow
def test_under_another_prior_the_rest_is_that_of_the_draw():
    """Only of a prior that is a Normal is the part that no discriminator tells closed."""
    prior = NormalMixture(logits=jnp.zeros(1), mean=jnp.full((1, 1), 0.5), log_scale=jnp.zeros((1, 1)))
    model = of_any_image(MIXTURE)._replace(prior=lambda params: prior)
    model = estimating(model, BEST["adaptive contrast"])
    params = {"encoder": MIXTURE.__dict__, "prior": {}, "decoder": {}, "discriminator": {}}
    terms = jax.jit(jax.vmap(model.terms, (0, None, None)))(
        jax.random.split(jax.random.key(0), 500), params, jnp.ones(3)
    )
    zs = jax.vmap(MIXTURE.sample)(jax.random.split(jax.random.key(0), 500))
    each = jax.vmap(lambda z: MIXTURE.log_prob(z) - prior.log_prob(z))(zs)
    np.testing.assert_allclose(terms.kl[:, 0], each, atol=1e-4)


# --- the game

DISCRIMINATOR = reading_both(mlp((5,), {"logit": ()}))


def of_model():
    return optax.chain(optax.clip_by_global_norm(0.7), optax.adam(3e-2, b1=0.5))


def of_discriminator():
    return optax.chain(optax.clip_by_global_norm(0.01), optax.adam(1e-2, b1=0.5, b2=0.9))


@pytest.mark.parametrize("reference", first(1, [with_moments, None]))
def test_the_params_of_both_players_are_those_of_two_separate_optimisers(reference):
    """Five steps by hand, each player with a gradient of its own, both at the params before the step."""
    contrast = Contrast(DISCRIMINATOR, reference)
    model = estimating(LINEAR, contrast)
    params = jax.jit(model.init)(jax.random.key(1), XS[0])
    together = optimizer_of_players({"discriminator": of_discriminator()}, rest=of_model())
    state, step = start(params, together), make_step(adversarial_bayes(model, contrast), together)

    def code(rest, key, x):
        q = LINEAR.posterior(rest, x)
        noise = jax.random.normal(jax.random.split(key, 1)[0], (2,))
        z = q.mean + jnp.exp(q.log_scale) * noise
        return q, z, noise if reference else z

    def paid(rest, fixed, keys):
        def of_example(key, x):
            q, z, seen = code(rest, key, x)
            told = DISCRIMINATOR.apply(fixed, x, seen)["logit"]
            kl = told if reference is None else told + closed_kl(q, LINEAR.prior(rest))
            return kl - LINEAR.likelihood(rest, z).log_prob(x)

        return jnp.mean(jax.vmap(of_example)(keys, XS))

    def told(of, rest, keys):
        def of_example(key, x):
            seen, other = code(rest, key, x)[2], jax.random.normal(jax.random.fold_in(key, 19), (2,))
            logits = [DISCRIMINATOR.apply(of, x, z)["logit"] for z in (seen, other)]
            return -jax.nn.log_sigmoid(logits[0]) - jax.nn.log_sigmoid(-logits[1])

        return jnp.mean(jax.vmap(of_example)(keys, XS))

    @jax.jit
    def by_hand(rest, fixed, alone, keys):
        value, gradient = jax.value_and_grad(paid)(rest, fixed, keys)
        of_dual, dual_gradient = jax.value_and_grad(told)(fixed, rest, keys)
        updates, first = of_model().update(gradient, alone[0], rest)
        dual, second = of_discriminator().update(dual_gradient, alone[1], fixed)
        return optax.apply_updates(rest, updates), optax.apply_updates(fixed, dual), (first, second), (value, of_dual)

    with jax.numpy_dtype_promotion("standard"):
        rest = {name: entry for name, entry in params.items() if name != "discriminator"}
        fixed, moved = params["discriminator"], jax.jit(step)
        alone = of_model().init(rest), of_discriminator().init(fixed)
        for index in range(5):
            keys = jax.random.split(jax.random.key(2 + index), BATCH)
            state, metrics = moved(state, keys, XS)
            rest, fixed, alone, values = by_hand(rest, fixed, alone, keys)
            np.testing.assert_allclose([metrics["loss"], metrics["discriminator_loss"]], values, rtol=1e-5)
            np.testing.assert_allclose(metrics["estimate"], -metrics["loss"])
    expected = rest | {"discriminator": fixed}
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, atol=3e-6), state.params, expected)
    moved = jax.tree.map(lambda one, other: float(jnp.abs(one - other).max()), state.params, params)
    assert min(max(jax.tree.leaves(moved[name])) for name in ("encoder", "decoder", "discriminator")) > 5e-3
    assert set(metrics) == {
        "estimate", "log_likelihood", "estimated_kl", "discriminator_loss", "loss", "gradient_norm"
    }  # fmt: skip


def test_what_cannot_be_is_refused():
    contrast = Contrast(DISCRIMINATOR, with_moments)
    with pytest.raises(ValueError, match="FullNormal has no method moments"):
        with_moments(gaussian(MEAN, np.eye(2)))
    twice = beside_discriminator(estimating(LINEAR, contrast), mlp((5,), {"logit": ()}))
    with pytest.raises(ValueError, match='an entry "discriminator" of their own'):
        twice.init(jax.random.key(0), XS[0])
    with pytest.raises(ValueError, match='an entry "discriminator" of their own'):
        estimating(estimating(LINEAR, contrast), contrast).init(jax.random.key(0), XS[0])
