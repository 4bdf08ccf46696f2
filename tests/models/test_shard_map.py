"""Every function of the core inside a user's `shard_map`: a loop's carry varies over the devices as what enters it.

Tracing alone tells, so nothing is computed here but the numbers of log p(x).
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from test_shapes import DENSITIES, GOOD, IMAGE, KEY, image_vae, of

import jaxvae
from jaxvae import bounds, evaluation, flows, latent, networks
from jaxvae.distributions import Bernoulli
from jaxvae.likelihoods import Multinomial
from jaxvae.loops import fori_loop, scan
from jaxvae.losses import negative_bound
from jaxvae.models import Sequence, deep_markov, linear
from jaxvae.training import make_step, start

AXIS = "data"
POSTERIORS = {
    "inverse autoregressive": (flows.inverse_autoregressive, {"hidden": 8}),
    "neural spline": (flows.neural_spline, {"hidden": 8, "bins": 4}),
    "planar": (flows.planar, {}),
    "radial": (flows.radial, {}),
    "orthogonal sylvester": (flows.orthogonal_sylvester, {"columns": 2}),
    "householder sylvester": (flows.householder_sylvester, {"reflections": 2}),
    "triangular sylvester": (flows.triangular_sylvester, {}),
    "affine coupling": (flows.affine_coupling, {"hidden": 8}),
}


def shared(function, *varying):
    """A function of varying trees [devices, ...], each device with its row, on a mesh of one."""
    mesh = Mesh(np.array(jax.devices()[:1]), (AXIS,))
    mapped = jax.shard_map(jax.vmap(function), mesh=mesh, in_specs=P(AXIS), out_specs=P(AXIS))
    rows = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], varying)
    return mapped, rows


def traces(function, *varying):
    mapped, rows = shared(function, *varying)
    return jax.eval_shape(mapped, *rows)


def drawn(density, key):
    """A draw; JAX's own binomial cannot be inside a `shard_map`, so a multinomial's is a constant."""
    return jnp.zeros_like(density.logits) if isinstance(density, Multinomial) else density.sample(key)


@pytest.mark.parametrize("name", DENSITIES)
def test_densities_and_their_draws(name):
    """The parameters are the same on all devices, the key differs; and both differ."""
    density = DENSITIES[name]()

    def both(key, density=density):
        value = drawn(density, key)
        return value, density.log_prob(value), jax.grad(lambda density: density.log_prob(value))(density)

    def forward(key, density=density):
        value = drawn(density, key)
        return value, density.log_prob(value)

    differs = all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in jax.tree.leaves(density))
    traces(forward, KEY)
    traces(both if differs else forward, KEY, density)


@pytest.mark.parametrize("name", POSTERIORS)
def test_flows_there_and_back(name):
    family, options = POSTERIORS[name]
    density = of(family, (3,), num_flows=2, **options)

    def both(key, z, density=density):
        return density.sample(key), density.log_prob(z)

    traces(both, KEY, jnp.zeros(3))
    traces(both, KEY, jnp.zeros(3), density)


CALLS = {
    "elbo": partial(jaxvae.elbo, num_samples=3),
    "iwae_bound": partial(jaxvae.iwae_bound, num_samples=3),
    "thermodynamic": partial(bounds.bound(bounds.thermodynamic(3)), num_samples=3),
    "log_likelihood": partial(jaxvae.log_likelihood, num_samples=7, chunk=3),
    "prior_log_likelihood": partial(evaluation.prior_log_likelihood, num_samples=7, chunk=3),
    "importance_estimate": partial(evaluation.importance_estimate, num_samples=7, chunk=3),
    "terms a few at a time": partial(bounds.draw_terms, num_samples=4, at_once=2),
    "annealed": lambda model, key, params, x: evaluation.annealed_log_likelihood(
        model, key, params, x, path=evaluation.sigmoid_path(4), num_chains=2
    ),
}


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("call", CALLS)
def test_models(name, call):
    if name == "plain" and call not in ("elbo",):
        pytest.skip("it has no weights")
    if call in ("prior_log_likelihood", "annealed") and name not in ("vae", "semi-amortised"):
        pytest.skip("it is for models of one latent")
    model = GOOD[name]()
    params = jax.eval_shape(model.init, KEY, jnp.zeros(IMAGE))
    params = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), params)
    traces(lambda key, x: CALLS[call](model, key, params, x), KEY, jnp.zeros(IMAGE))


OF_ONE_LATENT = {
    "best_posterior": lambda model, key, params, x: evaluation.best_posterior(
        model, key, params, x, num_steps=2, num_draws=2
    ),
    "map_code": lambda model, key, params, x: latent.map_code(model, params, x, num_steps=2),
    "pseudo_gibbs": lambda model, key, params, x: latent.pseudo_gibbs(
        model, key, params, x, jnp.ones(IMAGE, bool), num_rounds=2
    ),
}


@pytest.mark.parametrize("call", OF_ONE_LATENT)
def test_ascents_and_chains(call):
    model = image_vae()
    params = model.init(KEY, jnp.zeros(IMAGE))
    with jax.numpy_dtype_promotion("standard"):  # Optax's
        traces(lambda key, x: OF_ONE_LATENT[call](model, key, params, x), KEY, jnp.zeros(IMAGE))


def test_sequences():
    parts = networks.markov_networks(2, Bernoulli.parameters((3,)), hidden=4, width=4)
    model = deep_markov(**parts._asdict(), latent=(2,), length=5)
    x = Sequence(jnp.ones((5, 3)), jnp.ones(5))
    params = model.init(KEY, x)
    traces(lambda key, x: jaxvae.elbo(model, key, params, x), KEY, x)
    traces(lambda key: model.sample(key, params), KEY)


@pytest.mark.parametrize("name", ["log_likelihood", "prior_log_likelihood"])
def test_the_numbers_are_those_outside(name):
    model = linear.linear_vae(latent=1)
    params = linear.parameters(jnp.ones((3, 1)), jnp.zeros(3), jnp.ones(()))
    mapped, rows = shared(lambda key, x: CALLS[name](model, key, params, x), KEY, jnp.ones(3))
    np.testing.assert_allclose(jax.jit(mapped)(*rows)[0], CALLS[name](model, KEY, params, jnp.ones(3)), rtol=1e-6)


def test_a_gradient_passes_a_loop_as_it_does_outside():
    def last(start, factor):
        return scan(lambda carry, x: (carry * factor + x, None), start, jnp.ones(4))[0]

    inside, rows = shared(jax.grad(lambda factor: last(jnp.zeros(()), factor)), 2.0)
    np.testing.assert_allclose(inside(*rows), jax.grad(last, argnums=1)(jnp.zeros(()), 2.0))


@pytest.mark.parametrize("parts", [1, 2])
def test_a_step_of_ones_own_averaging(parts):
    """Params are the same on all devices; their gradient is summed over the devices by JAX itself."""
    model, optimizer = image_vae(), optax.sgd(0.1)
    step = make_step(negative_bound(model, bounds.average), optimizer, accumulate=parts)
    state = start(model.init(KEY, jnp.zeros(IMAGE)), optimizer)
    traces(lambda keys, xs: step(state, keys, xs), jax.random.split(KEY, 4), jnp.zeros((4, *IMAGE)))


def test_outside_of_shard_map_nothing_is_traced_twice():
    traced = []
    jax.eval_shape(lambda: fori_loop(0, 3, lambda i, total: traced.append(i) or total + 1, jnp.zeros(())))
    jax.eval_shape(lambda: scan(lambda total, x: (traced.append(x) or total + x, None), jnp.zeros(()), jnp.ones(3)))
    assert len(traced) == 2
