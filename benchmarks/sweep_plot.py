"""The plot of a sweep: draws per second against k and against the batch, with the limit."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

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
    for row, axis in zip(panels, ("k", "batch"), strict=True):
        values = sorted({point[OTHER[axis]] for point in measured})
        colors = plt.get_cmap("viridis")([0.85 * index / max(1, len(values) - 1) for index in range(len(values))])
        color_of = dict(zip(values, colors, strict=True))
        for axes, name in zip(row, names, strict=True):
            _panel(axes, [point for point in measured if point["function"] == name], axis, color_of)
        row[0].set_ylabel("draws per second")
        lines = [Line2D([], [], color=color, marker="o", ms=4, label=f"{value:,}") for value, color in color_of.items()]
        row[-1].legend(handles=lines, title=OTHER[axis], loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
    for axes, name in zip(panels[0], names, strict=True):
        axes.set_title(name)
    styles = [Line2D([], [], color="0.3", marker="o", ms=4, label="the library, median and quartiles")]
    styles += [Line2D([], [], color="0.3", ls="--", label="its bare matrix products: the limit")]
    figure.legend(handles=styles, loc="outside lower center", ncols=2, frameon=False)
    figure.suptitle(f"784-200-200-50 on {machine}: draws per second = k × images per second")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _panel(axes: Axes, points: list[dict], axis: str, color_of: dict) -> None:
    """One line for each value of the other axis."""
    if len({point[axis] for point in points}) < 2 and axis == "k":
        axes.set_axis_off()
        axes.text(0.5, 0.5, "has no k", ha="center", va="center", transform=axes.transAxes, color="0.4")
        return
    for value, color in color_of.items():
        along = sorted((point for point in points if point[OTHER[axis]] == value), key=lambda point: point[axis])
        where = [point[axis] for point in along]
        medians, lower, upper = (
            [point["draws_per_second"][name] for point in along] for name in ("median", "lower", "upper")
        )
        below = [median - low for median, low in zip(medians, lower, strict=True)]
        above = [high - median for median, high in zip(medians, upper, strict=True)]
        axes.errorbar(where, medians, [below, above], color=color, marker="o", ms=4)
        axes.plot(where, [point["limit_draws_per_second"]["median"] for point in along], "--", color=color, lw=1)
    axes.set(xscale="log", yscale="log", xlabel={"k": "k, draws for each image", "batch": "images in a batch"}[axis])
    ticks = sorted({point[axis] for point in points})
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(alpha=0.3)
