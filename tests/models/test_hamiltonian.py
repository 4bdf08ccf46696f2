import curved_model
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from standard_errors import assert_mean

from jaxvae import bounds, networks
from jaxvae.distributions import Normal, sample_and_log_prob
from jaxvae.draws import leapfrog
from jaxvae.models import hamiltonian_vae, reading_both

pytestmark = pytest.mark.slow  # long to compile

X = jnp.asarray(curved_model.X, jnp.float32)
LOG_EVIDENCE = curved_model.quadrature(curved_model.X)[0]
STEPS = {"log_step_size": jnp.log(jnp.array([0.12, 0.2]))}
# a learned reverse with a bias, so that its density counts
REVERSE = reading_both(networks.mlp((4,), Normal.parameters((2,))))
MOVES = {
    "one momentum": ({"num_moves": 1, "num_leapfrog": 4}, {}),
    "fresh momenta": ({"num_moves": 3, "num_leapfrog": 1}, {}),
    "a learned reverse": (
        {"num_moves": 2, "num_leapfrog": 2, "reverse": REVERSE},
        {"reverse": REVERSE.init(jax.random.key(7), jnp.zeros(3), jnp.zeros(2))},
    ),
}


def model_and_params(name):
    options, params = MOVES[name]
    return hamiltonian_vae(curved_model.curved_vae(), **options), curved_model.PARAMS | STEPS | params


def log_weights(model, params, count=20_000):
    weigh = jax.jit(jax.vmap(lambda key: model.terms(key, params, X).log_weight))
    return np.asarray(weigh(jax.random.split(jax.random.key(1), count)), np.float64)


@pytest.mark.parametrize("name", MOVES)
def test_importance_weights_average_to_the_evidence(name):
    found = log_weights(*model_and_params(name))
    assert_mean(np.exp(found - LOG_EVIDENCE), 1)
    assert found.mean() < LOG_EVIDENCE


def test_the_dynamics_raise_the_bound():
    plain = curved_model.curved_vae()
    keys = jax.random.split(jax.random.key(2), 20_000)
    start = jax.jit(jax.vmap(lambda key: plain.terms(key, curved_model.PARAMS, X).log_weight))(keys)
    moved = log_weights(*model_and_params("one momentum"))
    assert moved.mean() > np.mean(start) + 0.3


def test_small_steps_conserve_the_weight_of_the_start():
    """ln p(x, z) + ln N(r) stands still along Hamilton's equations: what the position gains, the momentum has lost."""
    plain = curved_model.curved_vae()
    model = hamiltonian_vae(plain, num_moves=2, num_leapfrog=30)
    params = curved_model.PARAMS | {"log_step_size": jnp.log(jnp.array([0.01, 0.01]))}

    def both(key):
        z, log_start = sample_and_log_prob(plain.posterior(params, X), jax.random.split(key)[0])
        moved = model.terms(key, params, X)
        before = plain.likelihood(params, z).log_prob(X) + plain.prior(params).log_prob(z) - log_start
        return moved.log_weight, before, moved.kl[1]

    moved, before, of_momenta = jax.jit(jax.vmap(both))(jax.random.split(jax.random.key(6), 20))
    np.testing.assert_allclose(moved, before, atol=0.05)
    assert np.median(np.abs(of_momenta)) > 0.5  # what would be missed


def test_to_use_the_last_momentum_twice_would_be_optimistic():
    """The trap: with the last momentum in the place of the first, the weights' mean lies above p(x)."""
    model = curved_model.curved_vae()

    def log_joint(z):
        return model.likelihood(curved_model.PARAMS, z).log_prob(X) + model.prior(curved_model.PARAMS).log_prob(z)

    def of_draw(key):
        key_z, key_momentum = jax.random.split(key)
        z, log_start = sample_and_log_prob(model.posterior(curved_model.PARAMS, X), key_z)
        momentum = jax.random.normal(key_momentum, (2,))
        end, last = leapfrog(log_joint, z, momentum, step_size=jnp.asarray(0.1), num_leapfrog=4)
        both = 0.5 * jnp.sum(jnp.square(momentum)) - 0.5 * jnp.sum(jnp.square(last))
        return log_joint(end) - log_start, both

    reused, both = jax.jit(jax.vmap(of_draw))(jax.random.split(jax.random.key(1), 20_000))
    assert_mean(np.exp(np.asarray(reused + both, np.float64) - LOG_EVIDENCE), 1)
    with pytest.raises(AssertionError, match="standard errors away"):
        assert_mean(np.exp(np.asarray(reused, np.float64) - LOG_EVIDENCE), 1)
    assert np.mean(np.exp(np.asarray(reused, np.float64) - LOG_EVIDENCE)) > 2


def test_the_terms_add_up():
    model, params = model_and_params("a learned reverse")
    terms = jax.jit(model.terms)(jax.random.key(3), params, X)
    np.testing.assert_allclose(terms.log_weight, terms.log_likelihood - jnp.sum(terms.kl), rtol=1e-5)
    assert terms.kl.shape == (2,)


def test_the_posterior_is_the_moved_one():
    model, params = model_and_params("fresh momenta")
    posterior = jax.jit(model.posterior)(params, X)
    key = jax.random.key(4)
    z = jax.jit(posterior.sample)(key)
    terms = jax.jit(model.terms)(key, params, X)
    np.testing.assert_allclose(model.likelihood(params, z).log_prob(X), terms.log_likelihood, rtol=1e-4)
    with pytest.raises(ValueError, match=r"take iwae_bound or jaxvae\.log_likelihood instead"):
        posterior.log_prob(z)
    plain = curved_model.curved_vae().posterior(params, X).expectation()
    assert np.abs(posterior.expectation() - plain).max() > 0.01


def test_the_gradient_is_that_of_the_bound(float64):
    """Draw by draw, with the same noise, against central differences: of the step sizes, and of the reverse network."""
    model = hamiltonian_vae(curved_model.curved_vae(), num_moves=2, num_leapfrog=2)
    params = {"log_step_size": jnp.log(jnp.array([0.12, 0.2]))}
    x, keys = jnp.asarray(curved_model.X), jax.random.split(jax.random.key(5), 50)

    @jax.jit
    def bound(log_step_size):
        given = curved_model.PARAMS | {"log_step_size": log_step_size}
        return jnp.mean(jax.vmap(lambda key: bounds.elbo(model, key, given, x))(keys))

    slope, step = jax.jit(jax.grad(bound))(params["log_step_size"]), 1e-6
    for i, axis in enumerate(np.eye(2)):
        rise = bound(params["log_step_size"] + step * axis) - bound(params["log_step_size"] - step * axis)
        np.testing.assert_allclose(slope[i], rise / (2 * step), rtol=1e-6)


def test_init_names_the_step_sizes_and_the_reverse():
    model = hamiltonian_vae(curved_model.curved_vae(), step_size=0.1, reverse=REVERSE)
    plain = curved_model.curved_vae()._replace(init=lambda key, x: curved_model.PARAMS)
    params = hamiltonian_vae(plain, step_size=0.1, reverse=REVERSE).init(jax.random.key(0), X)
    np.testing.assert_allclose(np.exp(params["log_step_size"]), 0.1, rtol=1e-6)
    assert np.isfinite(jax.jit(model.terms)(jax.random.key(1), params, X).log_weight)


def test_numbers_that_make_no_move_are_refused():
    model = curved_model.curved_vae()
    with pytest.raises(ValueError, match="num_moves=0 and num_leapfrog=5 must both be at least one"):
        hamiltonian_vae(model, num_moves=0)
    with pytest.raises(ValueError, match=r"step_size=-0\.1 must be positive"):
        hamiltonian_vae(model, step_size=-0.1)
