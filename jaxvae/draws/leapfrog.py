"""Hamiltonian Monte Carlo moves: what `jaxvae.evaluation` walks with.

A move leaves a density invariant whatever its step size. The step size is tuned by chains of their own, because a chain
that tunes itself as it goes does not.
Source: Neal, "MCMC Using Hamiltonian Dynamics" (2011).
"""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from jaxvae.loops import fori_loop, scan
from jaxvae.types import Array, Key

LogDensity = Callable[[Array], Array]  # z [*latent] -> [], up to a constant


def leapfrog(
    log_density: LogDensity, z: Array, momentum: Array, *, step_size: Array, num_leapfrog: int
) -> tuple[Array, Array]:
    """Hamilton's equations for H(z, r) = -ln f(z) + ½ |r|², in discrete steps.

    r ← r + ½ε ∇ln f(z),    z ← z + ε r,    r ← r + ½ε ∇ln f(z)

    It conserves volume and is its own inverse once the momentum is turned round, which is what makes the move exact.

    Args:
        log_density: ln f, differentiable.
        z: [*latent] the position.
        momentum: [*latent] r.
        step_size: [] ε.
        num_leapfrog: how many steps.

    Returns:
        The position and the momentum at the end.

    Source: Neal (2011), equations 5.18 to 5.20.
    """
    gradient, step_size = jax.grad(log_density), jnp.asarray(step_size).astype(z.dtype)

    def step(_: int, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        z, momentum, force = state
        momentum = momentum + 0.5 * step_size * force
        z = z + step_size * momentum
        force = gradient(z)
        return z, momentum + 0.5 * step_size * force, force

    z, momentum, _ = fori_loop(0, num_leapfrog, step, (z, momentum, gradient(z)))
    return z, momentum


def hamiltonian_move(
    log_density: LogDensity, key: Key, z: Array, *, step_size: Array, num_leapfrog: int
) -> tuple[Array, Array]:
    """One move with a fresh momentum, which leaves f invariant and is reversible with respect to it.

    It is accepted with probability min(1, exp(H - H')); one that leaves the finite numbers is rejected. Its step size
    is drawn within a fifth of `step_size`, so that no orbit of a fixed length closes on itself and stands still.

    Args:
        log_density: ln f, differentiable.
        key: for the momentum and the acceptance.
        z: [*latent] where the chain is.
        step_size: [] ε; it must not depend on what the chain did before.
        num_leapfrog: leapfrog steps.

    Returns:
        [*latent] where the chain is afterwards, and [] the probability of acceptance.

    Example:
        >>> log_density = lambda z: -0.5 * jnp.sum(z**2)
        >>> move = lambda key, z: hamiltonian_move(log_density, key, z, step_size=jnp.array(0.1), num_leapfrog=10)
        >>> z, acceptance = move(jax.random.key(0), jnp.ones(2))
        >>> bool(acceptance > 0.99)
        True

    Source: Neal (2011), section 5.3.2.1; section 5.4.2.2 for the drawn step size.
    """
    key_step, key_momentum, key_accept = jax.random.split(key, 3)
    step_size = step_size * jax.random.uniform(key_step, (), z.dtype, 0.8, 1.2)
    momentum = jax.random.normal(key_momentum, z.shape, z.dtype)
    proposal, end = leapfrog(log_density, z, momentum, step_size=step_size, num_leapfrog=num_leapfrog)
    log_acceptance = (log_density(proposal) - log_density(z)) - 0.5 * jnp.sum(jnp.square(end) - jnp.square(momentum))
    acceptance = jnp.exp(jnp.minimum(0, jnp.where(jnp.isnan(log_acceptance), -jnp.inf, log_acceptance)))
    accepted = jax.random.uniform(key_accept, (), z.dtype) < acceptance
    return jnp.where(accepted, proposal, z), acceptance.astype(z.dtype)


def tune_step_size(
    log_density: Callable[[Array, Array], Array],
    key: Key,
    zs: Array,
    temperatures: Array,
    *,
    num_leapfrog: int,
    target: float = 0.65,
) -> Array:
    """A step size for each density of a sequence, by chains that walk along it and are then thrown away.

    ln ε ← ln ε + ½ (ā - target),    ā the chains' mean probability of acceptance at this temperature

    What is returned is a moving average of ln ε over some five moves: beyond its stable size the leapfrog accepts
    nothing, and ε itself oscillates about that edge. Each chain makes one move at each temperature, or as many as
    bring the sequence to two hundred.

    Args:
        log_density: (temperature, z) -> ln f.
        key: for the chains.
        zs: [C, *latent] where they start, draws from the first density or near it.
        temperatures: [T] the sequence.
        num_leapfrog: leapfrog steps of each move.
        target: the acceptance aimed at.

    Returns:
        [T] ε.

    Source: Wu, Burda, Salakhutdinov & Grosse (2017), section 5, who multiply ε by 1.02 or 0.98 for the same target; the
    proportionate step does with fewer temperatures. The target is that of Neal (2011), section 5.4.4.
    """

    def move(state: tuple[Array, Array, Array], at: tuple[Array, Key]) -> tuple[tuple[Array, Array, Array], Array]:
        zs, log_step_size, smoothed = state
        temperature, key = at

        def of_chain(key: Key, z: Array) -> tuple[Array, Array]:
            f, step_size = partial(log_density, temperature), jnp.exp(log_step_size)
            return hamiltonian_move(f, key, z, step_size=step_size, num_leapfrog=num_leapfrog)

        zs, acceptance = jax.vmap(of_chain)(jax.random.split(key, len(zs)), zs)
        log_step_size = log_step_size + 0.5 * (jnp.mean(acceptance) - target)
        smoothed = 0.8 * smoothed + 0.2 * log_step_size
        return (zs, log_step_size, smoothed), jnp.exp(smoothed)

    settling = 20  # moves at the first temperature, which find the scale to begin with
    repeats = math.ceil(200 / len(temperatures))  # a short sequence changes too fast to be followed in one move each
    sequence = jnp.concatenate([jnp.broadcast_to(temperatures[:1], (settling,)), jnp.repeat(temperatures, repeats)])
    log_step_size = jnp.log(jnp.asarray(0.3, zs.dtype))
    keys = jax.random.split(key, len(sequence))
    _, step_sizes = scan(move, (zs, log_step_size, log_step_size), (sequence, keys))
    return step_sizes[settling + repeats - 1 :: repeats]
