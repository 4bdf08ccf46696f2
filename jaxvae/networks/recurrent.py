"""Networks that go along a sequence, as pure functions: a gated recurrent unit, and the parts of models made of one.

What a step knows beforehand, the products of its inputs, is made for all steps at once, outside of the recurrence.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxvae.loops import scan
from jaxvae.networks.layers import Dense, Heads, Outputs, glorot
from jaxvae.networks.pairs import mlp, pure
from jaxvae.types import Array, Key, Network, Params, Shape

FLOOR = 1e-3  # the least standard deviation that these networks give


def gated_step(state: Array, inputs: Array, weights: Array, bias: Array) -> Array:
    """The state of a gated recurrent unit after one more step.

    r, u = σ(a + U h + b),    h' = u h + (1 - u) tanh(a_c + r (U_c h + b_c))

    Args:
        state: [width] h.
        inputs: [3 width] a, the products of the step's inputs, to the reset gate, the update gate, the candidate.
        weights: [width, 3 width] U.
        bias: [3 width] b.

    Returns:
        [width].

    Source: Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder" (2014), with the reset gate after
    the product, which lets one product serve all gates.
    """
    reset_in, update_in, candidate_in = jnp.split(inputs, 3)
    reset_state, update_state, candidate_state = jnp.split(state @ weights + bias, 3)
    update = nn.sigmoid(update_in + update_state)
    candidate = jnp.tanh(candidate_in + nn.sigmoid(reset_in + reset_state) * candidate_state)
    return update * state + (1 - update) * candidate


def gru(width: int) -> Network:
    """A gated recurrent unit.

    Args:
        width: of the state.

    Returns:
        (state [width], inputs [n], driven) -> the next state; driven["drive"] [3 width] is added to the gates, for
        products that are made beforehand.
    """

    def init(key: Key, state: Array, inputs: Array, driven: Any) -> Params:
        key_input, key_state = jax.random.split(key)
        return {"input_weights": glorot(key_input, (inputs.size, 3 * width)), **_recurrent(key_state, width)}

    def apply(params: Params, state: Array, inputs: Array, driven: Any) -> Array:
        drive = inputs @ params["input_weights"] + driven["drive"]
        return gated_step(state, drive, params["state_weights"], params["bias"])

    return Network(init, apply)


def backward_gru(width: int) -> Network:
    """A gated recurrent unit that goes back through a sequence: what every step tells of itself and all after it.

    The state is held where the mask is zero, so that a padded sequence is read as if it were not.

    Args:
        width: of the state.

    Returns:
        (values [T, *event], mask [T]) -> [T, width].

    Example:
        >>> reader = backward_gru(4)
        >>> params = reader.init(jax.random.key(0), jnp.zeros((3, 2)), jnp.ones(3))
        >>> reader.apply(params, jnp.ones((3, 2)), jnp.array([1.0, 1.0, 0.0])).shape
        (3, 4)
    """

    def init(key: Key, values: Array, mask: Array) -> Params:
        key_input, key_state = jax.random.split(key)
        inputs = math.prod(values.shape[1:])
        return {"input_weights": glorot(key_input, (inputs, 3 * width)), **_recurrent(key_state, width)}

    def apply(params: Params, values: Array, mask: Array) -> Array:
        drives = values.reshape(len(values), -1) @ params["input_weights"]

        def one(state: Array, given: tuple[Array, Array]) -> tuple[Array, Array]:
            drive, there = given
            after = gated_step(state, drive, params["state_weights"], params["bias"])
            state = jnp.where(there, after, state)
            return state, state

        start = jnp.zeros_like(params["bias"], shape=(width,))
        return scan(one, start, (drives, mask.astype(bool)), reverse=True)[1]

    return Network(init, apply)


class MarkovNetworks(NamedTuple):
    """The networks of `jaxvae.models.deep_markov`, by its names."""

    transition: Network
    reader: Network
    combiner: Network
    decoder: Network


def markov_networks(latent: int, outputs: Outputs, *, hidden: int = 100, width: int = 128) -> MarkovNetworks:
    """The networks of the deep Markov model: gated transition, backward recurrent reader, combiner, emission.

    Args:
        latent: Z, the number of dimensions of z_t.
        outputs: of p(x_t|z_t), for instance `Bernoulli.parameters((88,))`.
        hidden: units in the hidden layers of the transition and of the emission, which has two.
        width: of the reader's state.

    Returns:
        The networks, for `deep_markov(**networks._asdict(), ...)`.

    Source: Krishnan, Shalit & Sontag (2017), section 4 (gated transition) and section 5 (combiner function).
    """
    return MarkovNetworks(
        transition=pure(_GatedTransition(latent, hidden)),
        reader=backward_gru(width),
        combiner=pure(_Combiner(latent, width)),
        decoder=mlp((hidden, hidden), outputs),
    )


class RecurrentNetworks(NamedTuple):
    """The networks of `jaxvae.models.variational_recurrent`, by its names."""

    features_x: Network
    features_z: Network
    prior: Network
    encoder: Network
    decoder: Network
    recurrence: Network


def recurrent_networks(latent: int, outputs: Outputs, *, width: int = 128) -> RecurrentNetworks:
    """The networks of the variational recurrent network, every layer of the width of the state.

    Args:
        latent: Z, the number of dimensions of z_t.
        outputs: of p(x_t|z_t, h_{t-1}).
        width: of the state and of all hidden layers.

    Returns:
        The networks, for `variational_recurrent(**networks._asdict(), state=(width,), ...)`.

    Source: Chung et al. (2015), section 3.1, with a gated unit for the LSTM.
    """
    shape = (latent,)
    return RecurrentNetworks(
        features_x=mlp((width,), {"message": (width,), "drive": (3 * width,)}),
        features_z=pure(_Features(width)),
        prior=floored(mlp((width,), {"mean": shape, "log_scale": shape})),
        encoder=floored(pure(_Hearing(width, (("mean", shape), ("log_scale", shape))))),
        decoder=pure(_Joined(width, tuple(outputs.items()))),
        recurrence=gru(width),
    )


def floored(network: Network, *, least: float = FLOOR) -> Network:
    """The same network, with an output "log_scale" l that is the logarithm of ln(1 + exp l) plus a floor.

    The logarithm of a scale without a floor is how recurrent models come to NaN.

    Args:
        network: whose outputs have a "log_scale".
        least: the floor, in the units of z or x.

    Returns:
        The network.

    Example:
        >>> network = floored(Network(lambda key, x: {}, lambda params, x: {"log_scale": x}))
        >>> round(float(jnp.exp(network.apply({}, jnp.array(-1e4))["log_scale"])), 6)
        0.001
    """

    def apply(params: Params, *inputs: Any) -> dict[str, Array]:
        outputs = network.apply(params, *inputs)
        return {**outputs, "log_scale": _log_scale(outputs["log_scale"], least)}

    return Network(network.init, apply)


def _log_scale(raw: Array, least: float = FLOOR) -> Array:
    return jnp.log(nn.softplus(raw) + least)


def _identity(key: Key, shape: Shape, dtype: Any) -> Array:
    return jnp.eye(shape[0], shape[1], dtype=dtype)


def _recurrent(key: Key, width: int) -> Params:
    weights = jax.random.normal(key, (width, 3 * width)) / math.sqrt(width)
    return {"state_weights": weights, "bias": jnp.zeros(3 * width)}


class _GatedTransition(nn.Module):
    """N((1 - g) (W z + b) + g h(z), s²): W = I and b = 0 at first, g a gate between the linear and the other mean."""

    latent: int
    hidden: int

    @nn.compact
    def __call__(self, z: Array) -> dict[str, Array]:
        gate = nn.sigmoid(Dense(self.latent, name="gate")(nn.relu(Dense(self.hidden, name="gate_hidden")(z))))
        proposed = Dense(self.latent, name="proposal")(nn.relu(Dense(self.hidden, name="proposal_hidden")(z)))
        linear = nn.Dense(self.latent, kernel_init=_identity, name="linear")(z)
        raw = Dense(self.latent, name="scale")(nn.relu(proposed))
        return {"mean": (1 - gate) * linear + gate * proposed, "log_scale": _log_scale(raw)}


class _Combiner(nn.Module):
    """The posterior's outputs from ½ (tanh(W z_{t-1} + b) + h_t)."""

    latent: int
    width: int

    @nn.compact
    def __call__(self, before: Array, heard: Array) -> dict[str, Array]:
        both = 0.5 * (jnp.tanh(Dense(self.width)(before)) + heard)
        shape = (self.latent,)
        outputs = Heads((("mean", shape), ("log_scale", shape)))(both)
        return {"mean": outputs["mean"], "log_scale": _log_scale(outputs["log_scale"])}


class _Features(nn.Module):
    width: int

    @nn.compact
    def __call__(self, z: Array) -> Array:
        return nn.relu(Dense(self.width)(z.reshape(-1)))


class _Hearing(nn.Module):
    """A hidden layer of the state and of what was heard, whose product with the weights is made beforehand."""

    width: int
    outputs: tuple[tuple[str, Shape], ...]

    @nn.compact
    def __call__(self, state: Array, heard: Any) -> dict[str, Array]:
        return Heads(self.outputs)(nn.relu(Dense(self.width, use_bias=False)(state) + heard["message"]))


class _Joined(nn.Module):
    """A hidden layer of two inputs."""

    width: int
    outputs: tuple[tuple[str, Any], ...]

    @nn.compact
    def __call__(self, first: Array, second: Array) -> dict[str, Array]:
        return Heads(self.outputs, name="heads")(nn.relu(Dense(self.width)(jnp.concatenate([first, second]))))
