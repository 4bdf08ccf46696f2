"""The plot of a sweep: draws per second against k and against the batch, with the limit."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

OTHER = {"k": "batch", "batch": "k"}


def draw(points: list[dict], path: Path, *, machine: str) -> None:
    """Draw a sweep.

    Args:
        points: made by `sweep.measure`.
        path: of the picture; its ending is its format.
        machine: where it was measured, for the title.
    """
    measured = [point for point in points if "skipped" not in point]
    names = list(dict.fromkeys(point["function"] for point in measured))
    figure, panels = plt.subplots(
        2, len(names), figsize=(max(7.0, 3.6 * len(names)), 6.4), squeeze=False, sharey="col", layout="constrained"
    )
    for column, name in zip(panels.T, names, strict=True):
        of_name = [point for point in measured if point["function"] == name]
        for axes, axis in zip(column, ("k", "batch"), strict=True):
            _panel(axes, of_name, axis)
        column[0].set_title(name)
    for row in panels:
        row[0].set_ylabel("draws per second")
    styles = [Line2D([], [], color="0.3", marker="o", ms=4, label="the library, median and quartiles")]
    styles += [Line2D([], [], color="0.3", ls="--", label="its bare matrix products: the limit")]
    figure.legend(handles=styles, loc="outside lower center", ncols=2, frameon=False)
    figure.suptitle(f"784-200-200-50 on {machine}: draws per second = k × images per second")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _panel(axes: Axes, points: list[dict], axis: str) -> None:
    """One line for each value of the other axis."""
    values = sorted({point[OTHER[axis]] for point in points})
    if len({point[axis] for point in points}) < 2 and axis == "k":
        axes.set_axis_off()
        axes.text(0.5, 0.5, "has no k", ha="center", va="center", transform=axes.transAxes, color="0.4")
        return
    colors = plt.get_cmap("viridis")([0.85 * index / max(1, len(values) - 1) for index in range(len(values))])
    for value, color in zip(values, colors, strict=True):
        along = sorted((point for point in points if point[OTHER[axis]] == value), key=lambda point: point[axis])
        where = [point[axis] for point in along]
        medians, lower, upper = (
            [point["draws_per_second"][name] for point in along] for name in ("median", "lower", "upper")
        )
        below = [median - low for median, low in zip(medians, lower, strict=True)]
        above = [high - median for median, high in zip(medians, upper, strict=True)]
        axes.errorbar(where, medians, [below, above], color=color, marker="o", ms=4, label=f"{value:,}")
        axes.plot(where, [point["limit_draws_per_second"]["median"] for point in along], "--", color=color, lw=1)
    axes.set(xscale="log", yscale="log", xlabel={"k": "k, draws for each image", "batch": "images in a batch"}[axis])
    ticks = sorted({point[axis] for point in points})
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    if len(values) > 1:
        axes.legend(title={"k": "batch", "batch": "k"}[axis], fontsize="small", title_fontsize="small")
