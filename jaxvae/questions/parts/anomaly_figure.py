"""The picture of anomaly detection: how the scores part two kinds of images, and the images at the ends."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jaxvae.questions.parts.histogram import edges_of, histogram
from jaxvae.run.figures.page import GREY, MARGIN, WIDE, mosaic, number_ticks, page, pictures, show, tile_size
from jaxvae.run.figures.panels import LINES, panels

SHOWN = 16  # images in a row


def draw(
    path: Path,
    scores: Mapping[str, Mapping[str, np.ndarray]],
    areas: Mapping[str, tuple[float, float]],
    images: Mapping[str, np.ndarray],
    *,
    normal: str,
    anomalous: str,
) -> None:
    """Draw a histogram of each score, and the images that the scores find most anomalous.

    Args:
        path: the PNG to write.
        scores: score -> {"normal": [N], "anomalous": [M]}, higher for more anomalous.
        areas: score -> (AUROC, its standard error).
        images: {"normal": [N, H, W, C], "anomalous": [M, H, W, C]}.
        normal: the name of the run's own data.
        anomalous: the name of the other.
    """
    names = {"normal": normal, "anomalous": anomalous}
    rows = {
        f"{normal}: most anomalous\nby {score}": images["normal"][_order(values["normal"])[::-1][:SHOWN]]
        for score, values in scores.items()
    }
    rows |= {
        f"{anomalous}: least anomalous\nby {score}": images["anomalous"][_order(values["anomalous"])[:SHOWN]]
        for score, values in scores.items()
    }
    labels, gap, top, apart = 330, 5, 520, 14
    rgb, strips, note = pictures(np.concatenate([np.asarray(row, np.float64) for row in rows.values()]))
    columns = 2 if strips else SHOWN
    wide, high = tile_size(rgb, strips, (WIDE - 2 * MARGIN - labels) // columns - gap)
    high_row = max(high, 46)
    caption = (
        f"Above: each score of test images of {normal}, which the model was trained on, and of {anomalous}, which it "
        "never saw; the further apart, the better. Below: its own images that each score finds most anomalous, and "
        f"the others that it misses most.{note}"
    )
    with page(
        path, f"Anomalies: {normal} and {anomalous}", caption, width=WIDE, height=top + len(rows) * (high_row + apart)
    ) as place:
        titles = [f"AUROC {area:.3f} ± {error:.3f}" for area, error in areas.values()]
        for axes, (score, values) in zip(panels(place, titles, height=top - 40), scores.items(), strict=True):
            every = np.concatenate(list(values.values()))
            edges = edges_of(every, 50)
            for kind, colour in zip(names, LINES[:2], strict=True):
                histogram(axes, values[kind], edges, color=colour, filled=0.2, label=names[kind])
            axes.set_xlabel(f"{score} (nats)")
            number_ticks(axes, 5)
            axes.locator_params(axis="x", nbins=4)
            axes.legend(loc="best")
        first = 0
        for index, (name, row) in enumerate(rows.items()):
            chosen = rgb[first : first + len(row)][:columns]
            first += len(row)
            canvas = mosaic(chosen, columns, (wide, high), gap)
            above = top + index * (high_row + apart)
            axes = place(labels, above + (high_row - canvas.shape[0]) // 2, canvas.shape[1], canvas.shape[0])
            show(axes, canvas)
            axes.text(-14, canvas.shape[0] / 2, name, ha="right", va="center", color=GREY, fontsize=7.5)


def _order(values: np.ndarray) -> np.ndarray:
    return np.argsort(values, kind="stable")
