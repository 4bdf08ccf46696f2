"""The figures of `latent_variable`: one for one latent dimension, one for two."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import scipy.stats
from matplotlib.axes import Axes

from experiments.foundations.nonlinear_model import Gaussian, Model, cell_probabilities, curve, log_posterior
from jaxvae.run.figures.page import WIDE, page
from jaxvae.run.figures.panels import LINES, panels
from jaxvae.types import Array

DENSITY = "Blues"
LIMITS = {"curve": ((-0.4, 2.0), (-1.6, 1.6)), "paraboloid": ((-0.8, 3.6), (-2.2, 2.2))}


def draw(path: Path, model: Model, xs: Array, posteriors: Sequence[dict[str, Any]]) -> None:
    """Write the figure that belongs to the model's number of latent dimensions.

    Args:
        path: the PNG.
        model: with one or two latent dimensions.
        xs: [N, 2] ancestral samples.
        posteriors: for each observed example, "x" and the Gaussians "diagonal" and, in two dimensions, "full".
    """
    (_one_dimension if model.latent == 1 else _two_dimensions)(path, model, xs, posteriors)


def told(model: Model, posteriors: Sequence[dict[str, Any]]) -> str:
    """How near the best Gaussians come to each posterior, in words that the numbers allow.

    Args:
        model: with one or two latent dimensions.
        posteriors: as of `draw`.

    Returns:
        A sentence for each posterior.
    """
    sentences = []
    for name, posterior in zip("AB", posteriors, strict=False):
        exact = np.asarray(log_posterior(model.f, model.scale, posterior["x"], model.on))
        count = modes(exact.reshape((round(len(exact) ** (1 / model.latent)),) * model.latent))
        kls = {shape: float(posterior[shape].kl) for shape in ("diagonal", "full") if shape in posterior}
        far = (
            f"{kls['diagonal']:.2f} nats"
            if len(kls) == 1
            else (f"{kls['diagonal']:.2f} nats with a diagonal covariance and {kls['full']:.2f} with a full one")
        )
        tops = "one top" if count == 1 else f"{count} tops"
        sentences.append(f"Posterior {name} has {tops}, and the KL of the best Gaussian to it is {far}.")
    return " ".join(sentences)


def modes(log_density: np.ndarray) -> int:
    """How many tops a density has on a grid, those below a hundredth of the highest left out.

    Args:
        log_density: [n] or [n, n].

    Returns:
        The number of cells that are higher than all their neighbours.
    """
    padded = np.pad(log_density, 1, constant_values=-np.inf)
    inner = (slice(1, -1),) * log_density.ndim
    higher = log_density > log_density.max() + math.log(0.01)
    for shift in itertools.product((-1, 0, 1), repeat=log_density.ndim):
        if any(shift):
            higher &= log_density > np.roll(padded, shift, range(log_density.ndim))[inner]
    return int(higher.sum())


def _one_dimension(path: Path, model: Model, xs: Array, posteriors: Sequence[dict[str, Any]]) -> None:
    caption = (
        "Every z has a place on the curve, and σ blurs it; integrating z out of the joint (top left) gives the density "
        f"of x (top right), from which the histogram is drawn. {told(model, posteriors)}"
    )
    with page(path, "One latent dimension bent into the plane", caption, width=WIDE, height=1060, alone=True) as place:
        joint, density = panels(place, ("Joint density of x₁ and z", "Density of x, with samples"), height=560)
        titles = ["Marginal of x₁", *(_title(i, posterior) for i, posterior in enumerate(posteriors))]
        marginal, *below = panels(place, titles, top=560, height=500)
        z, x = np.linspace(-3, 3, 301), np.linspace(-0.4, 2.0, 241)
        means = np.asarray(jax.jit(jax.vmap(curve))(z[:, None]))
        likelihood = np.exp(-0.5 * np.square((x[:, None] - means[None, :, 0]) / model.scale))
        joint.pcolormesh(z, x, likelihood * np.exp(-0.5 * np.square(z))[None, :], cmap=DENSITY, rasterized=True)
        joint.plot(z, means[:, 0], color=LINES[1], lw=1.4, label="f₁(z)")
        joint.set(xlabel="z", ylabel="x₁")
        joint.legend(loc="upper left")
        _density(density, model, xs)
        density.plot(*means.T, color=LINES[1], lw=1.4)
        _observed(density, posteriors)
        edges = np.linspace(-0.6, 2.2, 71)
        exact = cell_probabilities(model.f, model.scale, (edges, np.array([-np.inf, np.inf])), model.on)[:, 0]
        marginal.hist(np.asarray(xs[:, 0]), edges.tolist(), density=True, color="#d8dee4", label="samples")
        marginal.plot(
            0.5 * (edges[1:] + edges[:-1]), np.asarray(exact) / np.diff(edges), color=LINES[0], lw=1.8, label="integral"
        )
        marginal.set(xlabel="x₁", ylabel="density")
        marginal.legend()
        for axes, posterior in zip(below, posteriors, strict=True):
            nodes, q = np.asarray(model.on.z[:, 0]), posterior["diagonal"]
            density_of_q = scipy.stats.norm.pdf(nodes, q.mean[0], q.factor[0, 0])
            exact = np.exp(log_posterior(model.f, model.scale, posterior["x"], model.on))
            axes.fill_between(nodes, exact, color=LINES[0], alpha=0.25, lw=0)
            axes.plot(nodes, exact, color=LINES[0], lw=1.8, label="posterior")
            axes.plot(nodes, density_of_q, color=LINES[1], lw=1.8, label=f"Gaussian, KL {float(q.kl):.2f}")
            axes.set(xlabel="z", ylabel="density", xlim=(-3, 3), ylim=(0, 1.3 * float(density_of_q.max())))
            axes.legend(loc="upper left")


def _two_dimensions(path: Path, model: Model, xs: Array, posteriors: Sequence[dict[str, Any]]) -> None:
    caption = (
        "Left: the density of x, by quadrature, and samples from it. Right: the exact posterior of the two marked "
        "examples (blue) with the contours of one and two standard deviations of the best Gaussians. "
        f"{told(model, posteriors)}"
    )
    titles = ("Density of x, with samples", *(_title(i, posterior) for i, posterior in enumerate(posteriors)))
    with page(path, "Two latent dimensions folded over", caption, width=WIDE, height=540, alone=True) as place:
        density, *others = panels(place, titles, height=540)
        _density(density, model, xs)
        _observed(density, posteriors)
        side = round(len(model.on.z) ** 0.5)
        line = np.asarray(model.on.z)[:side, 1]
        for axes, posterior in zip(others, posteriors, strict=True):
            exact = np.exp(log_posterior(model.f, model.scale, posterior["x"], model.on)).reshape(side, side)
            axes.pcolormesh(line, line, exact.T, cmap=DENSITY, shading="gouraud", rasterized=True)
            for colour, shape in zip((LINES[1], LINES[2]), ("diagonal", "full"), strict=True):
                _ellipses(axes, posterior[shape], colour, f"{shape}, KL {float(posterior[shape].kl):.2f}")
            axes.set(xlabel="z₁", ylabel="z₂", xlim=(-1.8, 2.6), ylim=(-2.2, 2.2))
            axes.legend(loc="lower left")


def _title(index: int, posterior: dict[str, Any]) -> str:
    first, second = np.asarray(posterior["x"]).round(2)
    return f"Posterior {'AB'[index]}, x = ({first:g}, {second:g})".replace("-", "−")


def _density(axes: Axes, model: Model, xs: Array) -> None:
    edges = [np.linspace(low, high, 101) for low, high in LIMITS[model.name]]
    cells = cell_probabilities(model.f, model.scale, edges, model.on)
    axes.pcolormesh(*edges, np.asarray(cells).T, cmap=DENSITY, rasterized=True)
    axes.plot(*np.asarray(xs)[:700].T, ".", color="black", ms=1.2, alpha=0.6)
    axes.set(xlabel="x₁", ylabel="x₂", xlim=LIMITS[model.name][0], ylim=LIMITS[model.name][1])


def _observed(axes: Axes, posteriors: Sequence[dict[str, Any]]) -> None:
    for name, posterior in zip("AB", posteriors, strict=True):
        first, second = np.asarray(posterior["x"]).tolist()
        axes.plot(first, second, "o", color=LINES[1], ms=5, mec="white", mew=0.8)
        axes.annotate(name, (first, second), (6, 5), textcoords="offset points", color=LINES[1], fontweight="bold")


def _ellipses(axes: Axes, q: Gaussian, colour: str, label: str) -> None:
    angle = np.linspace(0, 2 * np.pi, 200)
    circle = np.asarray(q.factor) @ np.stack([np.cos(angle), np.sin(angle)])
    for radius in (1, 2):
        axes.plot(
            *(np.asarray(q.mean)[:, None] + radius * circle), color=colour, lw=1.5, label=label if radius == 1 else None
        )
