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


def taken(state, num_encoder_steps, until):
    step = jax.jit(make_leading_step(LOSS, OPTIMIZER, num_encoder_steps=num_encoder_steps, until=until))
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
    assert int(after.optimizer[0].count) == 5
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
