"""A mixture of Gaussians in one dimension, fitted by expectation maximisation, with the bound that EM climbs.

The notation and order are Bishop's, sections 9.2 and 9.4; Prince has the mixture in section 17.1.
"""

from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp, xlogy
from jax.scipy.stats import norm

from experiments.foundations import command
from jaxvae.run import RunError
from jaxvae.run.figures.page import GREY, INK, WIDE, page
from jaxvae.run.figures.panels import LINES, panels
from jaxvae.types import Array, Key


@dataclass(frozen=True)
class Config:
    """Fit a mixture of Gaussians by EM and draw the bound meeting the likelihood."""

    seed: int = 0
    examples: int = 300
    components: int = 3
    """K, of the fitted mixture; the data have three."""
    iterations: int = 200
    """EM steps."""
    folder: Path = Path("runs/foundations/mixture_em")


class Mixture(NamedTuple):
    """p(x) = Σ_k π_k N(x; μ_k, σ_k²)."""

    weights: Array  # [K] π
    means: Array  # [K] μ
    variances: Array  # [K] σ²


class Trace(NamedTuple):
    """The bound and the likelihood on the way, each [T], nats summed over the data."""

    before: Array  # ln p(X|θ_t)
    after_e: Array  # L(q_t, θ_t), which touches it
    after_m: Array  # L(q_t, θ_t+1)
    likelihood: Array  # ln p(X|θ_t+1), which has risen above it


def truth() -> Mixture:
    """What the data are drawn from."""
    return Mixture(jnp.array([0.5, 0.3, 0.2]), jnp.array([-2.0, 0.5, 3.0]), jnp.array([0.36, 0.16, 0.81]))


def log_joint(mixture: Mixture, xs: Array) -> Array:
    """ln p(x_n, z_n = k) = ln π_k + ln N(x_n; μ_k, σ_k²), [N, K]. Bishop 9.10 and 9.11."""
    weights, means, scales = (row[None, :] for row in (*mixture[:2], jnp.sqrt(mixture.variances)))
    return jnp.log(weights) + norm.logpdf(xs[:, None], means, scales)


def log_likelihood(mixture: Mixture, xs: Array) -> Array:
    """ln p(X|θ) = Σ_n ln Σ_k π_k N(x_n; μ_k, σ_k²), []. Bishop 9.14."""
    return jnp.sum(logsumexp(log_joint(mixture, xs), axis=1))


def responsibilities(mixture: Mixture, xs: Array) -> Array:
    """The E-step: the posterior γ(z_nk) = p(z_n = k|x_n), [N, K]. Bishop 9.13."""
    return jax.nn.softmax(log_joint(mixture, xs), axis=1)


def maximise(gamma: Array, xs: Array) -> Mixture:
    """The M-step, in closed form: weighted counts, means and variances. Bishop 9.24 to 9.27.

    Args:
        gamma: [N, K] responsibilities.
        xs: [N] data.

    Returns:
        The mixture that maximises the bound for this q.
    """
    counts = jnp.sum(gamma, axis=0)
    means = gamma.T @ xs / counts
    variances = jnp.sum(gamma * jnp.square(xs[:, None] - means[None, :]), axis=0) / counts
    return Mixture(counts / len(xs), means, variances)


def lower_bound(gamma: Array, mixture: Mixture, xs: Array) -> Array:
    """L(q, θ) = Σ_n Σ_k q(z_n = k) [ln p(x_n, z_n = k|θ) - ln q(z_n = k)]  ≤  ln p(X|θ), []. Bishop 9.71."""
    return jnp.sum(gamma * log_joint(mixture, xs) - xlogy(gamma, gamma))


def divergence(gamma: Array, mixture: Mixture, xs: Array) -> Array:
    """KL(q || p(Z|X, θ)), which is ln p(X|θ) - L(q, θ), []. Bishop 9.72."""
    posterior = jax.nn.log_softmax(log_joint(mixture, xs), axis=1)
    return jnp.sum(xlogy(gamma, gamma) - gamma * posterior)


def em(start: Mixture, xs: Array, *, iterations: int) -> tuple[Mixture, Trace]:
    """Alternate E and M steps.

    Args:
        start: the first mixture.
        xs: [N] data.
        iterations: T.

    Returns:
        The last mixture and the trace.
    """

    def step(mixture: Mixture, _: None) -> tuple[Mixture, Trace]:
        gamma = responsibilities(mixture, xs)
        better = maximise(gamma, xs)
        bounds = lower_bound(gamma, mixture, xs), lower_bound(gamma, better, xs)
        return better, Trace(log_likelihood(mixture, xs), *bounds, log_likelihood(better, xs))

    return jax.lax.scan(step, start, None, length=iterations)


def sample(key: Key, mixture: Mixture, examples: int) -> Array:
    """Ancestral sampling: z ~ Cat(π), x ~ N(μ_z, σ_z²), [N]."""
    key_z, key_x = jax.random.split(key)
    z = jax.random.categorical(key_z, jnp.log(mixture.weights), shape=(examples,))
    return mixture.means[z] + jnp.sqrt(mixture.variances[z]) * jax.random.normal(key_x, (examples,))


def initial(key: Key, xs: Array, components: int) -> Mixture:
    """Means at random examples, the data's variance for all, equal weights."""
    means = jax.random.choice(key, xs, (components,), replace=False)
    return Mixture(jnp.full(components, 1 / components), means, jnp.full(components, jnp.var(xs)))


def caption(trace: Trace) -> str:
    """What the steps did, in words that their numbers allow.

    Args:
        trace: [T] of `em`.

    Returns:
        The figure's caption.
    """
    gap, rises = np.max(np.abs(trace.before - trace.after_e)), np.asarray(trace.likelihood - trace.before)
    rounding = 1e-9 * np.max(np.abs(trace.before))
    fallen = int(np.sum(rises < -rounding))
    told = "in none of them did the likelihood fall" if not fallen else f"in {fallen} of them the likelihood fell"
    return (
        "Left: the components add up to the density and share every x by their responsibilities (below). Right: after "
        f"an E-step (dots) bound and likelihood differ by {gap:.1g} nats at the most; an M-step raises the bound. The "
        f"shaded gap is KL(q || posterior). There were {len(rises)} iterations, and {told}."
    )


def draw(path: Path, xs: Array, start: Mixture, end: Mixture, trace: Trace) -> None:
    """Data and components; the responsibilities below them; the bound and the likelihood, step by step."""
    titles = ("Data and mixture", "The first steps of EM")
    trace = jax.tree.map(np.asarray, trace)
    grid = np.linspace(float(xs.min()) - 1, float(xs.max()) + 1, 600)
    with page(
        path, "EM climbs the likelihood by way of a bound", caption(trace), width=WIDE, height=760, alone=True
    ) as place:
        density, steps = panels(place, titles, height=760)
        box = density.get_position()
        density.set_position((box.x0, box.y0 + 0.3 * box.height, box.width, 0.7 * box.height))
        shares = density.figure.add_axes((box.x0, box.y0, box.width, 0.24 * box.height), sharex=density)
        density.hist(xs, 45, density=True, color="#d8dee4", label="data")
        fitted, begun = (np.exp(jax.jit(log_joint)(mixture, grid)) for mixture in (end, start))
        gamma = fitted / fitted.sum(axis=1, keepdims=True)
        for k, colour in zip(range(len(end.means)), cycle(LINES), strict=False):
            density.plot(grid, fitted[:, k], color=colour, lw=2.4)
            shares.plot(grid, gamma[:, k], color=colour, lw=1.8)
        density.plot(grid, fitted.sum(axis=1), color=INK, lw=1.2, label="fitted")
        density.plot(grid, begun.sum(axis=1), color=GREY, lw=1.2, ls=":", label="at the start")
        density.set_ylabel("density")
        density.tick_params(labelbottom=False)
        density.legend(loc="upper right")
        shares.set(xlabel="x", ylabel="responsibility", ylim=(-0.05, 1.05))

        shown = min(8, len(trace.before))
        count = np.arange(shown)
        halves = np.stack([count, count + 0.5, count + 1], axis=1).ravel()
        likelihood = np.stack([trace.before, trace.likelihood, trace.likelihood], axis=1)[:shown].ravel()
        bound = np.stack([trace.after_e, trace.after_m, trace.likelihood], axis=1)[:shown].ravel()
        steps.plot(halves, likelihood, color=LINES[0], lw=1.8, label="likelihood  ln p(X|θ)")
        steps.plot(halves, bound, color=LINES[1], lw=1.8, label="bound  L(q, θ)")
        steps.fill_between(halves, bound, likelihood, color=LINES[1], alpha=0.15, lw=0)
        steps.plot(count, trace.after_e[:shown], "o", color=LINES[1], ms=4)
        steps.set(xlabel="iterations, each an E-step (dot) and an M-step", ylabel="nats")
        steps.legend(loc="lower right")


def main(config: Config) -> None:
    """Fit, check, draw, save."""
    command.require_at_least(0, config, "seed")
    command.require_at_least(1, config, "components", "iterations")
    command.require_at_least(config.components + 1, config, "examples")
    key_data, key_start = jax.random.split(jax.random.key(config.seed))
    xs = sample(key_data, truth(), config.examples)
    start = initial(key_start, xs, config.components)
    end, trace = jax.jit(em, static_argnames="iterations")(start, xs, iterations=config.iterations)
    if not jnp.min(end.variances) > 1e-8 * jnp.var(xs):
        raise RunError(
            f"A component has shrunk onto a single example, where the likelihood has no maximum (Bishop, 9.2.1); take "
            f"fewer --components than {config.components}, more --examples than {config.examples}, or another --seed."
        )
    numbers = {
        "log_likelihood": {"start": trace.before[0], "end": trace.likelihood[-1], "truth": log_likelihood(truth(), xs)},
        "largest_gap_after_e": jnp.max(jnp.abs(trace.before - trace.after_e)),
        "first_gap_after_m": trace.likelihood[0] - trace.after_m[0],
        "largest_fall_of_likelihood": jnp.max(trace.before - trace.likelihood),
        "mixture": end._asdict(),
    }
    protocol = {
        "data": f"{config.examples} draws from a mixture of three Gaussians",
        "method": f"{config.iterations} iterations of EM from means at random examples, float64",
        "units": "nats, summed over the data",
    }
    command.save_numbers(config.folder, config, protocol, numbers)
    draw(config.folder / "mixture_em.png", xs, start, end, trace)
    rows = [(k, *map(float, component)) for k, component in enumerate(zip(*end, strict=True))]
    command.print_table(("component", "weight", "mean", "variance"), rows)
    values = (trace.before[0], trace.likelihood[-1], numbers["largest_gap_after_e"])
    command.print_table(
        ("ln p(X) at the start", "at the end", "largest gap after an E-step"), [list(map(float, values))]
    )


if __name__ == "__main__":
    command.run(main, Config)
