import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rows import first
from six_pixels import LOSS, MODEL, OPTIMIZER, PIXELS, start_state

from jaxvae import bounds
from jaxvae.distributions import Bernoulli, Normal
from jaxvae.losses import OfWholeBatch, capacity, free_bits, negative_bound, negative_elbo
from jaxvae.model import standard_normal, vae
from jaxvae.networks import mlp
from jaxvae.training import make_step, start


@pytest.mark.parametrize("parts", first(1, [2, 3]))
def test_a_batch_taken_in_parts_is_the_batch(parts, float64):
    """By plain descent, since Adam would hide a wrong scale."""
    rule, keys = optax.sgd(0.1), jax.random.split(jax.random.key(3), 6)
    params = jax.jit(MODEL.init)(jax.random.key(0), jnp.zeros(PIXELS, jnp.float32))
    params = jax.tree.map(lambda leaf: leaf.astype(float), params)
    xs = jax.random.uniform(jax.random.key(4), (6, PIXELS)).round()
    loss = negative_bound(MODEL, bounds.importance_weighted, num_samples=2, beta=lambda step: 0.5)
    whole, of_whole = jax.jit(make_step(loss, rule))(start(params, rule), keys, xs)
    taken, of_parts = jax.jit(make_step(loss, rule, accumulate=parts))(start(params, rule), keys, xs)
    for one, other in zip(jax.tree.leaves((whole, of_whole)), jax.tree.leaves((taken, of_parts)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_a_batch_that_cannot_be_taken_in_so_many_parts_is_refused():
    step = make_step(LOSS, OPTIMIZER, decay=0.9, accumulate=2)
    with pytest.raises(ValueError, match="a batch of 5 cannot be taken in 2 parts"):
        step(start_state(), jax.random.split(jax.random.key(0), 5), jnp.zeros((5, PIXELS)))


PRICES = [free_bits(0.1), capacity(lambda step: 0.1, gamma=3.0)]  # between the divergences of the two halves below


@pytest.mark.parametrize("cost", PRICES, ids=["free bits", "capacity"])
def test_a_price_of_the_mean_divergence_is_not_taken_in_parts(cost):
    """It is refused when the step is made; the mean over the parts would be another number, as the first lines show."""
    loss, params = negative_elbo(MODEL, cost), start_state().params
    keys, xs = jax.random.split(jax.random.key(0), 4), jnp.zeros((4, PIXELS)).at[2:].set(10.0)
    of_whole, of_halves = (
        np.mean([loss(keys[part], params, (), xs[part], jnp.array(0))[0] for part in np.split(np.arange(4), parts)])
        for parts in (1, 2)
    )
    assert abs(of_whole - of_halves) > 1e-3
    with pytest.raises(ValueError, match="looks at the mean divergence of each latent group over the whole batch"):
        make_step(loss, OPTIMIZER, accumulate=2)
    make_step(loss, OPTIMIZER, accumulate=1)


def test_a_loss_of_ones_own_says_that_it_is_of_a_whole_batch():
    loss = OfWholeBatch(LOSS, "the mean code")
    with pytest.raises(ValueError, match="the mean code over the whole batch, and in accumulate=3 parts"):
        make_step(loss, OPTIMIZER, accumulate=3)


def test_less_than_one_part_is_refused():
    with pytest.raises(ValueError, match="accumulate=0 must be at least one"):
        make_step(LOSS, OPTIMIZER, accumulate=0)


@pytest.mark.slow
def test_a_batch_in_parts_needs_the_memory_of_a_part():
    model = vae(
        encoder=mlp((64,), Normal.parameters((2,))),
        decoder=mlp((512,), Bernoulli.parameters((PIXELS,))),
        prior=standard_normal((2,)),
    )
    loss, keys, xs = (
        negative_bound(model, bounds.average),
        jax.random.split(jax.random.key(0), 4096),
        jnp.zeros((4096, 6)),
    )
    state = start(model.init(jax.random.key(0), xs[0]), OPTIMIZER)

    def temporary_bytes(parts):
        step = jax.jit(make_step(loss, OPTIMIZER, accumulate=parts))
        return step.lower(state, keys, xs).compile().memory_analysis().temp_size_in_bytes

    assert temporary_bytes(8) < temporary_bytes(1) / 4
