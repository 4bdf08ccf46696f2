"""A model of six binary pixels, and short runs of it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvae import bounds
from jaxvae.distributions import Bernoulli, Normal
from jaxvae.losses import negative_bound
from jaxvae.model import standard_normal, vae
from jaxvae.networks import mlp
from jaxvae.training import dynamic_binarization, make_step, start, steps

PIXELS, EXAMPLES, BATCH = 6, 23, 5  # four batches to the epoch, three examples left out
MODEL = vae(
    encoder=mlp((4,), Normal.parameters((2,)), activation=jnp.tanh),
    decoder=mlp((4,), Bernoulli.parameters((PIXELS,)), activation=jnp.tanh),
    prior=standard_normal((2,)),
)


def adam(rate):
    """Optax's bias correction mixes float and int32, which the strict promotion of these tests forbids."""
    rule = optax.chain(optax.clip_by_global_norm(5.0), optax.adam(rate))

    def update(*arguments):
        with jax.numpy_dtype_promotion("standard"):
            return rule.update(*arguments)

    return optax.GradientTransformation(rule.init, update)


OPTIMIZER = adam(0.01)
LOSS = negative_bound(MODEL, bounds.importance_weighted, num_samples=2)


def images():
    return jnp.asarray(np.random.default_rng(0).integers(0, 256, (EXAMPLES, PIXELS)), jnp.uint8)


def start_state(seed=0, averaged=True):
    params = jax.jit(MODEL.init)(jax.random.key(seed), jnp.zeros(PIXELS))
    return start(params, OPTIMIZER, averaged=averaged)


@partial(jax.jit, static_argnames="length")
def epoch(state, key, length=None):
    step = make_step(LOSS, OPTIMIZER, decay=0.9)
    return steps(state, key, images(), step=step, prepare=dynamic_binarization, batch_size=BATCH, length=length)
