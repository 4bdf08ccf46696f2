"""The 784-400-20 network trained by one scan in plain JAX, batched by hand: what a careful user writes for this alone.

It does the arithmetic of the library's epoch with nothing of the library: arrays with a batch axis, one key for the
noise of a whole batch. It reports the metrics that the library reports. The library must not be slower.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

Array = jax.Array


class Affine(NamedTuple):
    """x W + b."""

    weights: Array  # [inputs, outputs]
    bias: Array  # [outputs]

    def __call__(self, x: Array) -> Array:
        """[B, inputs] -> [B, outputs]."""
        return x @ self.weights + self.bias[None]


class Params(NamedTuple):
    """784-400-20-400-784."""

    encoder_hidden: Affine
    mean: Affine
    log_scale: Affine
    decoder_hidden: Affine
    logits: Affine


class Carry(NamedTuple):
    """What the scan carries."""

    step: Array
    params: Params
    optimizer: optax.OptState


def init(key: Array) -> Params:
    """Glorot's uniform weights, zero biases."""
    glorot = jax.nn.initializers.glorot_uniform()
    shapes = [(784, 400), (400, 20), (400, 20), (20, 400), (400, 784)]
    keys = jax.random.split(key, len(shapes))
    return Params(*[Affine(glorot(k, shape), jnp.zeros(shape[1])) for k, shape in zip(keys, shapes, strict=True)])


def loss(params: Params, noise: Array, xs: Array) -> tuple[Array, dict[str, Array]]:
    """-ELBO of a batch, and its two parts.

    Args:
        params: the weights.
        noise: [B, 20] ε.
        xs: [B, 784] pixels.

    Returns:
        [] nats, the mean over the batch; and the metrics.
    """
    hidden = jax.nn.relu(params.encoder_hidden(xs))
    mean, log_scale = params.mean(hidden), params.log_scale(hidden)
    z = mean + jnp.exp(log_scale) * noise
    logits = params.logits(jax.nn.relu(params.decoder_hidden(z)))
    log_likelihood = jnp.sum(xs * logits - jax.nn.softplus(logits), axis=-1)
    kl = jnp.sum(0.5 * (jnp.exp(2 * log_scale) + jnp.square(mean) - 1) - log_scale, axis=-1)
    return -jnp.mean(log_likelihood - kl), {"log_likelihood": jnp.mean(log_likelihood), "kl": jnp.mean(kl)}


def start(key: Array, optimizer: optax.GradientTransformation) -> Carry:
    """The state before the first step."""
    params = init(key)
    return Carry(jnp.zeros((), jnp.int32), params, optimizer.init(params))


def epoch(
    carry: Carry, key: Array, data: Array, *, optimizer: optax.GradientTransformation, batch_size: int
) -> tuple[Carry, dict[str, Array]]:
    """One shuffled pass over uint8 pixels [N, 784] on the device; the metrics of every step."""
    length = len(data) // batch_size
    key_order, key_noise = jax.random.split(jax.random.fold_in(key, carry.step))
    rows = jax.random.permutation(key_order, len(data))[: length * batch_size].reshape(length, batch_size)

    def step(carry: Carry, rows: Array) -> tuple[Carry, dict[str, Array]]:
        xs = data[rows].astype(jnp.float32) / 255
        noise = jax.random.normal(jax.random.fold_in(key_noise, carry.step), (batch_size, 20))
        (value, metrics), gradient = jax.value_and_grad(loss, has_aux=True)(carry.params, noise, xs)
        metrics |= {"loss": value, "gradient_norm": optax.tree.norm(gradient)}
        updates, state = optimizer.update(gradient, carry.optimizer, carry.params)
        return Carry(carry.step + 1, optax.apply_updates(carry.params, updates), state), metrics

    return jax.lax.scan(step, carry, rows)
