"""Recurrent networks against Linen's own, and what the parts of models of sequences promise."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxvae import networks
from jaxvae.distributions import Bernoulli

WIDTH = 4


def linens(params, inputs):
    """The same weights as Linen has them, which has a bias at every input."""
    of_input, of_state = (jnp.split(params[name], 3, axis=1) for name in ("input_weights", "state_weights"))
    biases = jnp.split(params["bias"], 3)
    gates = {"r": 0, "z": 1, "n": 2}
    tree = {f"i{gate}": {"kernel": of_input[i], "bias": jnp.zeros(WIDTH)} for gate, i in gates.items()}
    for gate, i in gates.items():
        tree[f"h{gate}"] = {"kernel": of_state[i]}
        tree["hn" if gate == "n" else f"i{gate}"]["bias"] = biases[i]
    return {"params": tree}


def test_the_gated_unit_is_linens():
    cell = networks.gru(WIDTH)
    state, inputs = jnp.array([0.3, -0.8, 0.1, 0.5]), jnp.array([1.0, -2.0])
    nothing = {"drive": jnp.zeros(3 * WIDTH)}
    params = cell.init(jax.random.key(0), state, inputs, nothing)
    params["bias"] = jax.random.normal(jax.random.key(1), (3 * WIDTH,))
    expected, _ = nn.GRUCell(WIDTH).apply(linens(params, 2), state, inputs)
    np.testing.assert_allclose(cell.apply(params, state, inputs, nothing), expected, rtol=1e-5)
    # A product that is made beforehand counts as an input.
    drive = {"drive": inputs @ params["input_weights"]}
    np.testing.assert_allclose(cell.apply(params, state, jnp.zeros(2), drive), expected, rtol=1e-5)


def test_the_reader_goes_back_from_the_end_of_the_sequence():
    reader = networks.backward_gru(WIDTH)
    values = jax.random.normal(jax.random.key(0), (5, 2))
    params = reader.init(jax.random.key(1), values, jnp.ones(5))
    state, expected = jnp.zeros(WIDTH), []
    for value in values[::-1]:
        state, _ = nn.GRUCell(WIDTH).apply(linens(params, 2), state, value)
        expected.insert(0, state)
    np.testing.assert_allclose(reader.apply(params, values, jnp.ones(5)), jnp.stack(expected), rtol=1e-5)
    padded = jnp.concatenate([values, jnp.full((3, 2), 9.0)])
    found = reader.apply(params, padded, jnp.array([1.0] * 5 + [0.0] * 3))
    np.testing.assert_allclose(found[:5], jnp.stack(expected), rtol=1e-5)
    np.testing.assert_array_equal(found[5:], 0)


def test_the_gated_transition_is_between_the_identity_and_a_network():
    transition = networks.markov_networks(3, Bernoulli.parameters((2,)), hidden=5).transition
    z = jnp.array([1.0, -2.0, 0.5])
    params = transition.init(jax.random.key(0), z)
    gate = params["params"]["gate"]
    closed = {**params["params"], "gate": {**gate, "bias": jnp.full(3, -1e4)}}
    np.testing.assert_allclose(transition.apply({"params": closed}, z)["mean"], z)
    opened = {**params["params"], "gate": {**gate, "bias": jnp.full(3, 1e4)}}
    assert not np.allclose(transition.apply({"params": opened}, z)["mean"], z)


def test_no_scale_is_below_its_floor():
    parts = networks.markov_networks(3, Bernoulli.parameters((2,)), hidden=5, width=4)
    recurrent = networks.recurrent_networks(3, Bernoulli.parameters((2,)), width=4)
    heard = recurrent.features_x.apply(recurrent.features_x.init(jax.random.key(0), jnp.ones(2)), jnp.ones(2))
    inputs = {
        parts.transition: (jnp.ones(3),),
        parts.combiner: (jnp.ones(3), jnp.ones(4)),
        recurrent.prior: (jnp.ones(4),),
        recurrent.encoder: (jnp.ones(4), heard),
    }
    for network, given in inputs.items():
        params = network.init(jax.random.key(0), *given)
        for scale in (1.0, -1e3, 1e3):
            found = network.apply(jax.tree.map(lambda leaf: scale * leaf, params), *given)["log_scale"]  # noqa: B023
            assert np.all(np.isfinite(found))
            assert np.all(found >= np.float32(np.log(1e-3)) - 1e-6)
