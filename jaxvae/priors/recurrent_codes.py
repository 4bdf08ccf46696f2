"""A prior over images of codes, one code after another: a recurrent network that knows the codes to the left and above.

ln p(c) = Σ_i ln p(c_i | c_1, ..., c_{i-1})
"""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.nn import log_softmax

from jaxvae.distributions import check_event
from jaxvae.loops import scan
from jaxvae.networks import gated_step
from jaxvae.types import Array, Key, Params, Shape


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RecurrentCodes:
    """The codes of an image in raster order, each from the state of a gated recurrent unit.

    h_i = GRU(h_{i-1}, [left_i, above_i] + place_i),    p(c_i | c_<i) = softmax(W h_i + b)

    left_i and above_i are embeddings of the codes there, zero at the border; place_i is a vector for the position.

    Args:
        left: [K, width] embeddings.
        above: [K, width] embeddings.
        place: [rows, columns, width].
        input_weights: [width, 3 width] to the reset gate, the update gate, the candidate.
        state_weights: [width, 3 width].
        gate_bias: [3 width].
        readout: [width, K] W.
        bias: [K] b.

    Source: Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder" (2014), for the unit.
    """

    left: Array
    above: Array
    place: Array
    input_weights: Array
    state_weights: Array
    gate_bias: Array
    readout: Array
    bias: Array

    def log_prob(self, value: Array) -> Array:
        """ln p(c) of codes [rows, columns]: [], in nats."""
        check_event(self, value, self.place.shape[:2])
        left, above = self.left[value], self.above[value]
        left = jnp.pad(left[:, :-1], ((0, 0), (1, 0), (0, 0)))
        above = jnp.pad(above[:-1], ((1, 0), (0, 0), (0, 0)))
        inputs = (left + above + self.place).reshape(-1, left.shape[-1]) @ self.input_weights
        start = jnp.zeros_like(self.place[0, 0])
        _, states = scan(lambda state, given: (self._next(state, given),) * 2, start, inputs)
        log_probabilities = log_softmax(states @ self.readout + self.bias[None])
        return jnp.sum(jnp.take_along_axis(log_probabilities, value.reshape(-1, 1), axis=-1))

    def sample(self, key: Key) -> Array:
        """Codes, [rows, columns], drawn one after another."""
        rows, columns, width = self.place.shape
        above = jnp.zeros((columns, width), self.place.dtype)

        def one(carry: tuple[Array, Array, Array], given: tuple[Key, Array, Array]) -> tuple[tuple, Array]:
            state, left, above = carry
            key, place, column = given
            left = jnp.where(column == 0, jnp.zeros_like(left), left)
            state = self._next(state, (left + above[column] + place) @ self.input_weights)
            code = jax.random.categorical(key, state @ self.readout + self.bias).astype(jnp.int32)
            return (state, self.left[code], above.at[column].set(self.above[code])), code

        keys = jax.random.split(key, rows * columns)
        given = (keys, self.place.reshape(-1, width), jnp.tile(jnp.arange(columns), rows))
        start = jnp.zeros_like(self.place[0, 0])
        _, codes = scan(one, (start, start, above), given)
        return codes.reshape(rows, columns)

    def _next(self, state: Array, inputs: Array) -> Array:
        """The state after one more position; inputs [3 width] are multiplied already."""
        return gated_step(state, inputs, self.state_weights, self.gate_bias)


def start(key: Key, shape: Shape, num_codes: int, *, width: int = 256) -> Params:
    """The distribution before training, whose arrays are its own params: every code nearly equally probable.

    Args:
        key: for the weights.
        shape: [rows, columns] of the image of codes.
        num_codes: K.
        width: of the state.

    Returns:
        The distribution; `jax.grad` of its `log_prob` is a distribution of gradients.

    Example:
        >>> prior = start(jax.random.key(0), (2, 2), 3, width=4)
        >>> bool(abs(prior.log_prob(jnp.array([[0, 1], [2, 0]])) - 4 * jnp.log(1 / 3)) < 0.5)
        True
    """
    keys = jax.random.split(key, 6)

    def normal(key: Key, *sizes: int, scale: float) -> Array:
        return scale * jax.random.normal(key, sizes)

    narrow = 1 / math.sqrt(width)
    return RecurrentCodes(
        left=normal(keys[0], num_codes, width, scale=0.5),
        above=normal(keys[1], num_codes, width, scale=0.5),
        place=normal(keys[2], *shape, width, scale=0.5),
        input_weights=normal(keys[3], width, 3 * width, scale=narrow),
        state_weights=normal(keys[4], width, 3 * width, scale=narrow),
        gate_bias=jnp.zeros(3 * width),
        readout=normal(keys[5], width, num_codes, scale=0.1 * narrow),
        bias=jnp.zeros(num_codes),
    )
