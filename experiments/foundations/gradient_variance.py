"""Two ways to differentiate an expectation: through the draw, or through its probability; and what baselines save.

∇_μ E_q[f(z)],    q = N(μ, σ² I),    f(z) = ½ |z - a|²,    whose gradient is μ - a

- pathwise: ∇_μ f(μ + σ ε), the reparameterisation trick (Prince, section 17.7; Kingma & Welling, 2014, section 2.4);
- score function: (f(z) - b) ∇_μ ln q(z), with z held fixed (Williams, 1992): no gradient of f is needed.

The variance of both has a closed form here, so that what is measured can be checked.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from experiments.foundations import command
from jaxvae.distributions import Normal
from jaxvae.run import RunError
from jaxvae.run.figures.page import INK, WIDE, page
from jaxvae.run.figures.panels import LINES, log_axis, panels
from jaxvae.types import Array, Key


@dataclass(frozen=True)
class Config:
    """Measure the variance of the pathwise and the score-function gradient over the number of dimensions."""

    seed: int = 0
    draws: int = 10_000
    """for each estimator and each number of dimensions"""
    pilot_draws: int = 10_000
    """that the baselines are estimated from, apart from the others"""
    dimensions: tuple[int, ...] = (1, 4, 16, 64, 256)
    distance: float = 1.0
    """|mu - a|, the same for every number of dimensions"""
    scale: float = 0.5
    """sigma"""
    folder: Path = Path("runs/foundations/gradient_variance")


ESTIMATORS = ("pathwise", "score function", "score, mean baseline", "score, optimal baseline")


def quadratic(z: Array) -> Array:
    """f(z) = ½ |z - a|² with a = 0, []."""
    return 0.5 * jnp.sum(jnp.square(z))


def pathwise(key: Key, f: Callable[[Array], Array], mean: Array, scale: Array) -> Array:
    """∇_μ f(μ + σ ε), [D]."""
    return jax.grad(lambda mean: f(Normal(mean, jnp.log(scale)).sample(key)))(mean)


def score(key: Key, mean: Array, scale: Array) -> tuple[Array, Array]:
    """A draw z, and the score ∇_μ ln q(z) with z held fixed, both [D]."""
    z = Normal(mean, jnp.log(scale)).sample(key)
    return z, jax.grad(lambda mean: Normal(mean, jnp.log(scale)).log_prob(z))(mean)


def score_function(key: Key, f: Callable[[Array], Array], mean: Array, scale: Array, baseline: Array) -> Array:
    """(f(z) - b) ∇_μ ln q(z), [D]. The score has mean zero, so that no fixed b makes it biased."""
    z, slope = score(key, mean, scale)
    return (f(z) - baseline) * slope


def baselines(key: Key, f: Callable[[Array], Array], mean: Array, scale: Array, *, draws: int) -> Array:
    """The baselines 0, E[f] and E[f |∇ ln q|²] / E[|∇ ln q|²], [3], estimated from draws of their own.

    The last makes the variance, summed over dimensions, the least. Greensmith, Bartlett & Baxter (2004), section 3.
    """
    z, slopes = jax.vmap(score, (0, None, None))(jax.random.split(key, draws), mean, scale)
    values, squares = jax.vmap(f)(z), jnp.sum(jnp.square(slopes), axis=1)
    return jnp.stack([jnp.zeros(()), jnp.mean(values), jnp.mean(values * squares) / jnp.mean(squares)])


def exact_variances(dimensions: int, distance: float, scale: float, baselines: np.ndarray) -> np.ndarray:
    """The variances of the four estimators for the quadratic, summed over dimensions, [4].

    Pathwise: σ² D. Score function, with δ = μ - a and A = ½ |δ|² - b, by the moments D, D (D + 2), D (D + 2) (D + 4)
    of |ε|²: [A² D + A σ² D (D + 2) + σ² |δ|² (D + 2) + ¼ σ⁴ D (D + 2) (D + 4)] / σ² - |δ|²
    """
    d, variance, squared = dimensions, scale**2, distance**2
    a = 0.5 * squared - np.asarray(baselines)
    second = a**2 * d + a * variance * d * (d + 2) + variance * squared * (d + 2)
    return np.append(variance * d, (second + 0.25 * variance**2 * d * (d + 2) * (d + 4)) / variance - squared)


def exact_baselines(dimensions: int, distance: float, scale: float) -> np.ndarray:
    """0, E[f] = ½ |δ|² + ½ σ² D, and the optimal ½ |δ|² + ½ σ² (D + 2), [3]."""
    return 0.5 * np.array([0, *(distance**2 + scale**2 * (dimensions + extra) for extra in (0, 2))])


def summary(gradients: Array, truth: Array) -> dict[str, Array]:
    """Variance around the true gradient with its standard error, and the bias in standard errors of the mean.

    Args:
        gradients: [N, D].
        truth: [D].
    """
    squares = jnp.sum(jnp.square(gradients - truth[None, :]), axis=1)
    root = jnp.sqrt(jnp.asarray(len(gradients), gradients.dtype))
    deviations = (jnp.mean(gradients, axis=0) - truth) / (jnp.std(gradients, axis=0, ddof=1) / root)
    return {
        "variance": jnp.mean(squares),
        "standard_error": jnp.std(squares, ddof=1) / root,
        "bias_in_standard_errors": jnp.max(jnp.abs(deviations)),
    }


@partial(jax.jit, static_argnames=("draws", "pilot_draws"))
def measure(
    key: Key, mean: Array, scale: Array, *, draws: int, pilot_draws: int
) -> tuple[dict[str, Array], Array, Array]:
    """The four estimators at μ, each with draws of its own.

    Returns:
        The summaries, each [4]; the baselines [3]; the first component of every gradient, [4, N].
    """
    key_pilot, key_path, key_score = jax.random.split(key, 3)
    estimated = baselines(key_pilot, quadratic, mean, scale, draws=pilot_draws)
    path = jax.vmap(lambda key: pathwise(key, quadratic, mean, scale))(jax.random.split(key_path, draws))
    of_draw = jax.vmap(lambda key, baseline: score_function(key, quadratic, mean, scale, baseline), (0, None))
    scores = jax.vmap(of_draw)(jax.random.split(key_score, (len(estimated), draws)), estimated)
    gradients = jnp.concatenate([path[None], scores])
    return jax.vmap(summary, (0, None))(gradients, mean), estimated, gradients[..., 0]


def ratios(variance: np.ndarray, standard_error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The variances of the score functions over the pathwise one, and the standard errors to first order, [3] each."""
    value, relative = variance[1:] / variance[0], standard_error / variance
    return value, value * np.hypot(relative[1:], relative[0])


def caption(measured: dict[int, dict]) -> str:
    """What was measured, in words that its numbers allow.

    Args:
        measured: dimensions -> "variance" and "bias_in_standard_errors", [4] each, of `ESTIMATORS`.

    Returns:
        The figure's caption.
    """
    biases = np.stack([np.asarray(numbers["bias_in_standard_errors"]) for numbers in measured.values()])
    words = (
        "Left: measured variances (dots, with bars of two standard errors) and closed forms (lines). The largest bias "
        f"of a component is {biases.max():.1f} standard errors."
    )
    if len(measured) > 1:
        few, many = sorted(measured)[-2:]
        low, high = (np.asarray(measured[d]["variance"]) for d in (few, many))
        powers = np.log(high / low) / np.log(many / few)
        named = ", ".join(f"{power:.1f} ({name})" for power, name in zip(powers, ESTIMATORS, strict=True))
        words += f" From {few} to {many} dimensions they grow with the power {named}.".replace(" -", " −")
    return f"{words} Right: single draws of one component, and the gradient (dashed)."


def draw(path: Path, config: Config, measured: dict[int, dict], components: Array, shown: int) -> None:
    """The variances over the number of dimensions, and the single gradients for one of them."""
    titles = ("Variance of the gradient, all dimensions", f"Single draws, {shown} dimensions")
    with page(path, "Differentiate through the draw", caption(measured), width=WIDE, height=660, alone=True) as place:
        growth, single = panels(place, titles, height=660)
        line = np.geomspace(min(measured), max(measured) * 1.0001, 100)
        exact = np.array([
            exact_variances(d, config.distance, config.scale, exact_baselines(d, config.distance, config.scale))
            for d in line
        ])  # fmt: skip
        width = 3 * float(np.std(components[2]))
        for i, (name, style) in enumerate(zip(ESTIMATORS, ("-", "-", "-", "--"), strict=True)):
            values, errors = (
                [numbers[entry][i] for numbers in measured.values()] for entry in ("variance", "standard_error")
            )
            growth.plot(line, exact[:, i], color=LINES[i], lw=1.4, ls=style)
            growth.errorbar(list(measured), values, 2 * np.array(errors), fmt="o", color=LINES[i], ms=4, label=name)
            edges = np.linspace(-width, width, 61)
            counts = np.histogram(components[i], edges)[0] / (len(components[i]) * (edges[1] - edges[0]))
            single.stairs(counts, edges, color=LINES[i], lw=1.6, ls=style, label=name)
        log_axis(growth, "xy")
        growth.set(xlabel="dimensions", ylabel="variance")
        growth.legend(loc="upper left")
        single.axvline(config.distance / shown**0.5, color=INK, lw=1, ls="--")
        single.set(xlabel="estimate of the first component", ylabel="density", xlim=(-width, width))


def main(config: Config) -> None:
    """Measure, compare with the closed forms, draw, save."""
    command.require_at_least(0, config, "seed", "distance")
    command.require_at_least(1, config, "dimensions")
    command.require_at_least(100, config, "draws", "pilot_draws")
    command.require_at_least(1e-3, config, "scale")
    if not config.dimensions:
        raise RunError("--dimensions needs one number or more, 1 4 16 for instance.")
    measured, components, rows = {}, {}, []
    for d in tqdm(config.dimensions, unit="size"):
        key, mean = jax.random.fold_in(jax.random.key(config.seed), d), jnp.full(d, config.distance / d**0.5)
        options = {"draws": config.draws, "pilot_draws": config.pilot_draws}
        numbers, estimated, components[d] = measure(key, mean, jnp.asarray(config.scale), **options)
        numbers = {name: np.asarray(values) for name, values in numbers.items()} | {"baselines": np.asarray(estimated)}
        numbers["exact_variance"] = exact_variances(d, config.distance, config.scale, numbers["baselines"])
        numbers["ratio"], numbers["ratio_standard_error"] = ratios(numbers["variance"], numbers["standard_error"])
        measured[d] = numbers
        against = [("", ""), *zip(numbers["ratio"], numbers["ratio_standard_error"], strict=True)]
        for i, name in enumerate(ESTIMATORS):
            rows.append(
                (d, name, *(numbers[k][i] for k in ("variance", "standard_error", "exact_variance")), *against[i])
            )
    protocol = {
        "objective": "E[|z - a|^2 / 2] under N(mu, scale^2 I), gradient with respect to mu",
        "estimators": ESTIMATORS,
        "draws": f"{config.draws} for each estimator; baselines from {config.pilot_draws} others; float64",
        "variance": "around the true gradient, summed over dimensions; of the biases the largest, in standard errors",
        "exact_variance": "closed form at the baseline that was used",
        "ratio": "score function over pathwise",
    }
    command.save_numbers(config.folder, config, protocol, {"dimensions": measured})
    shown = config.dimensions[len(config.dimensions) // 2]
    draw(config.folder / "gradient_variance.png", config, measured, components[shown], shown)
    columns = ("dimensions", "estimator", "variance", "s.e.", "closed form", "over pathwise", "s.e.")
    command.print_table(columns, rows)


if __name__ == "__main__":
    command.run(main, Config)
