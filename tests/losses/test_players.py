"""Players with losses and optimizers of their own, and FactorVAE, the first such game."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxvae import losses
from jaxvae.bounds import average
from jaxvae.distributions import Delta
from jaxvae.losses import beside_discriminator, factor, optimizer_of_players, players
from jaxvae.models import linear
from jaxvae.networks import mlp
from jaxvae.training import make_step, start

MODEL, BATCH = linear.linear_vae(latent=2), 4
DISCRIMINATOR = mlp((5,), {"logit": ()})


def of_model():
    return optax.chain(optax.clip_by_global_norm(0.7), optax.adam(3e-2, b1=0.5))


def of_discriminator():
    return optax.chain(optax.clip_by_global_norm(0.01), optax.adam(1e-2, b1=0.5, b2=0.9))


def test_the_params_of_players_are_those_of_two_separate_optimisers():
    """Five steps by hand: each player its own gradient, clipping and Adam, both at the params before the step."""
    model = beside_discriminator(MODEL, DISCRIMINATOR)
    xs = jax.random.normal(jax.random.key(0), (BATCH, 3))
    params = jax.jit(model.init)(jax.random.key(1), xs[0])
    loss = factor(model, DISCRIMINATOR, weight=3.0)
    together = optimizer_of_players({"discriminator": of_discriminator()}, rest=of_model())
    state, step = start(params, together), make_step(loss, together)

    def codes(keys, params):
        return jax.vmap(lambda key, x: model.posterior(params, x).sample(jax.random.split(key, 1)[0]))(keys, xs)

    def logits(of, zs):
        return jax.vmap(lambda z: DISCRIMINATOR.apply(of, z)["logit"])(zs)

    def paid(rest, fixed, keys):
        of_bound = losses.negative_bound(model, average)(keys, rest, (), xs, jnp.array(0))[0]
        return of_bound + 3.0 * jnp.mean(logits(fixed, codes(keys, rest)))

    def told(of, rest, keys):
        zs = codes(keys, rest)
        order = jax.random.split(jax.random.fold_in(keys[0], 17), 2)
        mixed = jnp.stack([jax.random.permutation(order[d], zs[:, d]) for d in range(2)], axis=1)
        right = jnp.mean(jax.nn.log_sigmoid(logits(of, zs))) + jnp.mean(jax.nn.log_sigmoid(-logits(of, mixed)))
        return -0.5 * right

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
            state, metrics = moved(state, keys, xs)
            rest, fixed, alone, values = by_hand(rest, fixed, alone, keys)
            np.testing.assert_allclose([metrics["loss"], metrics["discriminator_loss"]], values, rtol=1e-5)
    expected = rest | {"discriminator": fixed}
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, atol=2e-6), state.params, expected)
    moved = jax.tree.map(lambda one, other: float(jnp.abs(one - other).max()), state.params, params)
    assert min(max(jax.tree.leaves(moved[name])) for name in ("encoder", "decoder", "discriminator")) > 5e-3


def test_a_discriminator_that_knows_nothing_costs_the_model_nothing():
    model = beside_discriminator(MODEL, DISCRIMINATOR)
    xs = jax.random.normal(jax.random.key(0), (BATCH, 3))
    params = jax.jit(model.init)(jax.random.key(1), xs[0])
    params["discriminator"] = jax.tree.map(jnp.zeros_like, params["discriminator"])
    keys = jax.random.split(jax.random.key(2), BATCH)
    game = factor(model, DISCRIMINATOR, weight=35.0)
    value, (_, metrics) = jax.jit(game)(keys, params, (), xs, jnp.array(0))
    np.testing.assert_allclose(metrics["discriminator_loss"], np.log(2), rtol=1e-6)
    np.testing.assert_allclose(value, -metrics["bound"], rtol=1e-6)


def test_a_player_without_an_entry_is_refused_and_a_name_twice():
    still = lambda keys, params, extra, xs, step: (jnp.zeros(()), (extra, {}))  # noqa: E731
    with pytest.raises(ValueError, match="the player 'b' has no entry in the params, which are a"):
        players({"b": still}, rest=still)(None, {"a": jnp.ones(())}, (), None, None)
    twice = beside_discriminator(beside_discriminator(MODEL, DISCRIMINATOR), DISCRIMINATOR)
    with pytest.raises(ValueError, match='an entry "discriminator" of their own'):
        twice.init(jax.random.key(0), jnp.zeros(3))


def test_a_game_of_a_whole_batch_is_not_taken_in_parts():
    loss = factor(MODEL, DISCRIMINATOR, weight=1.0)
    with pytest.raises(ValueError, match="looks at the aggregate posterior over the whole batch"):
        make_step(loss, optax.sgd(0.1), accumulate=2)


def test_codes_that_are_no_array_have_no_discriminator():
    """A conditional model's code comes with its condition."""
    model = MODEL._replace(posterior=lambda params, x: Delta((jnp.zeros(2), jnp.ones(1))))
    with pytest.raises(ValueError, match="needs codes that are one array, and those of this model are tuple"):
        beside_discriminator(model, DISCRIMINATOR).init(jax.random.key(0), jnp.zeros(3))
