"""784-400-20 trained with the library until -ELBO of the test images is below a target: a contestant of `time_to_nats`.

It is what a user writes: an epoch as one compiled scan, the bound of all test images as another program. The second is
compiled while the first one trains.
"""

import argparse
import json
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxvae
from jaxvae import losses, networks, training
from jaxvae.bounds import average
from jaxvae.distributions import Bernoulli, Normal


def main() -> None:
    """Train, and print when the target was reached, with -ELBO of the test images after every epoch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", required=True, help="a .npy file [N, 784], uint8: the training images")
    parser.add_argument("--test", required=True, help="a .npy file [N, 784], uint8: the test images")
    parser.add_argument("--target", type=float, required=True, help="nats")
    parser.add_argument("--epochs", type=int, default=30, help="give the target up after so many")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    train, test = (jnp.asarray(np.load(file)) for file in (arguments.images, arguments.test))
    encoder, decoder = networks.small_pair(Normal.parameters((20,)), Bernoulli.parameters((784,)))
    model = jaxvae.vae(encoder=encoder, decoder=decoder, prior=jaxvae.standard_normal((20,)))
    optimizer = optax.chain(optax.clip_by_global_norm(10.0), optax.adam(1e-3))
    step = training.make_step(losses.negative_bound(model, average), optimizer)
    epoch = jax.jit(partial(training.steps, step=step, prepare=training.grey, batch_size=128), donate_argnums=0)

    @jax.jit
    def negative_elbo(key, params, stored):
        keys = jax.random.split(key, len(stored))
        xs = jax.vmap(training.grey, (None, 0))(key, stored)
        return -jnp.mean(jax.vmap(partial(jaxvae.elbo, model), (0, None, 0))(keys, params, xs))

    key_init, key_steps, key_test = jax.random.split(jax.random.key(arguments.seed), 3)
    params = jax.jit(model.init)(key_init, jnp.zeros(784))
    state = training.start(params, optimizer)
    with ThreadPoolExecutor() as background:
        compiled = background.submit(lambda: negative_elbo.lower(key_test, params, test).compile())
        bounds: list[float] = []
        while not bounds or (bounds[-1] >= arguments.target and len(bounds) < arguments.epochs):
            state, _ = epoch(state, key_steps, train)
            bounds.append(float(compiled.result()(key_test, state.params, test)))
    print(json.dumps({"reached": time.time(), "negative_elbo": bounds, "jax": jax.__version__}))


if __name__ == "__main__":
    main()
