"""The plot of the gradients: signal-to-noise ratios against k."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import NullLocator


def draw(rows: list[dict], path: Path) -> None:
    """Draw the signal-to-noise ratios.

    Args:
        rows: made by `gradients.measured`.
        path: of the picture; its ending is its format.
    """
    subjects = list(dict.fromkeys(row["subject"] for row in rows))
    names = list(dict.fromkeys(row["estimator"] for row in rows))
    color_of = dict(zip(names, plt.get_cmap("tab10")(range(len(names))), strict=True))
    figure, panels = plt.subplots(
        len(subjects), 2, figsize=(9.5, 3.6 * len(subjects) + 1), squeeze=False, layout="constrained"
    )
    for row_of_panels, subject in zip(panels, subjects, strict=True):
        for axes, part in zip(row_of_panels, ("encoder", "decoder"), strict=True):
            for name in names:
                along = [r for r in rows if (r["subject"], r["part"], r["estimator"]) == (subject, part, name)]
                if along:
                    axes.plot(
                        [r["k"] for r in along],
                        [r["signal_to_noise"] for r in along],
                        marker="o",
                        ms=4,
                        color=color_of[name],
                        label=name,
                    )
            ticks = sorted({r["k"] for r in rows if r["subject"] == subject})
            axes.set(xscale="log", yscale="log", xlabel="k, draws for each image", title=f"{part}: {subject}")
            axes.set_xticks(ticks, [str(tick) for tick in ticks])
            axes.xaxis.set_minor_locator(NullLocator())
            axes.grid(alpha=0.3)
        row_of_panels[0].set_ylabel("signal-to-noise ratio")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle("Which gradients do more draws drown?")
    figure.savefig(path, dpi=150)
    plt.close(figure)
