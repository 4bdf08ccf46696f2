"""The picture of clusters: what each of them draws, where their codes lie, and which classes are in them."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib.axes import Axes
from sklearn.decomposition import PCA

from jaxvae.distributions import Normal
from jaxvae.evaluation import clustering_accuracy, clusters_by_classes, matching
from jaxvae.model import VAE
from jaxvae.run import keys
from jaxvae.run.figures.gallery import CLASSES
from jaxvae.run.figures.page import GREY, INK, MARGIN, WIDE, mosaic, page, pictures, show, tile_size
from jaxvae.types import Array, Key, Params

DRAWN, SHOWN, HEIGHT = 8, 10, 520  # draws of a cluster; clusters that are drawn; pixels of the body
LABELS, GAP, APART = 60, 4, 90


def draw(path: Path, model: VAE, params: Params, codes: np.ndarray, clusters: np.ndarray, classes: np.ndarray) -> None:
    """Draw the samples of every cluster, the codes in a plane, and the table of clusters and classes.

    Args:
        path: the PNG to write.
        model: whose prior is a mixture.
        params: of the model.
        codes: [N, D] of test images.
        clusters: [N] of the codes.
        classes: [N] of the images.
    """
    count = len(model.prior(params).logits)  # type: ignore[attr-defined]
    table = clusters_by_classes(clusters, classes, shape=(count, int(classes.max()) + 1))
    order = in_order(table)
    rgb, strips, note = pictures(np.concatenate([drawn(model, params, c) for c in order[:SHOWN]]))
    third = (WIDE - 2 * MARGIN - 2 * APART) // 3
    tile = tile_size(rgb, strips, (third - LABELS) // DRAWN - GAP, tallest=(HEIGHT - 60) // min(count, SHOWN) - GAP)
    canvas = mosaic(rgb, DRAWN, tile, GAP)
    caption = (
        f"Left: the decoder's means for draws of each component of the prior, by the class it is matched with. Middle: "
        f"codes of {len(codes):,} test images, the two directions of largest variance, coloured by class. Right: how "
        f"many of each class are in each cluster; {clustering_accuracy(clusters, classes):.1%} are in the cluster of "
        f"their class. No label was used but for the matching and the colours.{note}"
    )
    names = [str(int(cluster)) for cluster in order]
    with page(path, "Clusters without labels", caption, width=WIDE, height=HEIGHT) as place:
        left = place(LABELS, 40, canvas.shape[1], canvas.shape[0])
        show(left, canvas)
        for row, name in enumerate(names[:SHOWN]):
            height = row * (tile[1] + GAP) + tile[1] / 2
            left.text(-12, height, name, ha="right", va="center", color=GREY)
        left.set_title("what each cluster draws", loc="left", fontsize=9, color=INK)
        _plane(place(third + APART, 40, third, HEIGHT - 90), codes, classes)
        _table(place(2 * (third + APART), 40, third, HEIGHT - 90), table[order], names)


def in_order(table: np.ndarray) -> np.ndarray:
    """The clusters by the class they are matched with; after them those that have none, the largest first.

    Args:
        table: [K, K'] of `clusters_by_classes`.

    Returns:
        [K] a permutation.

    Example:
        >>> in_order(np.array([[0, 5], [1, 2], [7, 0]]))
        array([2, 0, 1])
    """
    matched, to = matching(table)
    rest = np.setdiff1d(np.arange(len(table)), matched)
    return np.concatenate([matched[np.argsort(to)], rest[np.argsort(-table[rest].sum(axis=1))]])


@partial(jax.jit, static_argnums=0)
def drawn(model: VAE, params: Params, cluster: Array) -> Array:
    """The decoder's means for draws of one component, [DRAWN, H, W, C]."""
    prior: Any = model.prior(params)
    component = Normal(prior.mean[cluster], prior.log_scale[cluster])

    def image(key: Key) -> Array:
        return model.likelihood(params, component.sample(key)).expectation()

    return jax.vmap(image)(jax.random.split(keys.of_pictures(), DRAWN))


def _plane(axes: Axes, codes: np.ndarray, classes: np.ndarray) -> None:
    plane = PCA(2, random_state=0).fit(codes) if codes.shape[1] > 2 else None
    points = codes if plane is None else plane.transform(codes)
    order = np.random.default_rng(0).permutation(len(points))[:5000]
    colours = np.array([CLASSES[index % len(CLASSES)] for index in range(int(classes.max()) + 1)])
    axes.scatter(points[order, 0], points[order, -1], s=4, c=colours[classes[order]], alpha=0.7, linewidths=0)
    for label in np.unique(classes):
        axes.plot([], [], "o", ms=4, color=colours[label], label=str(label))
    axes.legend(fontsize=7, ncols=5, loc="upper center", bbox_to_anchor=(0.5, -0.04), handletextpad=0.1)
    axes.set_title("codes, coloured by class", loc="left", fontsize=9, color=INK)
    axes.tick_params(length=0, labelbottom=False, labelleft=False)


def _table(axes: Axes, table: np.ndarray, names: list[str]) -> None:
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1.2, aspect="auto")
    for row, column in np.ndindex(*table.shape) if table.size <= 200 else ():
        if table[row, column]:
            axes.text(column, row, f"{table[row, column]:,}", ha="center", va="center", fontsize=6)
    axes.set_xticks(range(table.shape[1]))
    axes.set_yticks(range(len(names)), names)
    axes.grid(visible=False)
    axes.set_xlabel("class")
    axes.set_ylabel("cluster")
    axes.set_title("test images of each class", loc="left", fontsize=9, color=INK)
