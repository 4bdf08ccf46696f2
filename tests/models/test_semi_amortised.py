import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from standard_errors import assert_mean

from jaxvae import bounds
from jaxvae.distributions import Normal, closed_kl
from jaxvae.flows import planar
from jaxvae.models import linear, linear_vae, semi_amortised

pytestmark = pytest.mark.slow  # long to compile

LOADINGS = np.array([[1.2, 0.3], [-0.4, 0.9], [0.8, 0.5], [0.1, -1.0]])
X = np.array([1.0, -0.5, 0.7, 0.2])
NOISE = 0.7


def params_with_a_poor_encoder():
    params = linear.parameters(jnp.asarray(LOADINGS), jnp.zeros(4), jnp.asarray(NOISE))
    encoder = params["encoder"] | {"V": params["encoder"]["V"] - 0.3, "log_scale": params["encoder"]["log_scale"] + 0.8}
    return params, params | {"encoder": encoder}


def exact_bound(posterior):
    """The ELBO of a diagonal Gaussian in the linear model, in closed form."""
    mean, scale = np.asarray(posterior.mean), np.exp(posterior.log_scale)
    error = X - LOADINGS @ mean
    spread = np.sum((LOADINGS * scale[None]) ** 2)
    log_likelihood = -0.5 * (error @ error + spread) / NOISE**2 - len(X) * np.log(NOISE * np.sqrt(2 * np.pi))
    return log_likelihood - float(closed_kl(posterior, Normal(jnp.zeros(2), jnp.zeros(2))))


def test_many_steps_find_the_best_diagonal_posterior(float64):
    best, poor = params_with_a_poor_encoder()
    model = semi_amortised(linear_vae(latent=2), num_steps=400, step_size=0.05, num_samples=50)
    refined = jax.jit(model.posterior)(poor, jnp.asarray(X))
    plain = linear_vae(latent=2)
    at_best, at_start = (exact_bound(plain.posterior(params, jnp.asarray(X))) for params in (best, poor))
    assert at_start < at_best - 1
    assert at_best - 0.005 < exact_bound(refined) < at_best + 1e-9


@pytest.mark.parametrize("num_steps", [1, 3, 10])
def test_a_few_steps_never_lower_the_bound(num_steps, float64):
    """By more than their noise, which 20 draws in a step make small."""
    _, poor = params_with_a_poor_encoder()
    model = semi_amortised(linear_vae(latent=2), num_steps=num_steps, step_size=0.03, num_samples=20)
    refine = jax.jit(lambda x: (linear_vae(latent=2).posterior(poor, x), model.posterior(poor, x)))
    start, refined = refine(jnp.asarray(X))
    assert exact_bound(refined) > exact_bound(start) + 0.1


def test_the_bound_is_that_of_the_refined_posterior():
    _, poor = (jax.tree.map(lambda leaf: leaf.astype(jnp.float32), tree) for tree in params_with_a_poor_encoder())
    x = jnp.asarray(X, jnp.float32)
    model = semi_amortised(linear_vae(latent=2), num_steps=5, step_size=0.05, num_samples=10)
    bound = exact_bound(jax.jit(model.posterior)(poor, x))
    keys = jax.random.split(jax.random.key(1), 10_000)
    elbos = jax.jit(jax.vmap(lambda key: bounds.elbo(model, key, poor, x)))(keys)
    assert_mean(elbos, bound)
    log_weights = jax.jit(jax.vmap(lambda key: model.terms(key, poor, x).log_weight))(keys)
    assert_mean(np.exp(np.asarray(log_weights, np.float64) - float(linear.log_marginal(poor, x))), 1)


def test_the_gradient_goes_through_the_steps(float64):
    """Against central differences, draw by draw, for the encoder and the decoder."""
    _, poor = params_with_a_poor_encoder()
    model = semi_amortised(linear_vae(latent=2), num_steps=4, step_size=0.05, num_samples=2)
    flat, unravel = ravel_pytree(poor)

    @jax.jit
    def bound(flat):
        return bounds.elbo(model, jax.random.key(2), unravel(flat), jnp.asarray(X), num_samples=3)

    slope = jax.jit(jax.grad(bound))(flat)
    stopped = jax.grad(lambda flat: bounds.elbo(linear_vae(latent=2), jax.random.key(2), unravel(flat), jnp.asarray(X)))
    assert np.abs(slope - stopped(flat)).max() > 0.1
    for direction in np.random.default_rng(0).normal(size=(3, flat.size)):
        rise = bound(flat + 1e-6 * direction) - bound(flat - 1e-6 * direction)
        np.testing.assert_allclose(slope @ direction, rise / 2e-6, rtol=1e-6)


def test_a_step_is_bounded_however_steep_the_start():
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params_with_a_poor_encoder()[1])
    far = params | {"encoder": params["encoder"] | {"V": params["encoder"]["V"] + 1e3}}
    x = jnp.asarray(X, jnp.float32)
    model = semi_amortised(linear_vae(latent=2), num_steps=1, step_size=0.1)
    start, refined = jax.jit(lambda: (linear_vae(latent=2).posterior(far, x), model.posterior(far, x)))()
    moved = ravel_pytree(jax.tree.map(jnp.subtract, refined, start))[0]
    np.testing.assert_allclose(np.linalg.norm(moved), 0.5, rtol=1e-3)


def test_a_posterior_without_a_closed_divergence_is_refined_too():
    outputs = planar.parameters((2,), num_flows=2)
    rng = np.random.default_rng(3)
    flow = planar(**{name: jnp.asarray(rng.normal(size=shape), jnp.float32) for name, shape in outputs.items()})
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params_with_a_poor_encoder()[1])
    plain = linear_vae(latent=2)._replace(posterior=lambda params, x: flow)
    model = semi_amortised(plain, num_steps=30, step_size=0.05, num_samples=10)
    x = jnp.asarray(X, jnp.float32)
    refined = jax.jit(model.posterior)(params, x)

    def bound(posterior, key):
        z, log_density = posterior.sample_and_log_prob(key)
        log_joint = plain.likelihood(params, z).log_prob(x) + plain.prior(params).log_prob(z)
        return log_joint - log_density

    keys = jax.random.split(jax.random.key(4), 2_000)
    start, end = (jax.jit(jax.vmap(bound, (None, 0)))(posterior, keys) for posterior in (flow, refined))
    assert np.mean(end) > np.mean(start) + 1


def test_numbers_that_make_no_step_are_refused():
    with pytest.raises(ValueError, match="num_steps=0 and num_samples=1 must both be at least one"):
        semi_amortised(linear_vae(latent=2), num_steps=0)
    with pytest.raises(ValueError, match="step_size=0 must be positive"):
        semi_amortised(linear_vae(latent=2), step_size=0)
