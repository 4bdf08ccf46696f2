"""Rows of pictures with a name before each, and blocks of pictures side by side."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxvae.run.figures.page import GREY, MARGIN, WIDE, mosaic, page, pictures, show, tile_size

ROW_GAP, NAMES, HEADS = 10, 205, 34


def labelled_rows(
    path: Path,
    rows: Sequence[tuple[str, np.ndarray]],
    *,
    title: str,
    caption: str,
    heads: Sequence[str] = (),
    group: int = 0,
) -> None:
    """Draw pictures in rows, each with its name to the left.

    Args:
        path: the PNG to write.
        rows: (name, `[n, H, W, C]` in [0, 1]), all rows of one length n.
        title: the line above.
        caption: what to see.
        heads: n words above the columns, or none.
        group: after every so many rows a wider gap; 0 for none.

    Raises:
        ValueError: there is no row, the rows differ in shape, or the heads are not one for each column.
    """
    shapes = {np.shape(images) for _, images in rows}
    if len(shapes) != 1:
        raise ValueError(f"The rows must be at least one and all of one shape [n, H, W, C], not {sorted(shapes)}.")
    columns = len(rows[0][1])
    if heads and len(heads) != columns:
        raise ValueError(f"{columns} columns need {columns} words above them, or none, not {len(heads)}.")
    rgb, strips, note = pictures(np.concatenate([images for _, images in rows]))
    gap = 6 if columns < 20 else 2
    wide, high = tile_size(rgb, strips, max(1, (WIDE - 2 * MARGIN - NAMES) // columns - gap), tallest=150)
    above = HEADS if heads else 0
    breaks = (len(rows) - 1) // group if group else 0
    height = above + len(rows) * (high + ROW_GAP) - ROW_GAP + 2 * ROW_GAP * breaks
    with page(path, title, caption + note, width=WIDE, height=height) as place:
        for index, (name, _) in enumerate(rows):
            canvas = mosaic(rgb[index * columns : (index + 1) * columns], columns, (wide, high), gap)
            top = above + index * (high + ROW_GAP) + (2 * ROW_GAP * (index // group) if group else 0)
            axes = place(NAMES, top, canvas.shape[1], high)
            show(axes, canvas)
            axes.text(-14, high / 2, name, ha="right", va="center", color=GREY)
            for column, head in enumerate(heads if index == 0 else ()):
                axes.text(column * (wide + gap) + wide / 2, -10, head, ha="center", va="bottom", color=GREY)


def blocks(path: Path, named: Mapping[str, np.ndarray], *, title: str, caption: str) -> None:
    """Draw square blocks of pictures side by side, each under its name.

    Args:
        path: the PNG to write.
        named: name -> `[n, H, W, C]` in [0, 1], all of one shape.
        title: the line above.
        caption: what to see.

    Raises:
        ValueError: there is no block, or the blocks differ in shape.
    """
    shapes = {np.shape(images) for images in named.values()}
    if len(shapes) != 1:
        raise ValueError(f"The blocks must be at least one and all of one shape [n, H, W, C], not {sorted(shapes)}.")
    count = len(next(iter(named.values())))
    rgb, strips, note = pictures(np.concatenate(list(named.values())))
    gap, apart, full = 4, 48, WIDE - 2 * MARGIN
    block = (full - apart * (len(named) - 1)) // len(named)
    columns = 1 if strips else math.ceil(math.sqrt(count))
    tile = tile_size(rgb, strips, max(1, (block + gap) // columns - gap), tallest=max(1, 900 // columns))
    rows = math.ceil(count / columns)
    with page(path, title, caption + note, width=WIDE, height=HEADS + rows * (tile[1] + gap) - gap) as place:
        for index, name in enumerate(named):
            canvas = mosaic(rgb[index * count : (index + 1) * count], columns, tile, gap)
            left = index * (block + apart) + (block - canvas.shape[1]) // 2
            axes = place(left, HEADS, canvas.shape[1], canvas.shape[0])
            show(axes, canvas)
            axes.text(canvas.shape[1] / 2, -12, name, ha="center", va="bottom", color=GREY)
