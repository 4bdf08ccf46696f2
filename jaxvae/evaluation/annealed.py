"""Annealed importance sampling: log p(x) from above and below without a good posterior.

A chain walks from a distribution that is easy to draw from, f₀, to the posterior, along densities that lead there,

f_β(z) ∝ f₀(z)^(1-β) [p(z) p(x|z)]^β,    0 = β_0 < β_1 < ... < β_T = 1,

by Hamiltonian moves, each of which leaves its f_β invariant. What it meets on the way is its importance weight.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from jaxvae.draws import hamiltonian_move, tune_step_size
from jaxvae.loops import scan
from jaxvae.model import VAE
from jaxvae.types import Array, Distribution, Key, Params

Start = Callable[[VAE, Params, Array], Distribution]  # (model, params, x) -> f₀


class Annealed(NamedTuple):
    """What `num_chains` chains from f₀ to the posterior found."""

    log_likelihood: Array  # []  nats, in expectation a lower bound on log p(x)
    log_weights: Array  # [C]  one for each chain; `jaxvae.evaluation.diagnose` judges them
    values: Array  # [C, *latent]  the chains' ends: with their weights, draws from the posterior
    acceptance: Array  # [T]  the mean probability of acceptance at each temperature
    step_size: Array  # [T]


class Bidirectional(NamedTuple):
    """log p(x) of simulated data, from both sides."""

    lower: Array  # []  nats, forward chains: in expectation below log p(x)
    upper: Array  # []  nats, reverse chains from the exact posterior: in expectation above it
    gap: Array  # []  upper - lower: in expectation at least the error of either


def from_prior(model: VAE, params: Params, x: Array) -> Distribution:
    """f₀ = p(z): the path is p(z) p(x|z)^β, and no encoder is needed."""
    return model.prior(params)


def from_posterior(model: VAE, params: Params, x: Array) -> Distribution:
    """f₀ = q(z|x): a shorter way when the encoder is good."""
    return model.posterior(params, x)


def sigmoid_path(num_temperatures: int, *, steepness: float = 4.0) -> Array:
    """Inverse temperatures that lie densest at both ends, where f_β changes fastest.

    β_t = (b_t - b_0) / (b_T - b_0),    b_t = sigmoid(δ (2t/T - 1))

    Args:
        num_temperatures: T ≥ 1, the number of moves of a chain.
        steepness: δ > 0.

    Returns:
        [T + 1] from zero to one.

    Raises:
        ValueError: `num_temperatures` is less than one, or `steepness` is not positive.

    Example:
        >>> [round(float(beta), 3) for beta in sigmoid_path(4)]
        [0.0, 0.105, 0.5, 0.895, 1.0]

    Source: Grosse, Ghahramani & Adams, "Sandwiching the Marginal Likelihood" (2015), section 6.
    """
    if num_temperatures < 1:
        raise ValueError(f"a path needs at least one move, not num_temperatures={num_temperatures}")
    if not steepness > 0:
        raise ValueError(f"steepness={steepness} must be positive; its limit at zero is jnp.linspace(0, 1, T + 1)")
    points = jax.nn.sigmoid(jnp.linspace(-steepness, steepness, num_temperatures + 1))
    # Divided by what the last one becomes, so that the ends are zero and one exactly.
    return (points - points[0]) / (points[-1] - points[0])


def annealed_log_likelihood(
    model: VAE,
    key: Key,
    params: Params,
    x: Array,
    *,
    path: Array,
    num_chains: int = 16,
    num_leapfrog: int = 10,
    start: Start = from_prior,
) -> Annealed:
    """log p(x) by annealed importance sampling with Hamiltonian moves.

    log p(x) ≈ ln 1/C Σ_c w_c,    ln w = Σ_t (β_t - β_{t-1}) ln [p(x, z_{t-1}) / f₀(z_{t-1})]

    The weights' mean is p(x) exactly for every T, so that the log is in expectation a lower bound, which rises to
    log p(x) with T and with C. Step sizes come from other chains, of a run before (`tune_step_size`): a chain that
    tunes itself has weights whose mean is not p(x).

    Args:
        model: any model with a prior and a differentiable likelihood, over continuous z; no `terms` are needed.
        key: for the chains.
        params: the model's parameters.
        x: [*event] one example. `vmap` over examples.
        path: [T + 1] inverse temperatures rising from zero to one: `sigmoid_path(T)`, or `jnp.linspace(0, 1, T + 1)`.
        num_chains: C.
        num_leapfrog: leapfrog steps of each move.
        start: f₀, `from_prior` or `from_posterior`, or your own.

    Returns:
        The estimate, the chains' weights and ends. The cost is C T (num_leapfrog + 1) gradients, and that of up to
        sixteen more chains for the step sizes.

    Raises:
        ValueError: `num_chains` or `num_leapfrog` is less than one, or `path` is no list of temperatures.

    Example:
        >>> from jaxvae.models import linear
        >>> model = linear.linear_vae(latent=2)
        >>> params, x = linear.parameters(jnp.eye(3, 2), jnp.zeros(3), jnp.ones(())), jnp.ones(3)
        >>> estimate = jax.jit(partial(annealed_log_likelihood, model, path=sigmoid_path(100)))
        >>> annealed = estimate(jax.random.key(0), params, x)
        >>> bool(abs(annealed.log_likelihood - linear.log_marginal(params, x)) < 0.1)
        True

    Source: Neal, "Annealed Importance Sampling" (2001); Wu, Burda, Salakhutdinov & Grosse, "On the Quantitative
    Analysis of Decoder-Based Generative Models" (2017), section 3.
    """
    _check(path, num_chains, num_leapfrog)
    key_tune, key_tuned, key_start, key_chains = jax.random.split(key, 4)
    f_0, log_joint = start(model, params, x), _log_joint(model, params, x)
    log_density = _between(f_0, log_joint)
    z = jax.vmap(f_0.sample)(jax.random.split(key_start, num_chains))
    path = jnp.asarray(path, z.dtype)
    elsewhere = jax.vmap(f_0.sample)(jax.random.split(key_tuned, min(num_chains, 16)))
    step_size = tune_step_size(log_density, key_tune, elsewhere, path[1:], num_leapfrog=num_leapfrog)

    def move(z: Array, at: tuple[Array, Array, Array, Array]) -> tuple[Array, tuple[Array, Array]]:
        before, beta, step_size, key = at
        gain = (beta - before) * (log_joint(z) - f_0.log_prob(z))
        f_beta = partial(log_density, beta)
        z, acceptance = hamiltonian_move(f_beta, key, z, step_size=step_size, num_leapfrog=num_leapfrog)
        return z, (gain, acceptance)

    def chain(key: Key, z: Array) -> tuple[Array, tuple[Array, Array]]:
        keys = jax.random.split(key, len(path) - 1)
        return scan(move, z, (path[:-1], path[1:], step_size, keys))

    values, (gains, acceptance) = jax.vmap(chain)(jax.random.split(key_chains, num_chains), z)
    log_weights = jnp.sum(gains, axis=1)
    return Annealed(_log_mean_exp(log_weights), log_weights, values, jnp.mean(acceptance, axis=0), step_size)


def reverse_annealed(
    model: VAE,
    key: Key,
    params: Params,
    x: Array,
    z: Array,
    *,
    path: Array,
    step_size: Array,
    num_chains: int = 16,
    num_leapfrog: int = 10,
    start: Start = from_prior,
) -> Array:
    """log p(x) from above: chains that walk from an exact posterior sample back to f₀.

    log p(x) ≈ -ln 1/C Σ_c 1/w_c,    ln w = Σ_t (β_t - β_{t-1}) ln [p(x, z_{t-1}) / f₀(z_{t-1})],    z_T ~ p(z|x)

    The mean of 1/w is 1/p(x) exactly, so that in expectation this is an upper bound. An exact posterior sample is known
    for simulated data only, z ~ p(z), x ~ p(x|z): `bidirectional` makes them.

    Args:
        model: as for `annealed_log_likelihood`.
        key: for the chains.
        params: the model's parameters.
        x: [*event] one simulated example.
        z: [*latent] the latents that it was simulated from.
        path: [T + 1] inverse temperatures rising from zero to one.
        step_size: [T] one for each move, that of the forward chains (`Annealed.step_size`).
        num_chains: C, all from the same z.
        num_leapfrog: leapfrog steps of each move.
        start: f₀, where these chains end.

    Returns:
        [] nats.

    Raises:
        ValueError: `num_chains` or `num_leapfrog` is less than one, or `path` is no list of temperatures.

    Source: Grosse, Ghahramani & Adams (2015), section 4.
    """
    _check(path, num_chains, num_leapfrog)
    f_0, log_joint = start(model, params, x), _log_joint(model, params, x)
    log_density = _between(f_0, log_joint)
    path = jnp.asarray(path, z.dtype)

    def move(z: Array, at: tuple[Array, Array, Array, Array]) -> tuple[Array, Array]:
        before, beta, step_size, key = at
        f_beta = partial(log_density, beta)
        z, _ = hamiltonian_move(f_beta, key, z, step_size=step_size, num_leapfrog=num_leapfrog)
        return z, (beta - before) * (log_joint(z) - f_0.log_prob(z))

    def log_weight(key: Key) -> Array:
        keys = jax.random.split(key, len(path) - 1)
        _, gains = scan(move, z, (path[:-1], path[1:], step_size, keys), reverse=True)
        return jnp.sum(gains)

    return -_log_mean_exp(-jax.vmap(log_weight)(jax.random.split(key, num_chains)))


def bidirectional(
    model: VAE,
    key: Key,
    params: Params,
    *,
    path: Array,
    num_chains: int = 16,
    num_leapfrog: int = 10,
    start: Start = from_prior,
) -> Bidirectional:
    """Bidirectional Monte Carlo: an example simulated from the model, its log p(x) from below and from above.

    lower ≤ log p(x) ≤ upper in expectation

    The gap bounds the error of `annealed_log_likelihood` with these settings on simulated data; on real data it is a
    guide, as good as the model resembles the data. `vmap` over keys averages over simulated examples.

    Args:
        model: as for `annealed_log_likelihood`; its likelihood is drawn from.
        key: for the simulated pair and the chains.
        params: the model's parameters.
        path: [T + 1] inverse temperatures rising from zero to one.
        num_chains: C, in each direction.
        num_leapfrog: leapfrog steps of each move.
        start: f₀, `from_prior` or `from_posterior`.

    Returns:
        Both bounds and the gap.

    Raises:
        ValueError: `num_chains` or `num_leapfrog` is less than one, or `path` is no list of temperatures.

    Source: Grosse, Ghahramani & Adams (2015), section 4; Grosse, Ancha & Roy, "Measuring the Reliability of MCMC
    Inference with Bidirectional Monte Carlo" (2016).
    """
    key_z, key_x, key_forward, key_reverse = jax.random.split(key, 4)
    z = model.prior(params).sample(key_z)
    x = model.likelihood(params, z).sample(key_x)
    forward = annealed_log_likelihood(
        model, key_forward, params, x, path=path, num_chains=num_chains, num_leapfrog=num_leapfrog, start=start
    )
    upper = reverse_annealed(
        model,
        key_reverse,
        params,
        x,
        z,
        path=path,
        step_size=forward.step_size,
        num_chains=num_chains,
        num_leapfrog=num_leapfrog,
        start=start,
    )
    return Bidirectional(forward.log_likelihood, upper, upper - forward.log_likelihood)


def _log_joint(model: VAE, params: Params, x: Array) -> Callable[[Array], Array]:
    prior = model.prior(params)
    return lambda z: prior.log_prob(z) + model.likelihood(params, z).log_prob(x)


def _between(f_0: Distribution, log_joint: Callable[[Array], Array]) -> Callable[[Array, Array], Array]:
    """(β, z) -> ln f_β(z), the geometric path."""
    return lambda beta, z: (1 - beta) * f_0.log_prob(z) + beta * log_joint(z)


def _log_mean_exp(log_weights: Array) -> Array:
    return logsumexp(log_weights) - jnp.log(jnp.asarray(log_weights.size, log_weights.dtype))


def _check(path: Array, num_chains: int, num_leapfrog: int) -> None:
    if num_chains < 1 or num_leapfrog < 1:
        raise ValueError(f"num_chains={num_chains} and num_leapfrog={num_leapfrog} must both be at least one")
    if jnp.ndim(path) != 1 or len(path) < 2:
        raise ValueError(
            f"path must list the inverse temperatures from zero to one, as sigmoid_path(1000) does; "
            f"its shape is {jnp.shape(path)}"
        )
