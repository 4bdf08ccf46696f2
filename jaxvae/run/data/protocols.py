"""The standard data sets: the arrays they are stored as, where their originals come from, how they are split.

The splits that papers quote, by name:

- `mnist`, `fashion_mnist`: "50k/10k/10k" (the last 10,000 training images validate) and "60k/10k";
- `binarized_mnist`: "50k/10k/10k" is Larochelle's own; "60k/10k" gives his validation images back to training;
- `omniglot`: "17352/1928/13180" (of the background set, drawers 1 to 18 train and 19 and 20 validate; the
  evaluation set, whose alphabets training never sees, tests) and "19280/13180". Neither is the 24345/8070 split of
  the IWAE paper, whose 28x28 images were another file;
- `frey_faces`: "1565/200/200", the sizes of the VampPrior paper. Its code shuffles without a seed, so the frames in
  each part are ours: the permutation of `RandomState(0)`;
- `digits`: "1297/200/300", by the permutation of `RandomState(0)`;
- `sprites`, `sprites_64`: "717280/10000/10000", by the permutation of `RandomState(0)`. `sprite_rows` tells which, and
  `sprites.factors_of` what they show.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

Rows = tuple[str, slice | np.ndarray]  # the name of a stored array, and which of its rows


class Protocol(NamedTuple):
    """Which rows of which stored array each part holds."""

    train: Rows
    valid: Rows | None
    test: Rows


class Standard(NamedTuple):
    """A standard data set."""

    shapes: Mapping[str, tuple[int, int, int, int]]  # of each stored array, [N, H, W, C]
    labelled: bool
    splits: Mapping[str, Protocol]  # by name; the first is the default
    # The files that it can be read from: each alternative maps what a file holds to its address, the origin first.
    # `checksums.tsv` has their sizes and SHA-256.
    originals: tuple[Mapping[str, str], ...] = ()
    version: str = "1.0.0"  # counts up when the stored arrays change


def _permuted(length: int, num_train: int, num_valid: int) -> Protocol:
    # RandomState: its streams are frozen for good, and a protocol must not change with NumPy's version.
    rows = np.random.RandomState(0).permutation(length)
    train, valid, test = np.split(rows, [num_train, num_train + num_valid])
    return Protocol(("whole", train), ("whole", valid), ("whole", test))


_MNIST_SHAPES = {"train": (60_000, 28, 28, 1), "test": (10_000, 28, 28, 1)}
_MNIST_SPLITS = {
    "50k/10k/10k": Protocol(("train", slice(50_000)), ("train", slice(50_000, 60_000)), ("test", slice(None))),
    "60k/10k": Protocol(("train", slice(None)), None, ("test", slice(None))),
}


def _idx_files(address: str) -> dict[str, str]:
    return {
        "train_images": f"{address}/train-images-idx3-ubyte.gz",
        "train_labels": f"{address}/train-labels-idx1-ubyte.gz",
        "test_images": f"{address}/t10k-images-idx3-ubyte.gz",
        "test_labels": f"{address}/t10k-labels-idx1-ubyte.gz",
    }


_LAROCHELLE = "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist"
_LAKE = "https://github.com/brendenlake/omniglot/raw/master/python"
_LAKE_REPACKED = "https://github.com/Goldesel23/Siamese-Networks-for-One-Shot-Learning/tree/8aae4568#"

SIDES: Mapping[str, int] = {"sprites": 32, "sprites_64": 64}  # of those that are rendered, in pixels


def sprite_rows(part: str) -> np.ndarray:
    """The numbers of the sprites of a part.

    Args:
        part: "train", "valid" or "test".

    Returns:
        [n], for `jaxvae.run.data.sprites.factors_of`.
    """
    rows = getattr(STANDARD["sprites"].splits["717280/10000/10000"], part)[1]
    assert isinstance(rows, np.ndarray)
    return rows


_SPRITES = _permuted(737_280, 717_280, 10_000)

STANDARD: Mapping[str, Standard] = {
    "digits": Standard(
        shapes={"whole": (1797, 8, 8, 1)},
        labelled=True,
        splits={"1297/200/300": _permuted(1797, 1297, 200)},
    ),
    "mnist": Standard(
        shapes=_MNIST_SHAPES,
        labelled=True,
        splits=_MNIST_SPLITS,
        originals=(_idx_files("https://storage.googleapis.com/cvdf-datasets/mnist"),),
    ),
    "fashion_mnist": Standard(
        shapes=_MNIST_SHAPES,
        labelled=True,
        splits=_MNIST_SPLITS,
        originals=(_idx_files("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"),),
    ),
    "binarized_mnist": Standard(
        shapes=_MNIST_SHAPES,  # "train" is his training images, then his validation images
        labelled=False,
        splits=_MNIST_SPLITS,
        originals=(
            {part: f"{_LAROCHELLE}/binarized_mnist_{part}.amat" for part in ("train", "valid", "test")},
            {"packed": "https://github.com/mingzhang-yin/ARM-gradient/tree/9b5f74da#binarized_mnist_packed.npz"},
        ),
    ),
    "omniglot": Standard(
        shapes={"background": (19_280, 28, 28, 1), "evaluation": (13_180, 28, 28, 1)},
        labelled=True,
        splits={
            # The stored images are in the order of their drawers, so the last two of 20 are the last tenth.
            "17352/1928/13180": Protocol(
                ("background", slice(17_352)),
                ("background", slice(17_352, 19_280)),
                ("evaluation", slice(None)),
            ),
            "19280/13180": Protocol(("background", slice(None)), None, ("evaluation", slice(None))),
        },
        originals=(
            {part: f"{_LAKE}/images_{part}.zip" for part in ("background", "evaluation")},
            {part: f"{_LAKE_REPACKED}images_{part}.zip" for part in ("background", "evaluation")},
        ),
    ),
    "frey_faces": Standard(
        shapes={"whole": (1965, 28, 20, 1)},
        labelled=False,
        splits={"1565/200/200": _permuted(1965, 1565, 200)},
        originals=(
            {"mat": "https://cs.nyu.edu/~roweis/data/frey_rawface.mat"},
            {"packed": "https://github.com/jmtomczak/vae_vampprior#frey_faces.npz"},
        ),
    ),
    **{
        name: Standard({"whole": (737_280, side, side, 1)}, labelled=True, splits={"717280/10000/10000": _SPRITES})
        for name, side in SIDES.items()
    },
}
