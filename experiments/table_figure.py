"""The picture of a table and its model."""

import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from jaxvae.questions.parts.histogram import edges_of, histogram
from jaxvae.run.data.columns import Table
from jaxvae.run.figures.page import GREY, MARGIN, WIDE, number_ticks, page
from jaxvae.run.figures.panels import LINES, panels

SHOWN, ABREAST = 12, 4  # columns of the table that are drawn, and how many side by side


def draw(
    path: Path,
    table: Table,
    codes: np.ndarray,
    scores: np.ndarray,
    held_out: np.ndarray,
    new_rows: np.ndarray,
    elbo_curve: np.ndarray,
) -> None:
    """Draw the codes, the scores, the training, and every column beside that of new rows.

    Args:
        path: the PNG to write.
        table: what was read.
        codes: [N, latent].
        scores: [N] nats.
        held_out: [N] whether a row was kept from training.
        new_rows: [M, D] drawn from the model.
        elbo_curve: [epochs] nats.
    """
    shown = min(len(table.columns), SHOWN)
    stripes = math.ceil(shown / ABREAST)
    caption = (
        "Above: a point is the code of a row, dark where log p is low; log p of the rows, where held-out rows should "
        "lie as the training rows do; the bound in training. Below: each column of the table (filled) and of new rows "
        "from the model (line), which should agree."
    )
    if shown < len(table.columns):
        caption += f" The first {shown} of {len(table.columns)} columns."
    with page(path, "A table and its model", caption, width=WIDE, height=500 + 300 * stripes) as place:
        plane, densities, curve = panels(place, ("codes", "log p of each row", "training"), height=500)
        _codes(plane, codes, scores)
        edges = edges_of(scores, 40)
        histogram(densities, scores[~held_out], edges, color=LINES[0], filled=0.2, label="training")
        histogram(densities, scores[held_out], edges, color=LINES[1], filled=0.2, label="held out")
        densities.set_xlabel("log p (nats)")
        densities.set_ylabel("fraction of rows")
        densities.legend(loc="upper left")
        number_ticks(densities, 5)
        densities.locator_params(axis="x", nbins=4)
        curve.plot(np.arange(1, len(elbo_curve) + 1), elbo_curve, color=LINES[0], lw=1.4)
        curve.set_xlabel("epoch")
        curve.set_ylabel("ELBO (nats)")
        number_ticks(curve, 5)
        width = (WIDE - 2 * MARGIN) // ABREAST
        for index in range(shown):
            row, column = divmod(index, ABREAST)
            axes = place(column * width + 24, 540 + 300 * row, width - 48, 180)
            axes.set_title(_short(table.columns[index]), loc="left", fontsize=8.5)
            _column(axes, table.values[:, index], new_rows[:, index])


def _codes(axes: Axes, codes: np.ndarray, scores: np.ndarray) -> None:
    widest = np.sort(np.argsort(codes.var(axis=0))[::-1][:2])
    across = codes[:, widest[0]]
    up = codes[:, widest[1]] if len(widest) > 1 else np.random.default_rng(0).uniform(-1, 1, len(codes))
    size = float(np.clip(6000 / len(codes), 2, 24))
    shades = np.argsort(np.argsort(scores)) / max(1, len(scores) - 1)  # by rank: one outlier would take all the colours
    axes.scatter(across, up, c=shades, cmap="viridis", s=size, linewidths=0, alpha=0.85)
    axes.set_xlabel(f"z{widest[0] + 1}")
    axes.set_ylabel(f"z{widest[1] + 1}" if len(widest) > 1 else "(spread at random)")
    number_ticks(axes, 5)


def _column(axes: Axes, values: np.ndarray, new: np.ndarray) -> None:
    edges = edges_of(np.concatenate([values, new]), 30)
    histogram(axes, values, edges, color=LINES[0], filled=0.35)
    histogram(axes, new, edges, color=LINES[1])
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.tick_params(colors=GREY, labelsize=7)
    axes.locator_params(axis="x", nbins=4)


def _short(name: str) -> str:
    return name if len(name) <= 28 else name[:27] + "…"
