"""The page every figure is drawn on: one quiet style, a PNG and an SVG, title and caption beside them for a report.

Lengths are pixels of the finished PNG, measured from the top left, so that a pixel of an image falls on whole
pixels of the figure.
"""

import json
import os
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from PIL import Image

from jaxvae.run.figures.vector import parts_of, svg_of

# Two widths: in the report two narrow figures stand below a wide one, with type of about the same size.
DPI, WIDE, NARROW, MARGIN, EDGE = 150, 1440, 810, 36, 16
INK, GREY = "#1f2328", "#59636e"
NOT_FINITE = (213, 94, 0)  # a vermilion that no grey-scale picture holds
STYLE: Any = {
    "font.family": ["DejaVu Sans"],  # matplotlib brings it along: figures look the same on every machine
    "font.size": 8.5,
    "text.color": INK,
    "text.parse_math": False,  # a "$" in a name is a dollar
    "axes.edgecolor": GREY,
    "axes.labelcolor": GREY,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#eaeef2",
    "grid.linewidth": 0.7,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "legend.frameon": False,
    "legend.handlelength": 1.2,
    "lines.solid_capstyle": "round",
}

Place = Callable[[float, float, float, float], Axes]


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file in one move: a reader sees the old file or the new one, never half of either."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        unfinished.write_bytes(content)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def page(path: Path, title: str, caption: str, *, width: int, height: int, alone: bool = False) -> Iterator[Place]:
    """Give a body of `height` pixels; at the end write the PNG, the same as SVG, and title and caption beside them.

    Args:
        path: the PNG to write; the SVG has its name, and `captions.json` gets title and caption under its stem.
        title: one line.
        caption: what to see, told by the numbers.
        width: of the whole figure; the body is `width - 2 * MARGIN` wide.
        height: of the body.
        alone: whether no report stands around the figure: title and caption are then drawn into the PNG, and there is
            no SVG.

    Yields:
        `place(left, top, width, height) -> Axes`, in pixels of the body.
    """
    # 10.3 and 15.5 pixels are the mean advance of DejaVu Sans at 9 and 13 points, with a little to spare.
    heading = textwrap.wrap(title, int((width - 2 * MARGIN) / 15.5)) or [""]
    below = textwrap.wrap(caption, int((width - 2 * MARGIN) / 10.3)) or [""]
    above_height, below_height = (
        (MARGIN + 36 * len(heading) + 16, 24 + 27 * len(below) + MARGIN - 8) if alone else (EDGE, EDGE)
    )
    total = above_height + height + below_height
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width / DPI, total / DPI), dpi=DPI, facecolor="white")

        def place(left: float, top: float, wide: float, high: float) -> Axes:
            bottom = total - above_height - top - high
            return figure.add_axes(
                ((MARGIN + left) / width, bottom / total, wide / width, high / total), facecolor="none"
            )

        if alone:
            words: dict[str, Any] = {"va": "top", "linespacing": 1.4}
            left = MARGIN / width
            figure.text(left, 1 - (MARGIN - 8) / total, "\n".join(heading), fontsize=13, color=INK, **words)
            figure.text(left, (below_height - 24) / total, "\n".join(below), fontsize=9, color=GREY, **words)
        yield place
        _save(figure, path, title, caption, alone)


def _save(figure: Figure, path: Path, title: str, caption: str, alone: bool) -> None:
    """Write the PNG and the SVG, then their entry in `captions.json`."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Title": title, "Description": caption})
    write_atomically(path, buffer.getvalue())
    entry: dict[str, Any] = {"title": title, "caption": caption}
    if not alone:
        write_atomically(path.with_suffix(".svg"), svg_of(figure, path.stem, dpi=DPI).encode())
        width, height = (round(side * DPI) for side in figure.get_size_inches())
        entry |= {"parts": parts_of(figure, width=width, height=height)} if width == WIDE else {}
    notes = path.with_name("captions.json")
    try:
        captions = json.loads(notes.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        captions = {}
    captions[path.stem] = entry
    write_atomically(notes, (json.dumps(captions, indent=2, ensure_ascii=False) + "\n").encode())


def pictures(images: np.ndarray) -> tuple[np.ndarray, bool, str]:
    """Make images drawable.

    Args:
        images: `[N, H, W, C]` in [0, 1]; values outside are clipped. One or three channels are grey and RGB,
            of any other number the mean is drawn. Where H or W (not both) is 1, each example is a row of
            numbers, not a picture: it becomes a strip of colour, on one scale for all.

    Returns:
        RGB uint8 `[N, h, w, 3]`; whether they are strips; a sentence for the caption, or "".

    Raises:
        ValueError: the shape is another, there is no image, or the pixels are integers.
    """
    if images.ndim != 4 or images.size == 0:
        raise ValueError(f"Images must be [N, H, W, C] and at least one, and the shape is {images.shape}.")
    if np.issubdtype(images.dtype, np.integer):
        raise ValueError(f"Pixels must be floats in [0, 1], not {images.dtype}; divide bytes by 255.")
    values: np.ndarray = images.astype(np.float64)
    n, height, width, channels = values.shape
    strips, note = (height == 1) != (width == 1), ""
    finite: np.ndarray = np.isfinite(values)
    if strips:
        values, finite = values.reshape(n, 1, -1, 1), finite.reshape(n, 1, -1, 1)
        low, high = (values[finite].min(), values[finite].max()) if finite.any() else (0.0, 1.0)
        values = (values - low) / (high - low if high > low else 1)
        ends = f"dark {low:.3g}, bright {high:.3g}".replace("-", "−")
        note = f" A strip is one example of {values.shape[2]:,} numbers: {ends}."
    elif channels not in (1, 3):
        values = values.mean(axis=-1, keepdims=True)
        note = f" Shown is the mean of the {channels} channels."
    bad = np.logical_not(finite.all(axis=-1))
    values = np.clip(np.where(bad[..., None], 0, values), 0, 1)
    if strips:
        values = matplotlib.colormaps["viridis"](values[..., 0])[..., :3]
    colours = np.broadcast_to(np.rint(255 * values), (*values.shape[:3], 3)).astype(np.uint8)
    if bad.any():
        colours[bad] = NOT_FINITE
        note += f" Painted orange: {int(bad.sum()):,} of {bad.size:,} pixels, not finite."
    return colours, strips, note


def tile_size(rgb: np.ndarray, strips: bool, cell: int, *, tallest: int = 220) -> tuple[int, int]:
    """The pixels, wide and high, that a picture gets in a cell `cell` wide."""
    if strips:
        return cell, min(26, tallest)
    height, width = rgb.shape[1:3]
    scale = min(cell / width, tallest / height, 220 / width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def mosaic(rgb: np.ndarray, columns: int, tile: tuple[int, int], gap: int) -> np.ndarray:
    """Lay pictures `[N, h, w, 3]` out row by row, `columns` to a row, on nothing (RGBA); the last row may be short."""
    wide, high = tile
    rows = -(-len(rgb) // columns)
    canvas = np.full((rows * (high + gap) - gap, columns * (wide + gap) - gap, 4), (255, 255, 255, 0), np.uint8)
    # Enlarged by whole pixels first, then averaged down: edges stay sharp and every pixel equally large.
    factor = -(-max(wide, high) // min(rgb.shape[1:3]))
    for index, picture in enumerate(rgb):
        image = Image.fromarray(picture)
        image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
        image = image.resize(tile, Image.Resampling.BOX)
        top, left = index // columns * (high + gap), index % columns * (wide + gap)
        canvas[top : top + high, left : left + wide] = np.asarray(image.convert("RGBA"))
    return canvas


def show(axes: Axes, canvas: np.ndarray) -> None:
    """Draw a canvas pixel for pixel into axes of its own size, without ticks."""
    axes.imshow(canvas, aspect="auto", interpolation="none")
    axes.set_axis_off()


def signed(value: float) -> str:
    """A tick's label: 60,000 or −86.5, with the sign that is as wide as a plus."""
    return f"{value:,.6g}".replace("-", "−")


def number_ticks(axes: Axes, most: int) -> None:
    """At most about `most` round ticks upwards, six across, written by `signed`."""
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(most, steps=[1, 2, 5, 10]))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: signed(value)))
