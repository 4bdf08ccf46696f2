"""The figures of a training run: arrays in, one PNG each out, title and caption drawn into it.

Each function writes `path` in one move and notes title and caption in the `captions.json` beside it, where
the report finds them. Nothing here uses pyplot.
"""

import math
import statistics
from pathlib import Path

import numpy as np
from matplotlib.patheffects import withStroke

from jaxvae.run.figures.curves import learning_curves
from jaxvae.run.figures.page import (
    GREY,
    MARGIN,
    NARROW,
    WIDE,
    mosaic,
    number_ticks,
    page,
    pictures,
    show,
    signed,
    tile_size,
)

__all__ = ["latent_scatter", "learning_curves", "manifold", "reconstructions", "samples"]

# Ten colours chosen for colour-vision deficiency: Petroff (2021), arXiv:2107.02270.
CLASSES = ["#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6"]
CLASSES += ["#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"]


def reconstructions(path: Path, originals: np.ndarray, means: np.ndarray, *, grey: np.ndarray | None = None) -> None:
    """Draw examples above the decoder's means for them, in up to three groups of rows.

    Args:
        path: the PNG to write.
        originals: `[N, H, W, C]` in [0, 1]; the first 36 are drawn. Tables of numbers, `[N, D, 1, 1]`, are
            drawn as strips of colour.
        means: `[N, H, W, C]`, the mean of p(x|z) for each.
        grey: `[N, H, W, C]` in [0, 1], what the originals were binarised from, drawn above them; None where they are
            as they were.

    Raises:
        ValueError: the two shapes differ, there is no image, or the pixels are integers.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> reconstructions(folder / "reconstructions.png", np.zeros((4, 8, 8, 1)), np.ones((4, 8, 8, 1)))
        >>> sorted(file.name for file in folder.iterdir())
        ['captions.json', 'reconstructions.png', 'reconstructions.svg']
    """
    if np.shape(originals) != np.shape(means):
        raise ValueError(
            f"Each original needs its own mean, and the shapes {np.shape(originals)} and {np.shape(means)} "
            "differ; pass the decoder's means for exactly these originals."
        )
    rows = {"data": originals[:36], "reconstruction": means[:36]}
    if grey is not None:
        rows = {"original": grey[:36], "as the model sees it": originals[:36], "reconstruction": means[:36]}
    rgb, strips, note = pictures(np.concatenate([*rows.values()]))
    parts = dict(zip(rows, np.split(rgb, len(rows)), strict=True))
    columns = min(2 if strips else 12, len(originals))
    labels, gap, apart = 160 if grey is None else 224, 6, 24
    wide, high = tile_size(rgb, strips, (WIDE - 2 * MARGIN - labels) // columns - gap)
    groups = math.ceil(len(parts["reconstruction"]) / columns)
    group_height = len(rows) * (high + gap) - gap
    seen = "" if grey is None else ", its pixels drawn as zeros and ones"
    caption = f"Above: examples{seen}. Below each: the decoder's mean for it. Look for detail that is lost." + note
    height = groups * (group_height + apart) - apart
    with page(path, "Reconstructions", caption, width=WIDE, height=height) as place:
        for group in range(groups):
            chosen = slice(group * columns, (group + 1) * columns)
            for row, (name, images) in enumerate(parts.items()):
                canvas = mosaic(images[chosen], columns, (wide, high), gap)
                axes = place(labels, group * (group_height + apart) + row * (high + gap), canvas.shape[1], high)
                show(axes, canvas)
                axes.text(-14, high / 2, name, ha="right", va="center", color=GREY)


def samples(path: Path, means: np.ndarray, *, title: str, caption: str) -> None:
    """Draw images in a grid that is about square.

    Args:
        path: the PNG to write.
        means: `[N, H, W, C]` in [0, 1]; the first 256 are drawn (tables of numbers: see `reconstructions`).
        title: the line above.
        caption: what to see, one or two lines.

    Raises:
        ValueError: there is no image, or the pixels are integers.
    """
    rgb, strips, note = pictures(np.asarray(means)[:256])
    if len(means) > 256:
        note += f" The first 256 of {len(means):,}."
    squarest = round(math.sqrt(len(rgb) * rgb.shape[1] / rgb.shape[2]))
    columns = min(len(rgb), 2 if strips else max(1, squarest))
    full, gap = NARROW - 2 * MARGIN, 4
    canvas = mosaic(rgb, columns, tile_size(rgb, strips, (full + gap) // columns - gap), gap)
    with page(path, title, caption + note, width=NARROW, height=canvas.shape[0]) as place:
        show(place((full - canvas.shape[1]) // 2, 0, canvas.shape[1], canvas.shape[0]), canvas)


def manifold(path: Path, grid: np.ndarray, *, quantile_range: tuple[float, float]) -> None:
    """Draw the decoder's means over a two-dimensional latent space (Kingma and Welling, 2014, appendix A).

    Args:
        path: the PNG to write.
        grid: `[n, n, H, W, C]` in [0, 1]; `grid[i, j]` is the mean at z₁ = Φ⁻¹(u_j), z₂ = Φ⁻¹(u_i), where
            Φ is the standard Gaussian's distribution function and u = linspace(*quantile_range, n). It is
            drawn as a graph is: z₁ to the right, z₂ upwards.
        quantile_range: the first and last u, inside (0, 1).

    Raises:
        ValueError: the grid has another shape, or the range is not inside (0, 1).
    """
    grid = np.asarray(grid)
    low, high = quantile_range
    if grid.ndim != 5 or grid.shape[0] != grid.shape[1]:
        raise ValueError(f"The grid must be [n, n, H, W, C], and its shape is {grid.shape}.")
    if not 0 < low < high < 1:
        raise ValueError(f"The quantiles must rise inside (0, 1), as (0.02, 0.98) do, not {quantile_range}.")
    n, left, below = len(grid), 70, 64
    rgb, strips, note = pictures(grid[::-1].reshape(n * n, *grid.shape[2:]))
    full, gap = NARROW - 2 * MARGIN - left, 6 if strips else 0
    tile = tile_size(rgb, strips, max(1, full // n - gap), tallest=max(1, 2 * full // n))
    canvas = mosaic(rgb, n, tile, gap)
    height, width = canvas.shape[:2]
    z = [statistics.NormalDist().inv_cdf(u) for u in np.linspace(low, high, n)]
    ticks = np.arange(0, n, math.ceil(n / 7))
    labels = [signed(round(z[i], 2) + 0.0) for i in ticks]
    caption = "The decoder's mean at each z, in equal steps of the prior's probability: look for smooth change."
    caption += note
    with page(path, "The latent plane, decoded", caption, width=NARROW, height=height + below) as place:
        axes = place(left + (full - width) // 2, 0, width, height)
        show(axes, canvas)
        axes.set_axis_on()
        axes.grid(False)
        axes.spines[:].set_visible(False)
        axes.set_xticks((ticks + 0.5) * (tile[0] + gap) - 0.5 - gap / 2, labels)
        axes.set_yticks(height - (ticks + 0.5) * (tile[1] + gap) - 0.5 + gap / 2, labels)
        axes.set_xlabel("z₁")
        axes.set_ylabel("z₂", rotation=0, va="center", ha="right")


def latent_scatter(path: Path, codes: np.ndarray, labels: np.ndarray | None, *, method: str = "pca") -> None:
    """Draw the codes of a data set: a histogram for one latent dimension, a plane for two or more.

    Args:
        path: the PNG to write.
        codes: `[N, L]` posterior means.
        labels: `[N]` classes, or None.
        method: how L > 2 dimensions become two: "pca" (the directions of largest variance) or "tsne"
            (neighbourhoods; distances between clusters then mean nothing, and 10,000 codes take a minute).

    Raises:
        ValueError: the shapes do not fit, or the method is another word.
    """
    codes = np.asarray(codes, dtype=np.float64)
    if codes.ndim != 2 or codes.size == 0 or (labels is not None and len(labels) != len(codes)):
        given = None if labels is None else np.shape(labels)
        raise ValueError(f"Codes must be [N, L] and labels [N] or None, not {codes.shape} and {given}.")
    finite = np.isfinite(codes).all(axis=1)
    classes = np.zeros(len(codes)) if labels is None else np.asarray(labels)
    codes, classes = codes[finite], classes[finite]
    points, names, caption = _plane(codes, method)
    if not finite.all():
        caption += f" Left out: {int((~finite).sum()):,} of {len(finite):,} codes, not finite."
    kinds = np.unique(classes)
    listed = 1 < len(kinds) <= 20
    if len(kinds) > len(CLASSES):
        caption += f" {len(kinds)} classes: colours repeat."
    if labels is not None:
        caption += " Look for classes that lie apart."
    left, right = 96, 90 if listed else 0
    title = "The latent codes, by t-SNE" if names[0].startswith("t-SNE") else "The latent codes"
    with page(path, title, caption, width=NARROW, height=700) as place:
        axes = place(left, 0, NARROW - 2 * MARGIN - left - right, 636)
        colours = [CLASSES[i % len(CLASSES)] for i in range(len(kinds))]
        for kind, colour in zip(kinds, colours, strict=True):
            axes.plot([], [], "o", ms=5, color=colour, label=str(kind))
        if points.shape[1] == 1:
            members = [points[classes == kind, 0] for kind in kinds]
            if len(points):
                axes.hist(members, 50, color=colours, alpha=0.15, histtype="stepfilled")
                axes.hist(members, 50, color=colours, histtype="step", linewidth=1.4)
        else:
            # One order at random for all: in the data's order the last class would cover the others.
            order = np.random.default_rng(0).permutation(len(points))
            size = float(np.clip(9000 / max(1, len(points)), 2, 36))
            axes.scatter(
                points[order, 0],
                points[order, 1],
                s=size,
                c=np.array(colours)[np.searchsorted(kinds, classes[order])],
                alpha=0.75,
                linewidths=0,
            )
            axes.set_aspect("equal", adjustable="datalim")
            for kind in kinds if listed else ():
                across, up = np.median(points[classes == kind], axis=0)
                halo = [withStroke(linewidth=3, foreground="white")]
                axes.text(across, up, str(kind), ha="center", va="center", fontsize=10, path_effects=halo)
        axes.set_xlabel(names[0])
        axes.set_ylabel(names[1])
        number_ticks(axes, 6)
        if listed:
            axes.legend(title="class", loc="upper left", bbox_to_anchor=(1, 1), fontsize=7.5)


def _plane(codes: np.ndarray, method: str) -> tuple[np.ndarray, tuple[str, str], str]:
    """Points `[N, 1 or 2]`, what the axes are, and a caption."""
    if method not in ("pca", "tsne"):
        raise ValueError(f'The method must be "pca" or "tsne", not {method!r}.')
    if codes.shape[1] == 1:
        return codes, ("z, posterior mean", "examples"), "How often each posterior mean occurs."
    if codes.shape[1] == 2:
        return codes, ("z₁", "z₂"), "Each point: the posterior mean of one example."
    if len(codes) < 3 or not np.ptp(codes, axis=0).any():
        caption = "All codes coincide, or they are fewer than three: the first two of their dimensions."
        return codes[:, :2], ("z₁", "z₂"), caption
    if method == "tsne":
        from sklearn.manifold import TSNE

        points = TSNE(perplexity=min(30.0, (len(codes) - 1) / 3), random_state=0).fit_transform(codes)
        caption = f"Posterior means, {codes.shape[1]} dimensions by t-SNE: only nearness means something."
        return points, ("t-SNE, first", "t-SNE, second"), caption
    from sklearn.decomposition import PCA

    pca = PCA(n_components=2, random_state=0)
    points = pca.fit_transform(codes)
    axes = [
        f"{word} principal component, {part:.0%} of variance"
        for word, part in zip(("first", "second"), pca.explained_variance_ratio_, strict=True)
    ]
    caption = f"Posterior means: of {codes.shape[1]} dimensions, the two directions of largest variance."
    return points, (axes[0], axes[1]), caption
