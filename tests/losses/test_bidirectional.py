"""Pairs against pairs: the best discriminator of two joint Gaussians, and the game of both players."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats
from jax.flatten_util import ravel_pytree
from rows import first
from standard_errors import assert_mean

from jaxvae.bounds import elbo
from jaxvae.distributions import Normal
from jaxvae.losses import beside_discriminator, bidirectional, by_draw, by_mean, of_pairs, optimizer_of_players
from jaxvae.model import standard_normal, vae
from jaxvae.models import linear, reading_both
from jaxvae.networks import mlp
from jaxvae.training import make_step, start
from jaxvae.types import Network

SPREAD, SLOPE, WIDTH = 1.3, 0.5, 0.8  # x ~ N(0, s²) and z|x ~ N(a x, b²)
LOADING, NOISE = 0.9, 0.7  # z ~ N(0, 1) and x|z ~ N(c z, d²)


def one(value):
    return jnp.full((1,), value, jnp.float32)


def joint(variance, slope, noise, *, turned):
    """The covariance of (x, z) where one has this variance and the other is a line of it with noise."""
    own = np.array([[variance, slope * variance], [slope * variance, slope**2 * variance + noise**2]])
    return own[::-1, ::-1] if turned else own


def posterior_of_the_model():
    """a and b of the posterior of p, and the spread of its x."""
    variance = LOADING**2 + NOISE**2
    return np.sqrt(variance), LOADING / variance, NOISE / np.sqrt(variance)


def game(spread, slope, width):
    """The model with the best discriminator of its pairs, whose params are a quadratic's."""
    q, p = joint(spread**2, slope, width, turned=False), joint(1.0, LOADING, NOISE, turned=True)
    constant = 0.5 * (np.linalg.slogdet(p)[1] - np.linalg.slogdet(q)[1])
    best = {"a": 0.5 * (np.linalg.inv(p) - np.linalg.inv(q)), "c": np.asarray(constant)}
    best = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), best)

    def logit(of, x, z):
        pair = jnp.concatenate([x, z])
        return {"logit": pair @ of["a"] @ pair + of["c"]}

    discriminator = Network(lambda key, x, z: best, logit)
    model = vae(
        encoder=Network(lambda key, x: {}, lambda of, x: {"mean": slope * x, "log_scale": one(np.log(width))}),
        decoder=Network(lambda key, z: {}, lambda of, z: {"mean": LOADING * z, "log_scale": one(np.log(NOISE))}),
        prior=standard_normal((1,)),
        likelihood=Normal,
    )
    model = beside_discriminator(model, discriminator, sees=of_pairs)
    return model, bidirectional(model, discriminator, encode=by_draw, generate=by_draw), (q, p)


def of_batches(spread, slope, width, *, shift=0.0, batches=300, size=64):
    model, loss, _ = game(spread, slope, width)
    params = model.init(jax.random.key(0), one(0.0))
    params["discriminator"]["a"] = params["discriminator"]["a"] + shift

    def of_batch(key):
        key_x, key = jax.random.split(key)
        xs = spread * jax.random.normal(key_x, (size, 1))
        keys = jax.random.split(key, size)

        def value(of):
            return loss(keys, params | {"discriminator": of}, (), xs, jnp.array(0))

        gradient, (_, metrics) = jax.grad(value, has_aux=True)(params["discriminator"])
        return metrics["discriminator_loss"], ravel_pytree(gradient)[0]

    return jax.jit(jax.vmap(of_batch))(jax.random.split(jax.random.key(0), batches))


def jensen_shannon(q, p):
    line = np.linspace(-10, 10, 801)
    points = np.stack(np.meshgrid(line, line), axis=-1)
    log_q, log_p = (scipy.stats.multivariate_normal(np.zeros(2), of).logpdf(points) for of in (q, p))
    log_half = np.logaddexp(log_q, log_p) - np.log(2)
    density = 0.5 * np.exp(log_q) * (log_q - log_half) + 0.5 * np.exp(log_p) * (log_p - log_half)
    return density.sum() * (line[1] - line[0]) ** 2


def test_the_best_discriminator_of_pairs_costs_what_jensen_and_shannon_leave():
    cost, gradient = of_batches(SPREAD, SLOPE, WIDTH)
    assert_mean(cost, np.log(4) - 2 * jensen_shannon(*game(SPREAD, SLOPE, WIDTH)[2]))
    assert_mean(gradient, 0.0)
    worse, slope = of_batches(SPREAD, SLOPE, WIDTH, shift=0.2)
    assert worse.mean() > cost.mean() + 0.01
    assert np.abs(slope.mean(axis=0)).max() > 0.05


def test_pairs_of_the_exact_posterior_and_the_models_own_images_cannot_be_told():
    cost, gradient = of_batches(*posterior_of_the_model())
    np.testing.assert_allclose(cost, np.log(4), rtol=1e-5)
    assert_mean(gradient, 0.0)


# --- the game

LINEAR, BATCH = linear.linear_vae(latent=2), 4
DISCRIMINATOR = reading_both(mlp((5,), {"logit": ()}))
OF_MODEL, OF_DISCRIMINATOR = optax.adam(3e-2, b1=0.5), optax.chain(optax.clip_by_global_norm(0.01), optax.adam(1e-2))


@pytest.mark.parametrize("encode", first(1, [by_mean, by_draw]))
def test_the_params_of_both_players_are_those_of_two_separate_optimisers(encode):
    model = beside_discriminator(LINEAR, DISCRIMINATOR, sees=of_pairs)
    xs = jax.random.normal(jax.random.key(0), (BATCH, 3))
    params = jax.jit(model.init)(jax.random.key(1), xs[0])
    together = optimizer_of_players({"discriminator": OF_DISCRIMINATOR}, rest=OF_MODEL)
    state, step = start(params, together), make_step(bidirectional(model, DISCRIMINATOR, encode=encode), together)

    def log_sigmoids(rest, fixed, key, x, sign):
        q = LINEAR.posterior(rest, x)
        noise = jax.random.normal(jax.random.split(key, 1)[0], (2,))
        z = q.mean if encode is by_mean else q.mean + jnp.exp(q.log_scale) * noise
        y = jax.random.normal(jax.random.split(jax.random.fold_in(key, 20))[0], (2,))
        made = rest["decoder"]["W"] @ y + rest["decoder"]["center"]
        logits = [DISCRIMINATOR.apply(fixed, *pair)["logit"] for pair in ((x, z), (made, y))]
        return jax.nn.log_sigmoid(sign * logits[0]) + jax.nn.log_sigmoid(-sign * logits[1])

    def cost(rest, fixed, keys, sign):
        return -jnp.mean(jax.vmap(lambda key, x: log_sigmoids(rest, fixed, key, x, sign))(keys, xs))

    @jax.jit
    def by_hand(rest, fixed, alone, keys):
        value, gradient = jax.value_and_grad(cost)(rest, fixed, keys, -1.0)
        of_dual, dual_gradient = jax.value_and_grad(cost, 1)(rest, fixed, keys, 1.0)
        updates, first = OF_MODEL.update(gradient, alone[0], rest)
        dual, second = OF_DISCRIMINATOR.update(dual_gradient, alone[1], fixed)
        return optax.apply_updates(rest, updates), optax.apply_updates(fixed, dual), (first, second), (value, of_dual)

    with jax.numpy_dtype_promotion("standard"):
        rest = {name: entry for name, entry in params.items() if name != "discriminator"}
        fixed, moved = params["discriminator"], jax.jit(step)
        alone = OF_MODEL.init(rest), OF_DISCRIMINATOR.init(fixed)
        for index in range(5):
            keys = jax.random.split(jax.random.key(2 + index), BATCH)
            bounds = jax.vmap(lambda key, x, params=state.params: elbo(LINEAR, key, params, x))(keys, xs)
            state, metrics = moved(state, keys, xs)
            rest, fixed, alone, values = by_hand(rest, fixed, alone, keys)
            np.testing.assert_allclose([metrics["loss"], metrics["discriminator_loss"]], values, rtol=1e-5)
            np.testing.assert_allclose(metrics["bound"], jnp.mean(bounds), rtol=1e-5)  # of the same model, untrained
    expected = rest | {"discriminator": fixed}
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, atol=3e-6), state.params, expected)
    moved = jax.tree.map(lambda one, other: float(jnp.abs(one - other).max()), state.params, params)
    assert min(max(jax.tree.leaves(moved[name])) for name in ("encoder", "decoder", "discriminator")) > 5e-3


@pytest.mark.slow
def test_the_game_finds_an_encoder_that_inverts_its_decoder():
    """Of points on a line in the plane: the mean code of what is made of z is z, or nearly."""
    model = beside_discriminator(LINEAR, mlp_of_pairs := reading_both(mlp((64, 64), {"logit": ()})), sees=of_pairs)
    loss = bidirectional(model, mlp_of_pairs, encode=by_mean)
    together = optimizer_of_players({"discriminator": optax.adam(2e-3, b1=0.5)}, rest=optax.adam(1e-3, b1=0.5))
    loadings = jnp.array([[1.0, 0.0], [0.5, 1.0], [0.0, -0.7]])

    with jax.numpy_dtype_promotion("standard"):
        step = make_step(loss, together)

        def move(state, key):
            key_z, key_step = jax.random.split(key)
            xs = jax.random.normal(key_z, (256, 2)) @ loadings.T
            return step(state, jax.random.split(key_step, 256), xs)

        state = start(model.init(jax.random.key(0), jnp.zeros(3)), together)
        state, metrics = jax.jit(lambda state, keys: jax.lax.scan(move, state, keys))(
            state, jax.random.split(jax.random.key(1), 3000)
        )
    zs = jax.random.normal(jax.random.key(2), (500, 2))
    made = jax.vmap(lambda z: LINEAR.likelihood(state.params, z).expectation())(zs)
    again = jax.vmap(lambda x: LINEAR.posterior(state.params, x).expectation())(made)
    assert jnp.mean(jnp.square(again - zs)) < 0.15
    assert abs(float(jnp.mean(metrics["discriminator_loss"][-200:])) - np.log(4)) < 0.15
