"""The picture of denoising: rows of clean, noisy and cleaned images."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jaxvae.run.figures.page import GREY, MARGIN, WIDE, mosaic, page, pictures, show, tile_size


def draw(path: Path, rows: Mapping[str, np.ndarray], numbers: Mapping[str, tuple[float, float]], *, title: str) -> None:
    """Draw one row of images for each name.

    Args:
        path: the PNG to write.
        rows: name -> images [N, H, W, C], the same examples in every row.
        numbers: name -> (PSNR, its standard error) in decibels over the whole test set.
        title: the line above.
    """
    count, labels, gap, apart = len(next(iter(rows.values()))), 230, 6, 16
    rgb, strips, note = pictures(np.concatenate([np.asarray(images, np.float64) for images in rows.values()]))
    columns = min(count, 2 if strips else 14)
    wide, high = tile_size(rgb, strips, (WIDE - 2 * MARGIN - labels) // columns - gap)
    measured = "; ".join(f"{name} {value:.1f} ± {error:.1f} dB" for name, (value, error) in numbers.items())
    caption = (
        "Test images, the same with noise, and what two VAEs of the same size make of the noisy ones: one trained as "
        "usual, one trained to explain clean images by noisy ones. Look for which of them restores strokes. "
        f"PSNR over the test set: {measured}.{note}"
    )
    with page(path, title, caption, width=WIDE, height=len(rows) * (high + apart) - apart) as place:
        for index, (name, images) in enumerate(zip(rows, np.split(rgb, len(rows)), strict=True)):
            canvas = mosaic(images[:columns], columns, (wide, high), gap)
            axes = place(labels, index * (high + apart), canvas.shape[1], high)
            show(axes, canvas)
            axes.text(-14, high / 2, name, ha="right", va="center", color=GREY)
