"""The plot of `benchmarks.growth`: what each number of a training step costs, with slopes."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import NullLocator

COLORS = {"time": "C0", "memory": "C1", "compilation": "0.5"}
LABELS = {"time": "time of a step", "memory": "memory of its program", "compilation": "time to compile it"}


def draw(axes: dict[str, dict], path: Path) -> None:
    """Draw how cost grows, each cost as a multiple of the smallest size's.

    Args:
        axes: made by `growth.measure`.
        path: of the picture; its ending is its format.
    """
    columns = min(3, len(axes))
    rows = -(-len(axes) // columns)
    figure, panels = plt.subplots(
        rows, columns, figsize=(3.6 * columns, 3.1 * rows), squeeze=False, layout="constrained"
    )
    for panel in panels.flat[len(axes) :]:
        panel.set_axis_off()
    for panel, (axis, found) in zip(panels.flat, axes.items(), strict=False):
        values, first = found["values"], found["seconds"][0]["median"]
        medians = [one["median"] / first for one in found["seconds"]]
        below = [(one["median"] - one["lower"]) / first for one in found["seconds"]]
        above = [(one["upper"] - one["median"]) / first for one in found["seconds"]]
        panel.errorbar(values, medians, [below, above], marker="o", ms=4, color=COLORS["time"])
        for cost, name in (("memory", "program_bytes"), ("compilation", "compile_seconds")):
            panel.plot(values, [one / found[name][0] for one in found[name]], "s--", ms=4, color=COLORS[cost])
        panel.plot(values, [value / values[0] for value in values], ":", color="0.7", zorder=0)
        slopes = ", ".join(f"{found['slopes'][cost]:.2f}" for cost in COLORS)
        panel.set_title(f"{axis}\nslopes {slopes}", fontsize=10)
        panel.set(xscale="log", yscale="log")
        panel.set_xticks(values, [f"{value:,}" for value in values])
        panel.xaxis.set_minor_locator(NullLocator())
        panel.set_ylim(bottom=0.5)
        panel.grid(alpha=0.3)
    for row in panels:
        row[0].set_ylabel("times the smallest")
    handles = [plt.Line2D([], [], marker="o", color=COLORS[cost], label=label) for cost, label in LABELS.items()]
    handles.append(plt.Line2D([], [], ls=":", color="0.7", label="proportional"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)
