"""The pictures of `jaxvae latent`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxvae.run.figures.page import GREY, MARGIN, NARROW, mosaic, page, pictures, show, signed, tile_size
from jaxvae.run.figures.rows import labelled_rows


def draw_interpolations(path: Path, images: np.ndarray, pairs: np.ndarray, paths: Mapping[str, np.ndarray]) -> None:
    """Draw decoded paths between pairs of images, with the images themselves at both ends.

    Args:
        path: the PNG to write.
        images: [N, H, W, C].
        pairs: [P, 2] rows of the images.
        paths: name -> [P, T, H, W, C].
    """
    rows = []
    for index, (first, last) in enumerate(pairs):
        for name, decoded in paths.items():
            rows.append((name, np.concatenate([images[first][None], decoded[index], images[last][None]])))
    steps = len(next(iter(paths.values()))[0])
    labelled_rows(
        path,
        rows,
        title="Between two images",
        caption="The first and the last of each row are data; between them the decoder's means on the path between "
        "their codes. Look for images that are whole on the way: a digit that turns into another, not two that fade.",
        heads=["data", *(signed(round(t, 2)) for t in np.linspace(0, 1, steps)), "data"],
        group=len(paths),
    )


def draw_traversals(
    path: Path, rows: Sequence[np.ndarray], dimensions: np.ndarray, values: np.ndarray, variances: np.ndarray
) -> None:
    """Draw one row for each traversed dimension.

    Args:
        path: the PNG to write.
        rows: [T, H, W, C] for each.
        dimensions: which, counted from zero.
        values: [T] what the dimension becomes.
        variances: [D] of the posterior means in each dimension.
    """
    labelled_rows(
        path,
        [(f"z{j + 1}, variance {variances[j]:.2f}", row) for j, row in zip(dimensions, rows, strict=True)],
        title="One latent dimension at a time",
        caption="The decoder's mean as one dimension of an image's code takes the values above, all others staying; "
        "the dimensions with the largest variance of their posterior means first. A row that does not change is a "
        "dimension that the model does not use.",
        heads=[signed(round(float(value), 2) + 0.0) for value in values],
    )


def draw_near(path: Path, originals: np.ndarray, near: np.ndarray, spread: float) -> None:
    """Draw images, their reconstructions, and what lies near them.

    Args:
        path: the PNG to write.
        originals: [n, H, W, C].
        near: [n, 1 + m, H, W, C], the reconstruction first.
        spread: of the draws.
    """
    rows = [
        (f"image {index + 1}", np.concatenate([x[None], images]))
        for index, (x, images) in enumerate(zip(originals, near, strict=True))
    ]
    times = "" if spread == 1 else f", {spread:g} times as wide"
    labelled_rows(
        path,
        rows,
        title="Near an image",
        caption=f"The image, its reconstruction from the posterior's mean, and the decoder's means at codes drawn from "
        f"the image's own posterior{times}. What differs along a row "
        "is what the code leaves open.",
        heads=["data", "mean", *([""] * (near.shape[1] - 1))],
    )


def draw_attributes(path: Path, originals: np.ndarray, rows: Sequence[np.ndarray], classes: np.ndarray) -> None:
    """Draw one image of each class, moved towards every other class.

    Args:
        path: the PNG to write.
        originals: [K, H, W, C].
        rows: for each, [K, H, W, C].
        classes: [K].
    """
    labelled_rows(
        path,
        [
            (f"from {kind}", np.concatenate([x[None], row]))
            for kind, x, row in zip(classes, originals, rows, strict=True)
        ],
        title="Attribute vectors between classes",
        caption="Each row: an image, and the decoder's mean after the difference between two classes' mean codes was "
        "added to its code. On the diagonal nothing is added. Look for the class above the column, in the hand of the "
        "row.",
        heads=["data", *(f"to {kind}" for kind in classes)],
    )


def draw_resynthesis(path: Path, original: np.ndarray, grid: np.ndarray, classes: tuple[int, int, int]) -> None:
    """Draw one image, and the plane of two attribute vectors through its code.

    Args:
        path: the PNG to write.
        original: [H, W, C].
        grid: [n, n, H, W, C]; the first axis is how much of the second attribute is added.
        classes: of the image, of the attribute across, of the attribute up.
    """
    side = len(grid)
    rgb, strips, note = pictures(np.concatenate([original[None], grid[::-1].reshape(side * side, *grid.shape[2:])]))
    left, below, gap, beside = 66, 64, 4, 150
    full = NARROW - 2 * MARGIN - left - beside
    tile = tile_size(rgb, strips, (full + gap) // side - gap, tallest=full // side)
    canvas = mosaic(rgb[1:], side, tile, gap)
    height, width = canvas.shape[:2]
    origin, across, up = classes
    caption = (
        f"Left, an image of class {origin}. Its reconstruction is at the lower left of the grid; to the right the "
        f"vector from class {origin} to {across} is added, upwards the one from {origin} to {up}, in equal steps from "
        "nothing to the whole." + note
    )
    with page(path, "Re-synthesis", caption, width=NARROW, height=height + below) as place:
        single = mosaic(rgb[:1], 1, tile, gap)
        axes = place(0, height - single.shape[0], single.shape[1], single.shape[0])
        show(axes, single)
        axes.text(single.shape[1] / 2, -10, "data", ha="center", va="bottom", color=GREY)
        axes = place(beside + left, 0, width, height)
        show(axes, canvas)
        axes.text(width / 2, height + 14, f"towards {across} →", ha="center", va="top", color=GREY)
        axes.text(-14, height / 2, f"towards {up} →", ha="right", va="center", rotation=90, color=GREY)
