"""Pictures of a table and its model: each column beside that of new rows, the codes, and cells that were filled in."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from jaxvae.run.data.own_tables import OwnTable, said
from jaxvae.run.data.schema import BLOCKS, CLASS, NUMBER, Schema, columns_of
from jaxvae.run.figures.page import GREY, MARGIN, NARROW, WIDE, number_ticks, page
from jaxvae.run.figures.panels import LINES

SHOWN, ABREAST = 12, 4  # columns of the table that are drawn, and how many side by side
BINS, BARS = 30, 8  # of a histogram; classes of which each has a bar, the commonest ones
HIGH = 300  # pixels of a panel


def columns(path: Path, table: OwnTable, samples: dict[str, np.ndarray]) -> None:
    """Draw the distribution of every column, of the observed cells and of new rows.

    Args:
        path: the PNG to write.
        table: that was read.
        samples: block -> [M, n] new rows.
    """
    schema = table.schema
    given, new = columns_of(table.rows[0], schema), columns_of(samples, schema)
    observed = {
        column.name: table.rows[1][block][:, index]
        for kind, block in BLOCKS.items()
        for index, column in enumerate(schema.of(kind))
    }
    caption = (
        "Each column: the observed cells of the table (filled), and new rows from the model (line). They should agree."
    )
    if len(given) > SHOWN:
        caption += f" The first {SHOWN} of {len(given)} columns."
    shown = list(zip(schema.columns, given, new, strict=True))[:SHOWN]
    with page(
        path, "The columns of the table", caption, width=WIDE, height=HIGH * math.ceil(len(shown) / ABREAST)
    ) as place:
        for index, (column, cells, drawn) in enumerate(shown):
            axes = _panel(place, index, column.name)
            known = cells[observed[column.name]]
            if column.kind == CLASS:
                _bars(axes, column.levels, known, drawn)
            else:
                _curves(axes, known.astype(np.float64), drawn.astype(np.float64))


def codes(path: Path, codes: np.ndarray, log_densities: np.ndarray) -> None:
    """Draw the codes of all rows in the two dimensions in which they are spread most, dark where log p is low.

    Args:
        path: the PNG to write.
        codes: [N, latent].
        log_densities: [N] nats.
    """
    caption = "A point is the code of a row, dark where the density of its observed cells is low."
    with page(path, "The codes of the rows", caption, width=NARROW, height=560) as place:
        axes = place(96, 20, NARROW - 2 * MARGIN - 96, 560 - 20 - 62)
        widest = np.sort(np.argsort(codes.var(axis=0))[::-1][:2])
        up = codes[:, widest[1]] if len(widest) > 1 else np.random.default_rng(0).uniform(-1, 1, len(codes))
        # by rank: one outlier would take all the colours
        shades = np.argsort(np.argsort(log_densities)) / max(1, len(log_densities) - 1)
        size = float(np.clip(6000 / len(codes), 2, 24))
        axes.scatter(codes[:, widest[0]], up, c=shades, cmap="viridis", s=size, linewidths=0, alpha=0.85)
        axes.set_xlabel(f"z{widest[0] + 1}")
        axes.set_ylabel(f"z{widest[1] + 1}" if len(widest) > 1 else "(spread at random)")
        number_ticks(axes, 5)


def imputed(
    path: Path,
    schema: Schema,
    values: dict[str, np.ndarray],
    hidden: dict[str, np.ndarray],
    guess: dict[str, np.ndarray],
) -> None:
    """Draw what was filled in against what was hidden; of classes how many of each were told.

    Args:
        path: the PNG to write.
        schema: of the table.
        values: block -> [N, n] the truth.
        hidden: block -> [N, n] the cells that were hidden.
        guess: block -> [N, n] what was filled in, of classes the probabilities [N, n, K].
    """
    caption = (
        "Test rows, of whose cells some were hidden: what was filled in, upwards, against what was hidden. Numbers lie "
        "on the line where they are right; of classes a circle's area is how often one was taken for another."
    )
    truth = dict(zip((c.name for c in schema.columns), columns_of(values, schema), strict=True))
    filled = dict(zip((c.name for c in schema.columns), columns_of(guess, schema), strict=True))
    shown = [
        (column, hidden[block][:, index])
        for kind, block in BLOCKS.items()
        for index, column in enumerate(schema.of(kind))
    ]
    order = [column.name for column in schema.columns]
    shown = sorted(shown, key=lambda pair: order.index(pair[0].name))[:SHOWN]
    with page(path, "Cells filled in", caption, width=WIDE, height=HIGH * math.ceil(len(shown) / ABREAST)) as place:
        for index, (column, rows) in enumerate(shown):
            axes = _panel(place, index, column.name)
            true, found = truth[column.name][rows], filled[column.name][rows]
            if column.kind == CLASS:
                level = {value: number for number, value in enumerate(column.levels)}
                pairs = np.array([(level[a], level[b]) for a, b in zip(true, found, strict=True)]).reshape(-1, 2)
                spots, counts = np.unique(pairs, axis=0, return_counts=True) if len(pairs) else (pairs, np.zeros(0))
                area = 300 * counts / max(1, counts.max(initial=0))
                axes.scatter(spots[:, 0], spots[:, 1], s=area, color=LINES[0], alpha=0.6, linewidths=0)
                axes.set_xlim(-0.6, len(level) - 0.4)
                axes.set_ylim(-0.6, len(level) - 0.4)
                if len(level) <= BARS:
                    axes.set_xticks(range(len(level)), _named(column.levels))
                    axes.set_yticks(range(len(level)), _named(column.levels))
            else:
                axes.scatter(true.astype(float), found.astype(float), s=9, color=LINES[0], alpha=0.6, linewidths=0)
            low, high = axes.get_xlim()
            axes.plot([low, high], [low, high], color=GREY, lw=0.8, ls="--")
            if column.kind != CLASS:
                axes.locator_params(nbins=4, integer=column.kind != NUMBER)


def _panel(place: Any, index: int, name: str) -> Axes:
    width = (WIDE - 2 * MARGIN) // ABREAST
    row, column = divmod(index, ABREAST)
    axes = place(column * width + 44, 34 + HIGH * row, width - 68, HIGH - 104)
    axes.set_title(name if len(name) <= 26 else name[:25] + "…", loc="left", fontsize=8.5)
    axes.tick_params(colors=GREY, labelsize=7)
    return axes


def _named(levels: Sequence[Any]) -> list[str]:
    return [said(level, "point")[:8] for level in levels]


def _curves(axes: Axes, given: np.ndarray, new: np.ndarray) -> None:
    """Histograms of fractions, in which outliers are counted in the outermost bins."""
    both = np.concatenate([given, new])
    edges = np.histogram_bin_edges(np.clip(both, *np.quantile(both, [0.005, 0.995])), BINS)
    for values, colour, filled in ((given, LINES[0], 0.35), (new, LINES[1], 0.0)):
        counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
        axes.stairs(counts / max(1, len(values)), edges, fill=True, color=colour, alpha=filled, lw=0)
        axes.stairs(counts / max(1, len(values)), edges, color=colour, lw=1.3)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.locator_params(axis="x", nbins=4)


def _bars(axes: Axes, levels: tuple[Any, ...], given: np.ndarray, new: np.ndarray) -> None:
    counts = np.array([np.sum(given == level) for level in levels])
    shown = np.sort(np.argsort(-counts, kind="stable")[:BARS])
    places = np.arange(len(shown))
    axes.bar(places, counts[shown] / max(1, len(given)), 0.8, color=LINES[0], alpha=0.35)
    drawn = np.array([np.sum(new == levels[number]) for number in shown]) / max(1, len(new))
    axes.bar(places, drawn, 0.8, fill=False, edgecolor=LINES[1], lw=1.3)
    axes.set_xticks(places, _named([levels[number] for number in shown]))
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
