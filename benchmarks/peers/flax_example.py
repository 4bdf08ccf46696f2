"""Training in the style of Flax's own VAE example: Linen, optax, a jitted step, a Python loop over NumPy batches.

784-400-20 with the ELBO, or 784-200-200-50 with the importance-weighted bound; Adam, clipped gradients. It stands alone
and needs only flax, optax and numpy: `echo | python flax_example.py` prints the seconds of one epoch for each line of
its input.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax.training.train_state import TrainState


class VAE(nn.Module):
    """The encoder's layers mirrored by the decoder's."""

    hidden: tuple[int, ...]
    latent: int
    activation: Callable

    @nn.compact
    def __call__(self, x, key, num_samples):
        """[B, 784] -> logits [k, B, 784], z and its noise [k, B, latent], mean and log variance [B, latent]."""
        for width in self.hidden:
            x = self.activation(nn.Dense(width)(x))
        mean, log_variance = nn.Dense(self.latent)(x), nn.Dense(self.latent)(x)
        noise = jax.random.normal(key, (num_samples, *mean.shape))
        z = mean + jnp.exp(0.5 * log_variance) * noise
        x = z
        for width in self.hidden[::-1]:
            x = self.activation(nn.Dense(width)(x))
        return nn.Dense(784)(x), z, noise, mean, log_variance


def cross_entropy(logits, x):
    """[..., 784] -> [...] nats."""
    return optax.sigmoid_binary_cross_entropy(logits, x).sum(-1)


def negative_elbo(logits, z, noise, mean, log_variance, x):
    """Nats, the mean over the batch."""
    kl = -0.5 * jnp.sum(1 + log_variance - jnp.square(mean) - jnp.exp(log_variance), -1)
    return jnp.mean(cross_entropy(logits, x).mean(0) + kl)


def negative_importance_weighted(logits, z, noise, mean, log_variance, x):
    """Nats, the mean over the batch; log p(x, z) - log q(z|x) of each draw."""
    log_weight = 0.5 * jnp.sum(jnp.square(noise) - jnp.square(z) + log_variance, -1) - cross_entropy(logits, x)
    return -jnp.mean(jax.nn.logsumexp(log_weight, 0) - jnp.log(len(z)))


NETWORKS = {
    "small": (VAE((400,), 20, nn.relu), negative_elbo),
    "iwae": (VAE((200, 200), 50, nn.tanh), negative_importance_weighted),
}


@partial(jax.jit, static_argnames=("loss", "num_samples"))
def train_step(state, x, key, *, loss, num_samples):
    """The next state, and the loss of this batch."""

    def loss_of(params):
        return loss(*state.apply_fn({"params": params}, x, key, num_samples), x)

    value, gradient = jax.value_and_grad(loss_of)(state.params)
    return state.apply_gradients(grads=gradient), value


def main() -> None:
    """Train one epoch for each line of standard input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", help="a .npy file [N, 784], uint8; random bits when it is not given")
    parser.add_argument("--count", type=int, default=60_000, help="how many random images")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--network", choices=NETWORKS, default="small")
    parser.add_argument("--num-samples", type=int, default=1, help="k of the importance-weighted bound")
    parser.add_argument("--batch-size", type=int, default=128)
    arguments = parser.parse_args()
    jax.config.update("jax_default_device", jax.devices(arguments.device)[0])
    generator = np.random.default_rng(0)
    if arguments.images:
        pixels = np.load(arguments.images)
    else:
        pixels = generator.integers(2, size=(arguments.count, 784), dtype=np.uint8) * np.uint8(255)
    images = pixels.astype(np.float32) / 255
    module, loss = NETWORKS[arguments.network]
    key = jax.random.key(0)
    params = module.init(key, images[: arguments.batch_size], key, 1)["params"]
    optimizer = optax.chain(optax.clip_by_global_norm(10.0), optax.adam(1e-3))
    state = TrainState.create(apply_fn=module.apply, params=params, tx=optimizer)
    length = len(images) // arguments.batch_size
    versions = {"jax": jax.__version__, "flax": flax.__version__}
    print(json.dumps(versions | {"images": length * arguments.batch_size}), flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        losses = []
        order = generator.permutation(len(images))[: length * arguments.batch_size].reshape(length, -1)
        for rows in order:
            key, key_z = jax.random.split(key)
            state, value = train_step(state, images[rows], key_z, loss=loss, num_samples=arguments.num_samples)
            losses.append(value)
        mean = np.mean(jax.device_get(losses)).item()
        print(json.dumps({"seconds": time.perf_counter() - began, "loss": mean}), flush=True)


if __name__ == "__main__":
    main()
