"""The picture of a rate-distortion curve."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from jaxvae.run.figures.page import GREY, INK, WIDE, number_ticks, page
from jaxvae.run.figures.panels import LINES, panels

COLOURS = {"train": LINES[0], "test": LINES[1]}


def caption(betas: np.ndarray, points: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> str:
    """What the curve came to, in words that its numbers allow.

    Args:
        betas: [B] in rising order.
        points: split -> (rate [B, S], distortion [B, S]) in nats per example.

    Returns:
        The figure's caption.
    """
    rate, distortion = (values.mean(axis=1) for values in points["test"])
    lowest = betas[int(np.argmin(rate + distortion))]
    ordered = bool(np.all(np.diff(rate) <= 0) and np.all(np.diff(distortion) >= 0))
    trade = "buys a lower rate with more distortion" if ordered else "did not always lower the rate or cost distortion"
    seeds = points["test"][0].shape[1]
    return (
        f"Left: each point is one beta; a larger one {trade} on the test set. Short lines have the slope −β, which the "
        "curve of the training set has at its optima; along a dotted line R + D = −ELBO is the same. Right: beta = 1 "
        f"is the ELBO itself; on the test set −ELBO is lowest at beta = {lowest:g}. "
        + (f"Bars: one standard error over {seeds} seeds." if seeds > 1 else "One seed, so no error bars.")
    )


def draw(path: Path, betas: np.ndarray, points: Mapping[str, tuple[np.ndarray, np.ndarray]], dataset: str) -> None:
    """Draw distortion against rate, and rate and -ELBO against beta.

    Args:
        path: the PNG to write.
        betas: [B] in rising order.
        points: split -> (rate [B, S], distortion [B, S]) in nats per example.
        dataset: its name.
    """
    with page(path, f"Rate and distortion, {dataset}", caption(betas, points), width=WIDE, height=640) as place:
        plane, against_beta = panels(place, ("distortion against rate", "against beta"), height=640, parts=(3, 2))
        _plane(plane, betas, points)
        _against_beta(against_beta, betas, points)


def _plane(axes: Axes, betas: np.ndarray, points: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    for split, (rate, distortion) in points.items():
        axes.errorbar(
            rate.mean(axis=1),
            distortion.mean(axis=1),
            xerr=_error(rate),
            yerr=_error(distortion),
            color=COLOURS[split],
            marker="o",
            ms=4,
            lw=1.4,
            capsize=2,
            label=f"{split} set",
        )
    rate, distortion = (values.mean(axis=1) for values in points["train"])
    axes.margins(0.08)
    low, high = axes.get_xlim()
    bottom, top = axes.get_ylim()
    half = 0.06 * (high - low)
    for beta, r, d in zip(betas, rate, distortion, strict=True):
        across = min(half, 0.07 * (top - bottom) / max(beta, 1e-9))
        axes.plot([r - across, r + across], [d + beta * across, d - beta * across], color=GREY, lw=3, alpha=0.45)
    test = np.stack([values.mean(axis=1) for values in points["test"]], axis=-1)
    for name, where in _labels(betas, test, apart=np.array([high - low, top - bottom]) / 25):
        axes.annotate(name, (where[0], where[1]), (6, 5), textcoords="offset points", fontsize=7.5, color=INK)
    for total in np.linspace(low + bottom, high + top, 10)[1:-1]:
        axes.plot([low, high], [total - low, total - high], color=GREY, lw=0.6, ls=":", zorder=0)
    axes.set_xlim(low, high)
    axes.set_ylim(bottom, top)
    axes.set_xlabel("rate R (nats)")
    axes.set_ylabel("distortion D (nats)")
    axes.legend(loc="upper right")
    number_ticks(axes, 6)


def _labels(betas: np.ndarray, places: np.ndarray, *, apart: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """One label for each group of neighbouring points [B, 2] that lie too near each other for labels of their own."""
    groups: list[list[int]] = []
    for index in range(len(betas)):
        if groups and np.all(np.abs(places[index] - places[groups[-1][0]]) < apart):
            groups[-1].append(index)
        else:
            groups.append([index])
    return [("β = " + ", ".join(f"{betas[i]:g}" for i in group), places[group[0]]) for group in groups]


def _against_beta(axes: Axes, betas: np.ndarray, points: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    for split, (rate, distortion) in points.items():
        curves = {"−ELBO = R + D": (rate + distortion, "-"), "rate": (rate, "--")}
        for name, (values, line) in curves.items():
            axes.errorbar(
                betas,
                values.mean(axis=1),
                yerr=_error(values),
                color=COLOURS[split],
                ls=line,
                marker="o",
                ms=3,
                lw=1.4,
                capsize=2,
                label=f"{name}, {split}",
            )
    axes.axvline(1, color=GREY, lw=0.7, ls=":")
    positive = betas[betas > 0]
    number_ticks(axes, 6)
    axes.set_xscale("symlog", linthresh=float(positive[0])) if betas[0] == 0 else axes.set_xscale("log")
    axes.set_xticks(betas, [f"{beta:g}" for beta in betas])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel("beta")
    axes.set_ylabel("nats")
    axes.legend(loc="best", fontsize=7.5)


def _error(values: np.ndarray) -> np.ndarray | None:
    """The standard error of the mean over seeds, [B]; None for one seed."""
    seeds = values.shape[1]
    return values.std(axis=1, ddof=1) / np.sqrt(seeds) if seeds > 1 else None
