"""The nonlinear latent variable model: joint, marginal, posterior and the best Gaussian, by quadrature and in pictures.

The order is that of Prince, sections 17.2 to 17.5. Nothing is sampled but the examples.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from experiments.foundations import command, latent_variable_figures
from experiments.foundations.nonlinear_model import (
    Model,
    ancestral,
    best_gaussian,
    cell_probabilities,
    chi_squared,
    curve,
    grid,
    log_marginal,
    paraboloid,
)
from jaxvae.types import Array, Key


@dataclass(frozen=True)
class Config:
    """Draw the joint, the marginal and the posterior of a nonlinear latent variable model."""

    seed: int = 0
    examples: int = 20_000
    """drawn by ancestral sampling and compared with the marginal"""
    curve_scale: float = 0.15
    """sigma of the model with one latent dimension"""
    paraboloid_scale: float = 0.3
    """sigma of the model with two"""
    folder: Path = Path("runs/foundations/latent_variable")


def measure(key: Key, model: Model, examples: int) -> tuple[Array, dict]:
    """Examples by ancestral sampling, and the numbers: Pearson's test, and each posterior's best Gaussian."""
    _, f, scale, latent, on, observed = model
    xs = ancestral(key, f, scale, latent=latent, examples=examples)
    # The outer cells reach to infinity, so that the probabilities add up to one.
    inner = np.quantile(xs, [0.01, 0.99], axis=0)
    edges = [np.concatenate([[-np.inf], np.linspace(low, high, 13), [np.inf]]) for low, high in inner.T]
    counts = np.histogramdd(np.asarray(xs), bins=edges)[0]
    samples = chi_squared(counts, np.asarray(cell_probabilities(f, scale, edges, on)))
    starts = np.stack(np.meshgrid(*[np.linspace(-1.5, 1.5, 4 - latent)] * latent), axis=-1).reshape(-1, latent)
    numbers: dict[str, Any] = {"samples": samples, "posteriors": []}
    for x in observed:
        shapes = {"diagonal": True} | ({"full": False} if latent > 1 else {})
        fits = {shape: best_gaussian(f, scale, x, on, starts, diagonal=flag) for shape, flag in shapes.items()}
        numbers["posteriors"].append({"x": x, "log_marginal": log_marginal(f, scale, x, on)} | fits)
    return xs, numbers


def main(config: Config) -> None:
    """Sample, compare with the integrals, fit the Gaussians, draw, save."""
    command.require_at_least(0, config, "seed")
    command.require_at_least(1000, config, "examples")
    # A narrower likelihood would fall between the nodes of the grids.
    command.require_at_least(0.1, config, "curve_scale")
    command.require_at_least(0.2, config, "paraboloid_scale")
    models = [
        Model("curve", curve, config.curve_scale, 1, grid(1, nodes=2001), jnp.array([[0.7, 0.54], [0.65, -0.85]])),
        Model("paraboloid", paraboloid, config.paraboloid_scale, 2, grid(2, nodes=161), jnp.array([[1, 1], [1, 0.3]])),
    ]
    numbers, rows = {}, []
    for key, model in zip(jax.random.split(jax.random.key(config.seed)), tqdm(models, unit="model"), strict=True):
        xs, numbers[model.name] = measure(key, model, config.examples)
        path = config.folder / f"latent_variable_{model.latent}d.png"
        latent_variable_figures.draw(path, model, xs, numbers[model.name]["posteriors"])
        for posterior in numbers[model.name]["posteriors"]:
            kls = [float(posterior[shape].kl) if shape in posterior else "" for shape in ("diagonal", "full")]
            rows.append((model.name, np.round(posterior["x"], 2), float(posterior["log_marginal"]), *kls))
            posterior |= {shape: posterior[shape]._asdict() for shape in ("diagonal", "full") if shape in posterior}
    protocol = {
        "model": "Pr(z) = N(0, I), Pr(x|z) = N(f(z), sigma^2 I), x in two dimensions",
        "method": "trapezoidal rule for Pr(x) and Pr(z|x); L-BFGS on a Gauss-Hermite ELBO for the Gaussians; float64",
        "samples": f"{config.examples} ancestral samples against exact cell probabilities, Pearson's test",
        "units": "nats per example",
    }
    command.save_numbers(config.folder, config, protocol, numbers)
    command.print_table(("model", "x", "ln Pr(x)", "KL, diagonal", "KL, full"), rows)
    command.print_table(
        ("samples against Pr(x)", "chi-squared", "degrees", "p-value"),
        [(name, *map(float, numbers[name]["samples"].values())) for name in numbers],
    )


if __name__ == "__main__":
    command.run(main, Config)
