"""Training with NumPyro's SVI as its own VAE example does it: `svi.update` in a `fori_loop`, an epoch for each call.

784-400-20 with the ELBO (its KL in closed form), or 784-200-200-50 with the importance-weighted bound; Linen networks,
Adam, clipped gradients. It stands alone and needs only numpyro, flax, optax and numpy: `echo | python numpyro_svi.py`
prints the seconds of one epoch for each line of its input.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import optax
from flax import linen as nn
from numpyro import distributions
from numpyro.contrib.module import flax_module
from numpyro.infer import SVI, RenyiELBO, TraceMeanField_ELBO
from numpyro.optim import optax_to_numpyro


class Encoder(nn.Module):
    """Means and log variances of the latents."""

    hidden: tuple[int, ...]
    latent: int
    activation: Callable

    @nn.compact
    def __call__(self, x):
        """[B, 784] -> mean and log variance [B, latent]."""
        for width in self.hidden:
            x = self.activation(nn.Dense(width)(x))
        return nn.Dense(self.latent)(x), nn.Dense(self.latent)(x)


class Decoder(nn.Module):
    """Logits of the pixels."""

    hidden: tuple[int, ...]
    activation: Callable

    @nn.compact
    def __call__(self, z):
        """[B, latent] -> [B, 784]."""
        for width in self.hidden:
            z = self.activation(nn.Dense(width)(z))
        return nn.Dense(784)(z)


NETWORKS = {"small": ((400,), 20, nn.relu), "iwae": ((200, 200), 50, nn.tanh)}


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
    if arguments.images:
        pixels = np.load(arguments.images)
    else:
        generator = np.random.default_rng(0)
        pixels = generator.integers(2, size=(arguments.count, 784), dtype=np.uint8) * np.uint8(255)
    images = jnp.asarray(pixels)
    batch_size = arguments.batch_size
    length = len(images) // batch_size
    hidden, latent, activation = NETWORKS[arguments.network]

    def model(x):
        decoder = flax_module("decoder", Decoder(hidden[::-1], activation), input_shape=(batch_size, latent))
        with numpyro.plate("batch", len(x)):
            z = numpyro.sample("z", distributions.Normal(0, 1).expand([latent]).to_event(1))
            numpyro.sample("x", distributions.Bernoulli(logits=decoder(z)).to_event(1), obs=x)

    def guide(x):
        encoder = flax_module("encoder", Encoder(hidden, latent, activation), input_shape=(batch_size, 784))
        mean, log_variance = encoder(x)
        with numpyro.plate("batch", len(x)):
            numpyro.sample("z", distributions.Normal(mean, jnp.exp(0.5 * log_variance)).to_event(1))

    # SVI sums over the batch; the gradient of the mean is what the others clip.
    optimizer = optax.chain(optax.scale(1 / batch_size), optax.clip_by_global_norm(10.0), optax.adam(1e-3))
    bound = TraceMeanField_ELBO() if arguments.network == "small" else RenyiELBO(0, arguments.num_samples)
    svi = SVI(model, guide, optax_to_numpyro(optimizer), bound)
    state = svi.init(jax.random.key(0), images[:batch_size].astype(jnp.float32) / 255)

    @jax.jit
    def epoch(state, key):
        rows = jax.random.permutation(key, len(images))[: length * batch_size].reshape(length, batch_size)

        def body(index, carry):
            state, total = carry
            x = images[rows[index]].astype(jnp.float32) / 255
            state, loss = svi.update(state, x)
            return state, total + loss

        return jax.lax.fori_loop(0, length, body, (state, jnp.zeros(())))

    versions = {"jax": jax.__version__, "numpyro": numpyro.__version__}
    print(json.dumps(versions | {"images": length * batch_size}), flush=True)
    for index, _ in enumerate(sys.stdin):
        began = time.perf_counter()
        state, total = epoch(state, jax.random.key(index + 1))
        mean = total.item() / (length * batch_size)
        print(json.dumps({"seconds": time.perf_counter() - began, "loss": mean}), flush=True)


if __name__ == "__main__":
    main()
