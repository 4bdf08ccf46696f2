"""VAE/GAN: the best discriminator of three laws, and the game of three players."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.integrate
import scipy.stats
from jax.flatten_util import ravel_pytree
from standard_errors import assert_mean

from jaxvae.bounds import elbo
from jaxvae.distributions import Normal
from jaxvae.losses import beside_discriminator, learned_similarity, of_examples, optimizer_of_players, scored_features
from jaxvae.model import standard_normal, vae
from jaxvae.models import linear
from jaxvae.networks import mlp
from jaxvae.training import make_step, start
from jaxvae.types import Network

LOADING, SLOPE, WIDTH = 0.8, 0.5, 0.6  # x̂ = c z, and q(z|x) = N(a x, b²)


def one(value):
    return jnp.full((1,), value, jnp.float32)


def spreads(spread, slope, width, loading):
    """Of x, of x̃ and of x̂."""
    return spread, loading * np.sqrt(slope**2 * spread**2 + width**2), loading


def of_batches(spread, slope, width, loading, *, turned=0.0, batches=300, size=64):
    """The discriminator's loss and gradient, whose logit is the best one and a line that has no place in it."""
    data, again, new = spreads(spread, slope, width, loading)

    def logit(of, x):
        log = lambda scale: Normal(one(0.0), one(np.log(scale))).log_prob(x)  # noqa: E731
        best = log(data) - jnp.logaddexp(log(again), log(new))
        return {"logit": best + of["turned"] + of["bent"] * x[0] ** 2, "features": x}

    params = {"turned": jnp.array(turned), "bent": jnp.array(0.0)}
    discriminator = Network(lambda key, x: params, logit)
    model = vae(
        encoder=Network(lambda key, x: {}, lambda of, x: {"mean": slope * x, "log_scale": one(np.log(width))}),
        decoder=Network(lambda key, z: {}, lambda of, z: {"mean": loading * z, "log_scale": one(0.0)}),
        prior=standard_normal((1,)),
        likelihood=Normal,
    )
    model = beside_discriminator(model, discriminator, sees=of_examples)
    loss, params = learned_similarity(model, discriminator, weight=1.0), model.init(jax.random.key(0), one(0.0))

    def of_batch(key):
        key_x, key = jax.random.split(key)
        xs = spread * jax.random.normal(key_x, (size, 1))

        def value(of):
            return loss(jax.random.split(key, size), params | {"discriminator": of}, (), xs, jnp.array(0))

        gradient, (_, metrics) = jax.grad(value, has_aux=True)(params["discriminator"])
        return metrics["discriminator_loss"], ravel_pytree(gradient)[0]

    return jax.jit(jax.vmap(of_batch))(jax.random.split(jax.random.key(0), batches))


def least_cost(scales):
    data, again, new = (scipy.stats.norm(0, scale).pdf for scale in scales)

    def density(x):
        made = again(x) + new(x)
        both = data(x) + made
        return -scipy.special.xlogy(data(x), data(x) / both) - scipy.special.xlogy(made, made / both)

    return scipy.integrate.quad(density, -9, 9)[0]


def test_the_best_discriminator_of_three_laws_costs_what_quadrature_says():
    cost, gradient = of_batches(1.2, SLOPE, WIDTH, LOADING)
    assert_mean(cost, least_cost(spreads(1.2, SLOPE, WIDTH, LOADING)))
    assert_mean(gradient, 0.0)
    worse, slope = of_batches(1.2, SLOPE, WIDTH, LOADING, turned=0.4)
    assert worse.mean() > cost.mean() + 0.01
    assert np.abs(slope.mean(axis=0)).max() > 0.05


def test_where_all_three_laws_are_the_same_two_of_three_are_made():
    cost, gradient = of_batches(1.0, 0.6, 0.8, 1.0)
    np.testing.assert_allclose(cost, np.log(27 / 4), rtol=1e-5)
    assert_mean(gradient, 0.0)


# --- the game

LINEAR, BATCH, GAMMA = linear.linear_vae(latent=2), 4, 0.3
DISCRIMINATOR = scored_features(mlp((5,), {"features": (4,)}), mlp((), {"logit": ()}), jnp.tanh)
OPTIMISERS = {
    "encoder": optax.adam(3e-2, b1=0.5),
    "discriminator": optax.chain(optax.clip_by_global_norm(0.01), optax.adam(1e-2)),
    "": optax.adam(2e-2, b1=0.9),
}


def test_the_params_of_three_players_are_those_of_three_separate_optimisers():
    model = beside_discriminator(LINEAR, DISCRIMINATOR, sees=of_examples)
    xs = jax.random.normal(jax.random.key(0), (BATCH, 3))
    params = jax.jit(model.init)(jax.random.key(1), xs[0])
    own = {name: optimizer for name, optimizer in OPTIMISERS.items() if name}
    together = optimizer_of_players(own, rest=OPTIMISERS[""])
    state, step = start(params, together), make_step(learned_similarity(model, DISCRIMINATOR, weight=GAMMA), together)

    def parts(params, key, x):
        q = LINEAR.posterior(params, x)
        noise = jax.random.normal(jax.random.split(key, 1)[0], (2,))
        codes = q.mean + jnp.exp(q.log_scale) * noise, jax.random.normal(jax.random.fold_in(key, 21), (2,))
        made = [params["decoder"]["W"] @ z + params["decoder"]["center"] for z in codes]
        true, again, new = (DISCRIMINATOR.apply(params["discriminator"], of) for of in (x, *made))
        apart = 0.5 * jnp.sum(jnp.square(true["features"] - again["features"]) + jnp.log(2 * jnp.pi))
        kl = 0.5 * jnp.sum(q.mean**2 + jnp.exp(2 * q.log_scale) - 1 - 2 * q.log_scale)
        return apart, kl, true["logit"], again["logit"], new["logit"]

    def of_encoder(apart, kl, true, again, new):
        return apart + kl

    def of_rest(apart, kl, true, again, new):
        return GAMMA * apart - jax.nn.log_sigmoid(again) - jax.nn.log_sigmoid(new)

    def of_discriminator(apart, kl, true, again, new):
        return -jax.nn.log_sigmoid(true) - jax.nn.log_sigmoid(-again) - jax.nn.log_sigmoid(-new)

    costs = {"encoder": of_encoder, "discriminator": of_discriminator, "": of_rest}

    def entries(params, name):
        return {entry: of for entry, of in params.items() if (entry == name if name else entry not in own)}

    @jax.jit
    def by_hand(params, alone, keys):
        moved, kept, values = {}, {}, {}
        for name, cost in costs.items():

            def mean(mine, cost=cost):
                return jnp.mean(jax.vmap(lambda key, x: cost(*parts(params | mine, key, x)))(keys, xs))

            values[name], gradient = jax.value_and_grad(mean)(entries(params, name))
            updates, kept[name] = OPTIMISERS[name].update(gradient, alone[name], entries(params, name))
            moved |= optax.apply_updates(entries(params, name), updates)
        return moved, kept, values

    with jax.numpy_dtype_promotion("standard"):
        hand, moved = params, jax.jit(step)
        alone = {name: OPTIMISERS[name].init(entries(params, name)) for name in OPTIMISERS}
        for index in range(5):
            keys = jax.random.split(jax.random.key(2 + index), BATCH)
            bounds = jax.vmap(lambda key, x, params=state.params: elbo(LINEAR, key, params, x))(keys, xs)
            state, metrics = moved(state, keys, xs)
            hand, alone, values = by_hand(hand, alone, keys)
            found = [metrics[name] for name in ("loss", "encoder_loss", "discriminator_loss")]
            np.testing.assert_allclose(found, [values[name] for name in ("", "encoder", "discriminator")], rtol=1e-5)
            np.testing.assert_allclose(metrics["bound"], jnp.mean(bounds), rtol=1e-5)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, atol=3e-6), state.params, hand)
    moved = jax.tree.map(lambda one, other: float(jnp.abs(one - other).max()), state.params, params)
    assert min(max(jax.tree.leaves(moved[name])) for name in ("encoder", "decoder", "discriminator")) > 5e-3


def test_a_player_without_an_entry_is_refused():
    """A model whose encoder has another name in the params has no such game."""
    model = beside_discriminator(LINEAR, DISCRIMINATOR, sees=of_examples)
    params = model.init(jax.random.key(0), jnp.zeros(3))
    params["recognition"] = params.pop("encoder")
    with pytest.raises(ValueError, match="the player 'encoder' has no entry in the params"):
        learned_similarity(model, DISCRIMINATOR, weight=1.0)(
            jax.random.split(jax.random.key(1), 2), params, (), jnp.zeros((2, 3)), jnp.array(0)
        )
