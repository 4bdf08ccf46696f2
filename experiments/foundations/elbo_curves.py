"""Jensen's inequality, and the ELBO as a function of φ and of θ: every bound touches the likelihood where it is tight.

The order is that of Prince, sections 17.3 to 17.5. The model has one parameter and closed forms for everything:

p(z) = N(0, 1),    p(x|z, θ) = N(θ z, σ²),    q(z|x, φ) = N(φ_m x, φ_s²)
"""

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

from experiments.foundations import command
from jaxvae.distributions import Normal, kl
from jaxvae.run.figures.page import INK, WIDE, page, signed
from jaxvae.run.figures.panels import LINES, panels
from jaxvae.types import Array, Key


@dataclass(frozen=True)
class Config:
    """Draw Jensen's inequality and the bounds that touch the likelihood."""

    seed: int = 0
    examples: int = 50
    weight: float = 1.6
    """theta that the data are drawn with"""
    noise_scale: float = 0.8
    """sigma"""
    start: float = 0.3
    """theta where the ascent begins"""
    rounds: int = 4
    """how often q is tightened and theta then moved to the top of the bound"""
    folder: Path = Path("runs/foundations/elbo_curves")


class Phi(NamedTuple):
    """q(z|x) = N(slope x, exp(2 log_scale))."""

    slope: Array  # [] φ_m
    log_scale: Array  # [] ln φ_s


@partial(jax.jit, static_argnames="noise_scale")
def log_likelihood(theta: Array, xs: Array, *, noise_scale: float) -> Array:
    """Σ_n ln p(x_n|θ) = Σ_n ln N(x_n; 0, θ² + σ²), []."""
    return jnp.sum(norm.logpdf(xs, 0, jnp.sqrt(jnp.square(theta) + noise_scale**2)))


@partial(jax.jit, static_argnames=("noise_scale", "nodes"))
def jensen(theta: Array, phi: Phi, x: Array, *, noise_scale: float, nodes: int = 200) -> tuple[Array, Array, Array]:
    """Both sides of Jensen's inequality for the weight w = p(x, z|θ) / q(z|x, φ) with z ~ q.

    E_q[ln w]  ≤  ln E_q[w] = ln p(x|θ). Prince, section 17.3.2.

    Returns:
        E_q[ln w] and ln E_q[w], [], by Gauss-Hermite quadrature; the weights at the nodes, [nodes].
    """
    node, mass = np.polynomial.hermite_e.hermegauss(nodes)
    z = phi.slope * x + jnp.exp(phi.log_scale) * jnp.asarray(node)
    log_q = norm.logpdf(z, phi.slope * x, jnp.exp(phi.log_scale))
    log_weight = norm.logpdf(x, theta * z, noise_scale) + norm.logpdf(z) - log_q
    probability = jnp.asarray(mass / mass.sum())
    return probability @ log_weight, jnp.log(probability @ jnp.exp(log_weight)), jnp.exp(log_weight)


@partial(jax.jit, static_argnames="noise_scale")
def elbo(theta: Array, phi: Phi, xs: Array, *, noise_scale: float) -> Array:
    """Σ_n E_q[ln p(x_n|z, θ)] - KL(q(z|x_n, φ) || p(z)), []. Prince, section 17.4.2.

    E_q[ln N(x; θ z, σ²)] = ln N(x; θ m, σ²) - θ² s² / 2σ²,    m = φ_m x,  s = φ_s
    """

    def of_example(x: Array) -> Array:
        q, prior = Normal(phi.slope * x[None], phi.log_scale), Normal(jnp.zeros(1), jnp.zeros(()))
        blur = 0.5 * jnp.square(theta) * jnp.exp(2 * phi.log_scale) / noise_scale**2
        return norm.logpdf(x, theta * q.mean[0], noise_scale) - blur - kl(q, prior, q.mean)

    return jnp.sum(jax.vmap(of_example)(xs))


def tighten(theta: Array, *, noise_scale: float) -> Phi:
    """The φ whose q is the posterior at θ: slope θ / (θ² + σ²), variance σ² / (θ² + σ²). Prince, section 17.4.1."""
    total = jnp.square(theta) + noise_scale**2
    return Phi(theta / total, jnp.log(noise_scale) - 0.5 * jnp.log(total))


def top(phi: Phi, xs: Array) -> Array:
    """The θ that maximises the bound for a fixed φ: Σ x m / Σ (m² + s²), []."""
    mean = phi.slope * xs
    return jnp.sum(xs * mean) / jnp.sum(jnp.square(mean) + jnp.exp(2 * phi.log_scale))


def ascend(start: Array, xs: Array, *, noise_scale: float, rounds: int) -> Array:
    """Tighten φ at θ, move θ to the top of that bound, and so on: [rounds + 1] values of θ."""
    thetas = [start]
    for _ in range(rounds):
        thetas.append(top(tighten(thetas[-1], noise_scale=noise_scale), xs))
    return jnp.stack(thetas)


@partial(jax.jit, static_argnames="noise_scale")
def tangency(theta: Array, xs: Array, *, noise_scale: float) -> dict[str, Array]:
    """Value and slope in θ of the likelihood, and of the bound that was tightened here."""
    value, slope = jax.value_and_grad(log_likelihood)(theta, xs, noise_scale=noise_scale)
    phi = tighten(theta, noise_scale=noise_scale)
    bound_value, bound_slope = jax.value_and_grad(elbo)(theta, phi, xs, noise_scale=noise_scale)
    return {"theta": theta, "value": value, "slope": slope, "bound_value": bound_value, "bound_slope": bound_slope}


def sample(key: Key, theta: float, *, noise_scale: float, examples: int) -> Array:
    """z ~ N(0, 1), x ~ N(θ z, σ²), [N]."""
    z, noise = jax.random.normal(key, (2, examples))
    return theta * z + noise_scale * noise


def draw(path: Path, thetas: Array, xs: Array, *, noise_scale: float) -> None:
    """Jensen's inequality on the weight; the ELBO over φ; the bounds over θ."""
    caption = (
        "Left: the logarithm of the mean weight lies above the mean of its logarithm; the gap is the KL. Middle: over "
        "φ, at a fixed θ, the ELBO has one top, the exact posterior (dot), where the gap closes. Right: each bound "
        "touches the likelihood, with the same slope, at the θ its q was tightened for (dots); its top (triangle) is "
        "the next θ."
    )
    titles = ("Jensen: ln E[w] ≥ E[ln w]", "Gap over φ, nats an example", "Likelihood and bounds over θ")
    options = {"noise_scale": noise_scale}
    with page(path, "The evidence lower bound", caption, width=WIDE, height=560, alone=True) as place:
        inequality, over_phi, over_theta = panels(place, titles, height=560, parts=(1, 1, 1.25))
        prior = Phi(jnp.zeros(()), jnp.zeros(()))
        below, above, weights = jensen(jnp.ones(()), prior, jnp.ones(()), noise_scale=noise_scale)
        largest = (2 * np.pi) ** -0.5 / noise_scale
        w = np.linspace(0.02, 1.15, 300) * largest
        inequality.plot(w, np.log(w), color=INK, lw=1.6)
        shown = np.asarray(weights)[np.abs(np.linspace(-1, 1, len(weights))) < 0.15]
        inequality.plot(shown, np.log(shown), "o", color=LINES[0], ms=4, alpha=0.6, label="weights, z ~ q")
        mean = np.exp(above)
        inequality.plot([mean, mean], [below, above], color=LINES[1], lw=1.8)
        inequality.plot(mean, above, "o", color=LINES[1], ms=6, label=f"ln E[w] = {signed(round(float(above), 2))}")
        inequality.plot(mean, below, "s", color=LINES[1], ms=6, label=f"E[ln w] = {signed(round(float(below), 2))}")
        inequality.set(xlabel="w = p(x, z) / q(z)", ylabel="ln w", ylim=(np.log(0.03 * largest), None))
        inequality.legend(loc="lower right")

        theta = thetas[-1]
        best = tighten(theta, noise_scale=noise_scale)
        slopes, log_scales = best.slope + np.linspace(-0.7, 0.7, 61), best.log_scale + np.linspace(-1.3, 1.2, 61)
        gap = lambda m, s: log_likelihood(theta, xs, **options) - elbo(theta, Phi(m, s), xs, **options)  # noqa: E731
        gaps = jax.jit(jax.vmap(jax.vmap(gap, (0, None)), (None, 0)))(slopes, log_scales)
        levels = [0.03, 0.1, 0.3, 1.0, 3.0]
        lines = over_phi.contour(slopes, log_scales, gaps / len(xs), levels, cmap="viridis", linewidths=1.4)
        over_phi.clabel(lines, levels[1:], fontsize=7, fmt="%g")
        over_phi.plot(*best, "o", color=LINES[1], ms=6)
        over_phi.set(xlabel="φ: slope of the mean", ylabel="φ: ln scale")

        line = np.linspace(0, 1.4 * max(float(thetas.max()), 1.0), 300)
        likelihood = jax.vmap(lambda t: log_likelihood(t, xs, **options))(line)
        bounds = jax.jit(jax.vmap(lambda t, phi: elbo(t, phi, xs, **options), (0, None)))
        over_theta.plot(line, likelihood, color=INK, lw=2, label="ln p(X|θ)")
        for i, (here, following) in enumerate(pairwise(thetas)):
            colour, phi = LINES[i % len(LINES)], tighten(here, noise_scale=noise_scale)
            bound, heights = bounds(line, phi), bounds(np.array([here, following]), phi)
            over_theta.plot(line, bound, color=colour, lw=1.4, label=f"tight at θ = {here:.2f}")
            over_theta.plot(here, heights[0], "o", color=colour, ms=6)
            over_theta.plot(following, heights[1], "^", color=colour, ms=5)
        span = float(likelihood.max() - likelihood.min())
        over_theta.set(
            xlabel="θ",
            ylabel="nats",
            ylim=(float(likelihood.min()) - 0.25 * span, float(likelihood.max()) + 0.5 * span),
        )
        over_theta.legend(loc="upper left", fontsize=7.5)


def main(config: Config) -> None:
    """Sample, ascend, check the tangency, draw, save."""
    command.require_at_least(0, config, "seed")
    command.require_at_least(1, config, "examples", "rounds")
    command.require_at_least(0.05, config, "weight", "noise_scale", "start")
    options = {"noise_scale": config.noise_scale}
    xs = sample(jax.random.key(config.seed), config.weight, **options, examples=config.examples)
    thetas = ascend(jnp.asarray(config.start), xs, **options, rounds=config.rounds)
    touches = [tangency(theta, xs, **options) for theta in thetas]
    below, above, _ = jensen(jnp.ones(()), Phi(jnp.zeros(()), jnp.zeros(())), jnp.ones(()), **options)
    numbers = {"jensen": {"mean_of_log": below, "log_of_mean": above, "gap": above - below}, "tangency": touches}
    protocol = {
        "data": f"{config.examples} draws from N(0, weight^2 + noise_scale^2)",
        "method": "closed forms, automatic gradients, float64; Jensen at theta = 1, x = 1 with q = prior",
        "units": "nats, summed over the data",
    }
    command.save_numbers(config.folder, config, protocol, numbers)
    draw(config.folder / "elbo_curves.png", thetas, xs, **options)
    columns = ("theta", "likelihood", "bound - likelihood", "slope", "difference of slopes")
    rows = [
        (t["theta"], t["value"], t["bound_value"] - t["value"], t["slope"], t["bound_slope"] - t["slope"])
        for t in touches
    ]
    command.print_table(columns, [[float(cell) for cell in row] for row in rows])


if __name__ == "__main__":
    command.run(main, Config)
