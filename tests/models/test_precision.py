"""Images in single precision in a program that has `jax_enable_x64`: whatever of the params is double, nothing breaks.

Flax's layers are single there, and what the library itself begins, a learned prior say, is double. Tracing tells.
"""

from functools import partial

import jax
import jax.numpy as jnp
import optax
import pytest

import jaxvae
from jaxvae import bounds, draws, evaluation, latent, networks, priors
from jaxvae.distributions import Normal, NormalMixture
from jaxvae.losses import negative_bound
from jaxvae.model import vae
from jaxvae.models import generalized_doubly_reparameterized, hamiltonian_vae
from jaxvae.networks import Free
from jaxvae.training import make_step, start

SHAPE = (4, 4, 1)
KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def _as_users_have_it(float64):
    with jax.numpy_dtype_promotion("standard"):
        yield


def model_of(draw=draws.pathwise, posterior=Normal, **options):
    encoder = networks.conv_encoder((2,), posterior.parameters((3,), **options))
    decoder = networks.conv_decoder((2,), {"mean": SHAPE, "log_scale": Free(())})
    prior = priors.learned(Normal, (3,))
    return vae(encoder=encoder, decoder=decoder, prior=prior, posterior=posterior, likelihood=Normal, draw=draw)


MODELS = {
    "pathwise": model_of,
    "sticking the landing": lambda: model_of(draws.sticking_the_landing),
    "doubly reparameterised": lambda: model_of(draws.doubly_reparameterized),
    "generalised": lambda: generalized_doubly_reparameterized(model_of()),
    "generalised, of a mixture": lambda: generalized_doubly_reparameterized(
        model_of(posterior=NormalMixture, components=2)
    ),
    "hamiltonian": lambda: hamiltonian_vae(model_of()),
}


def params_of(model):
    return jax.eval_shape(model.init, KEY, jax.ShapeDtypeStruct(SHAPE, jnp.float32))


@pytest.mark.parametrize("name", MODELS)
def test_a_step_keeps_every_type(name):
    model = MODELS[name]()
    optimizer = optax.adam(1e-3)
    step = make_step(negative_bound(model, bounds.importance_weighted, num_samples=3), optimizer)

    def both(params, keys, xs):
        state = start(params, optimizer)
        return state, step(state, keys, xs)[0]

    of_params = params_of(model)
    assert {leaf.dtype for leaf in jax.tree.leaves(of_params)} == {jnp.dtype("float32"), jnp.dtype("float64")}
    keys = jax.eval_shape(lambda: jax.random.split(KEY, 2))
    before, after = jax.eval_shape(both, of_params, keys, jax.ShapeDtypeStruct((2, *SHAPE), jnp.float32))
    assert [leaf.dtype for leaf in jax.tree.leaves(before)] == [leaf.dtype for leaf in jax.tree.leaves(after)]


CALLS = {
    "log_likelihood": lambda model, params, x: jaxvae.log_likelihood(model, KEY, params, x, num_samples=7, chunk=3),
    "prior_log_likelihood": lambda model, params, x: evaluation.prior_log_likelihood(
        model, KEY, params, x, num_samples=7, chunk=3
    ),
    "annealed": lambda model, params, x: evaluation.annealed_log_likelihood(
        model, KEY, params, x, path=evaluation.sigmoid_path(4), num_chains=2
    ),
    "bidirectional": lambda model, params, x: evaluation.bidirectional(
        model, KEY, params, path=evaluation.sigmoid_path(4), num_chains=2
    ),
    "best_posterior": lambda model, params, x: evaluation.best_posterior(model, KEY, params, x, num_steps=2),
    "map_code": lambda model, params, x: latent.map_code(model, params, x, num_steps=2),
    "pseudo_gibbs": lambda model, params, x: latent.pseudo_gibbs(
        model, KEY, params, x, jnp.ones(SHAPE, bool), num_rounds=2
    ),
    "thermodynamic": lambda model, params, x: bounds.bound(bounds.thermodynamic(3))(
        model, KEY, params, x, num_samples=3
    ),
}


@pytest.mark.parametrize("call", CALLS)
def test_what_is_asked_of_a_model(call):
    model = model_of()
    jax.eval_shape(partial(CALLS[call], model), params_of(model), jax.ShapeDtypeStruct(SHAPE, jnp.float32))
