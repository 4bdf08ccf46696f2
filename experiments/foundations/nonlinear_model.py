"""A latent variable model with a nonlinear mean: its joint, its marginal, its posterior and the best Gaussian for it.

Pr(z) = N(0, I),    Pr(x|z) = N(f(z), σ² I)

Nothing is amortised: with one or two latent dimensions every integral is a sum over a grid.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp, ndtr
from scipy.optimize import minimize
from scipy.stats import chi2

from jaxvae.distributions import LOG_2PI, Normal
from jaxvae.types import Array, Key

Function = Callable[[Array], Array]  # f: z [L] -> [2]


class Model(NamedTuple):
    """What is computed and drawn for one choice of f."""

    name: str
    f: Function
    scale: float
    latent: int
    on: "Grid"
    observed: Array  # [2, 2] the two examples whose posterior is looked at


class Gaussian(NamedTuple):
    """q(z) = N(m, C Cᵀ)."""

    mean: Array  # [L] m
    factor: Array  # [L, L] C, lower triangular
    kl: Array  # [] KL(q || Pr(z|x)), nats


class Grid(NamedTuple):
    """Nodes and weights: ∫ g(z) dz ≈ Σ_i weight_i g(z_i)."""

    z: Array  # [n ** L, L]
    weight: Array  # [n ** L], or [] where it is the same for all


def curve(z: Array) -> Array:
    """f: [1] -> [2], a line laid into the plane like that of Prince's figure 17.2."""
    return jnp.concatenate([0.5 * jnp.exp(jnp.sin(2 * z + 0.3)), jnp.cos(1.6 * z + 0.6)])


def paraboloid(z: Array) -> Array:
    """f: [2] -> [2], (|z|²/2, (z₁ + z₂)/2): the first is Exp(1), the second N(0, 1/2), when z is N(0, I)."""
    return 0.5 * jnp.stack([jnp.sum(jnp.square(z)), jnp.sum(z)])


def grid(latent: int, *, nodes: int, limit: float = 6.0) -> Grid:
    """The trapezoidal rule on [-limit, limit]^L, whose error falls exponentially for densities that die out inside."""
    line = np.linspace(-limit, limit, nodes)
    z = np.stack(np.meshgrid(*[line] * latent, indexing="ij"), axis=-1).reshape(-1, latent)
    return Grid(jnp.asarray(z), jnp.asarray((line[1] - line[0]) ** latent))


def log_joint(f: Function, scale: float, x: Array, z: Array) -> Array:
    """ln Pr(x, z) = ln Pr(x|z) + ln Pr(z), []. Prince, section 17.2."""
    log_scale = jnp.log(jnp.asarray(scale, z.dtype))
    return Normal(f(z), log_scale).log_prob(x) + Normal(jnp.zeros_like(z), jnp.zeros_like(z)).log_prob(z)


@partial(jax.jit, static_argnums=0)
def log_marginal(f: Function, scale: float, x: Array, on: Grid) -> Array:
    """ln Pr(x) = ln ∫ Pr(x|z) Pr(z) dz, []. Prince, section 17.2."""
    return logsumexp(jax.vmap(lambda z: log_joint(f, scale, x, z))(on.z)) + jnp.log(on.weight)


@partial(jax.jit, static_argnums=0)
def log_posterior(f: Function, scale: float, x: Array, on: Grid) -> Array:
    """ln Pr(z|x) = ln Pr(x, z) - ln Pr(x) at the nodes, [n ** L]. It is what no encoder knows."""
    joint = jax.vmap(lambda z: log_joint(f, scale, x, z))(on.z)
    return joint - logsumexp(joint) - jnp.log(on.weight)


@partial(jax.jit, static_argnums=1, static_argnames=("latent", "examples"))
def ancestral(key: Key, f: Function, scale: float, *, latent: int, examples: int) -> Array:
    """z* ~ Pr(z), then x* ~ Pr(x|z*), [N, 2]. Prince, section 17.2.1."""

    def one(key: Key) -> Array:
        key_z, key_x = jax.random.split(key)
        mean = f(jax.random.normal(key_z, (latent,)))
        return mean + scale * jax.random.normal(key_x, mean.shape)

    return jax.vmap(one)(jax.random.split(key, examples))


@partial(jax.jit, static_argnums=0)
def cell_probabilities(f: Function, scale: float, edges: Sequence[np.ndarray], on: Grid) -> Array:
    """The exact probability of every cell of a histogram of x, [cells of x₁, cells of x₂].

    ∫ Pr(z) Π_d [Φ((b_d - f_d(z)) / σ) - Φ((a_d - f_d(z)) / σ)] dz
    """
    means = jax.vmap(f)(on.z)
    prior = on.weight * jnp.exp(jax.vmap(Normal(jnp.zeros(on.z.shape[1]), jnp.zeros(())).log_prob)(on.z))
    within = [jnp.diff(ndtr((edge[None, :] - means[:, d, None]) / scale), axis=1) for d, edge in enumerate(edges)]
    return (within[0] * prior[:, None]).T @ within[1]


def chi_squared(counts: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Pearson's test of counts against probabilities; the cells that expect fewer than five examples become one."""
    expected = counts.sum() * probabilities
    few = expected < 5
    observed, expected = (
        np.append(values[~few], values[few].sum() if few.any() else []) for values in (counts, expected)
    )
    statistic, degrees = np.sum((observed - expected) ** 2 / expected), len(expected) - 1
    return {"chi_squared": statistic, "degrees": degrees, "p_value": chi2.sf(statistic, degrees)}


def hermite(latent: int, *, nodes: int) -> Grid:
    """Gauss-Hermite nodes and their weights, [n ** L, L] and [n ** L]: E[g(ε)] = Σ_i weight_i g(ε_i), ε ~ N(0, I)."""
    node, weight = np.polynomial.hermite_e.hermegauss(nodes)
    z, weights = (np.stack(np.meshgrid(*[a] * latent), axis=-1).reshape(-1, latent) for a in (node, weight))
    return Grid(jnp.asarray(z), jnp.asarray(weights.prod(axis=1) / weights.prod(axis=1).sum()))


def elbo(f: Function, scale: float, x: Array, mean: Array, factor: Array, noise: Grid) -> Array:
    """E_q[ln Pr(x, z)] - E_q[ln q(z)] for q = N(m, C Cᵀ), []. Prince, section 17.4.

    Args:
        f: the model's function.
        scale: σ.
        x: [2] the example.
        mean: [L] m.
        factor: [L, L] C, lower triangular with a positive diagonal.
        noise: the `hermite` nodes, by which E_q is a sum over m + C ε_i.
    """
    joint = jax.vmap(lambda e: log_joint(f, scale, x, mean + factor @ e))(noise.z)
    entropy = 0.5 * len(mean) * (1 + LOG_2PI) + jnp.sum(jnp.log(jnp.diagonal(factor)))
    return noise.weight @ joint + entropy


def best_gaussian(f: Function, scale: float, x: Array, on: Grid, starts: np.ndarray, *, diagonal: bool) -> Gaussian:
    """The Gaussian q with the least KL(q || Pr(z|x)) = ln Pr(x) - ELBO, by L-BFGS. Prince, section 17.5.

    Args:
        f: the model's function.
        scale: σ.
        x: [2] the example.
        on: the grid for ln Pr(x).
        starts: [S, L] means to start from: the KL has a minimum near every mode, and the lowest is kept.
        diagonal: keep C diagonal, as a VAE's encoder does.

    Returns:
        The Gaussian and its KL.
    """
    latent = starts.shape[1]
    noise = hermite(latent, nodes=30 // latent)
    start_spread = np.append(np.full(latent, -1.5), np.zeros(latent * (latent - 1) // 2))
    # Bounded so that no trial step of the line search overflows: the grid ends at ±6.
    bounds = [(-6, 6)] * latent + [(-8, 2)] * latent + [(-6, 6)] * (latent * (latent - 1) // 2)
    arguments = (f, scale, x, noise, diagonal)
    options = {"ftol": 1e-14, "gtol": 1e-8}
    fits = [
        minimize(_negative_elbo, np.append(start, start_spread), arguments, jac=True, bounds=bounds, options=options)
        for start in starts
    ]
    best = min(fits, key=lambda fit: round(fit.fun, 6))  # of equal modes the first
    return Gaussian(*_unpack(jnp.asarray(best.x), latent, diagonal), log_marginal(f, scale, x, on) + best.fun)


@partial(jax.jit, static_argnums=(1, 5))
@partial(jax.value_and_grad, argnums=0)
def _negative_elbo(flat: Array, f: Function, scale: float, x: Array, noise: Grid, diagonal: bool) -> Array:
    return -elbo(f, scale, x, *_unpack(flat, len(noise.z[0]), diagonal), noise)


def _unpack(flat: Array, latent: int, diagonal: bool) -> tuple[Array, Array]:
    mean, log_diagonal, below = jnp.split(flat, [latent, 2 * latent])
    factor = jnp.diag(jnp.exp(log_diagonal))
    return mean, factor if diagonal else factor.at[jnp.tril_indices(latent, -1)].set(below)
