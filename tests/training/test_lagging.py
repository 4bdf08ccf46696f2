from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxvae import bounds, losses, training
from jaxvae.models import linear
from jaxvae.training import make_leading_step

MODEL, OPTIMIZER = linear.linear_vae(latent=2), optax.adam(0.05)
LOSS = losses.negative_bound(MODEL, bounds.average, num_samples=4)
XS = jax.random.normal(jax.random.key(5), (8, 3)) @ jnp.array([[2.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.3]])


@pytest.fixture(autouse=True)
def _optax_promotes():
    with jax.numpy_dtype_promotion("standard"):
        yield


def start():
    return training.start(MODEL.init(jax.random.key(0), XS[0]), OPTIMIZER)


def taken(state, num_encoder_steps, until, leads="encoder"):
    step = make_leading_step(LOSS, OPTIMIZER, num_encoder_steps=num_encoder_steps, until=until, leads=leads)
    step = jax.jit(step)
    return step(state, jax.random.split(jax.random.key(1), len(XS)), XS)


def test_afterwards_it_is_the_plain_step_bit_for_bit():
    plain = jax.jit(training.make_step(LOSS, OPTIMIZER))(start(), jax.random.split(jax.random.key(1), len(XS)), XS)
    led = taken(start(), 4, until=0)
    jax.tree.map(np.testing.assert_array_equal, led, plain)


def test_the_encoder_moves_alone_and_then_all_move():
    """Without a step of their own the decoder and the prior have moved by one update, the encoder by five."""
    rate = 0.05  # Adam's first updates have the size of the learning rate
    before, (after, metrics) = start(), taken(start(), 4, until=1)
    moved = jax.tree.map(lambda old, new: float(jnp.max(jnp.abs(new - old))), before.params, after.params)
    assert max(jax.tree.leaves(moved["decoder"])) <= 1.5 * rate
    assert max(jax.tree.leaves(moved["encoder"])) > 3 * rate
    assert int(after.step) == 1
    assert int(after.optimizer[0].count) == 1  # of the decoder; the encoder's is told by the step
    assert np.isfinite(metrics["bound"])


def test_the_lead_raises_the_bound_at_a_decoder_that_stands_still():
    """With the decoder's and the prior's gradients cut off, what is left is the lead itself."""
    before = start()
    frozen = losses.lifted(
        lambda key, params, x, step: (
            bounds.elbo(MODEL, key, jax.lax.stop_gradient(params) | {"encoder": params["encoder"]}, x, num_samples=16),
            {},
        )
    )
    step = jax.jit(make_leading_step(frozen, OPTIMIZER, num_encoder_steps=4, until=10))
    state = before
    for seed in range(10):
        state, _ = step(state, jax.random.split(jax.random.key(seed), len(XS)), XS)
    jax.tree.map(np.testing.assert_array_equal, state.params["decoder"], before.params["decoder"])
    mean = partial(bounds.batched_elbo, MODEL, jax.random.key(9), xs=XS, num_samples=200)
    assert np.mean(mean(state.params)) > np.mean(mean(before.params)) + 0.1


def test_a_batch_that_has_no_such_parts_is_refused():
    with pytest.raises(ValueError, match="a batch of 8 cannot be taken in 3 parts"):
        taken(start(), 3, until=1)


@pytest.mark.parametrize("leads", ["encoder", "decoder"])
@pytest.mark.parametrize("scheduled", [False, True])
def test_every_entry_has_an_adam_of_its_own(leads, scheduled):
    """Three leading steps, then two without a lead, against two optimisers, each of which counts its own updates."""
    rate = optax.linear_schedule(0.05, 0.01, 4) if scheduled else 0.05
    optimizer, by_hand = optax.adam(rate), {name: optax.scale_by_adam() for name in ("leader", "rest")}
    state = training.start(MODEL.init(jax.random.key(0), XS[0]), optimizer)
    step = jax.jit(make_leading_step(LOSS, optimizer, num_encoder_steps=4, until=3, leads=leads))
    gradient = jax.jit(jax.grad(lambda params, keys, xs, at: LOSS(keys, params, (), xs, at)[0]))

    def parted(tree):
        return {"leader": tree[leads], "rest": {name: tree[name] for name in tree if name != leads}}

    params = state.params
    moments = {name: by_hand[name].init(part) for name, part in parted(params).items()}

    def moved(params, moments, names, of_params, at):
        now = rate(at) if scheduled else rate
        parts = parted(params)
        for name in names:
            updates, moments[name] = by_hand[name].update(parted(of_params)[name], moments[name])
            parts[name] = jax.tree.map(lambda old, update, now=now: old - now * update, parts[name], updates)
        return {leads: parts["leader"], **parts["rest"]}

    for at in range(5):
        keys = jax.random.split(jax.random.key(at), len(XS))
        before = params
        if at < 3:
            own = jax.vmap(jax.random.fold_in, (0, None))(keys, 1)
            for part in range(4):
                rows = slice(2 * part, 2 * part + 2)
                params = moved(params, moments, ["leader"], gradient(params, own[rows], XS[rows], at), at)
        params = moved(params, moments, ["leader", "rest"], gradient(params, keys, XS, at), at)
        state, _ = step(state, keys, XS)
        jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, atol=2e-6), state.params, params)
        if at == 0:  # Adam's first move has the size of the rate
            rest = jax.tree.leaves(
                jax.tree.map(lambda new, old: jnp.abs(new - old), parted(params), parted(before))["rest"]
            )
            np.testing.assert_allclose(max(float(jnp.max(leaf)) for leaf in rest), 0.05, rtol=1e-3)


def test_a_chain_with_clipping_and_parts_of_its_own_keeps_its_counts():
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.partition(
            {"one": optax.adam(0.05), "other": optax.adam(0.01)}, {"encoder": "one", "decoder": "other", "prior": "one"}
        ),
    )
    state = training.start(MODEL.init(jax.random.key(0), XS[0]), optimizer)
    step = jax.jit(make_leading_step(LOSS, optimizer, num_encoder_steps=4, until=3))
    after, _ = step(state, jax.random.split(jax.random.key(1), len(XS)), XS)
    moved = jax.tree.map(lambda old, new: float(jnp.max(jnp.abs(new - old))), state.params, after.params)
    np.testing.assert_allclose(max(jax.tree.leaves(moved["decoder"])), 0.01, rtol=1e-3)
    assert max(jax.tree.leaves(moved["encoder"])) > 0.15


def test_an_entry_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="leads='adversary' is no entry of these params"):
        taken(start(), 4, until=1, leads="adversary")
