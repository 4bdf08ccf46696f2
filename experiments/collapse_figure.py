"""The picture of the remedies against posterior collapse."""

from pathlib import Path

import numpy as np

from jaxvae.run.figures.page import MARGIN, WIDE, page
from jaxvae.run.figures.panels import LINES

PANELS = (
    ("mutual_information", "mutual information, nats"),
    ("active_units", "active units"),
    ("negative_elbo", "−ELBO on the test set, nats"),
)
HEIGHT, NAMES, GAP = 420, 200, 40  # pixels: of the body, of the remedies' names, between panels


def draw(path: Path, rows: list[dict]) -> None:
    """Draw what the code carries and what the bound is, a bar for each remedy.

    Args:
        path: the PNG to write.
        rows: "remedy", and by `collapse.measured` a list over seeds for each number.
    """
    caption = (
        "A decoder that draws pixel by pixel, trained alike but for the remedy. Left and middle: the code of a "
        "collapsed posterior tells nothing about the image. Right: what a remedy costs or gains; that axis does not "
        "begin at 0. Bars are means, dots the seeds."
    )
    body = WIDE - 2 * MARGIN
    wide = (body - NAMES - 2 * GAP) / len(PANELS)
    remedies = [row["remedy"] for row in rows][::-1]
    with page(path, "Posterior collapse, and what prevents it", caption, width=WIDE, height=HEIGHT) as place:
        for index, (name, label) in enumerate(PANELS):
            axes = place(NAMES + index * (wide + GAP), 40, wide, HEIGHT - 80)
            of_seeds = [row[name] for row in rows][::-1]
            values = [float(np.mean(each)) for each in of_seeds]
            axes.barh(remedies, values, color=[LINES[0]] * (len(rows) - 1) + [LINES[1]], height=0.6)
            for height, each in enumerate(of_seeds):
                axes.plot(each, [height] * len(each), "o", color="black", markersize=3, alpha=0.6)
            axes.set_title(label, loc="left", fontsize=9)
            axes.grid(axis="y", visible=False)
            if name == "negative_elbo":
                spread = max(values) - min(values) or 1
                axes.set_xlim(min(values) - 0.5 * spread, max(values) + 0.2 * spread)
            if index:
                axes.set_yticklabels([])
