"""The four ways in which grey images become binary ones, or do not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from jaxvae.run.data import arrays
from jaxvae.run.data.dataset import DataError, Dataset, Split

WAYS = ("none", "static", "dynamic", "threshold")
_SEED = 0
_ROWS = 1000  # images drawn at a time; the draws depend on it


def check(name: str, binarize: str) -> None:
    """Refuses an unknown way, and drawing again what is already binary.

    Raises:
        DataError: with one sentence that says what to ask for instead.

    Example:
        >>> check("mnist", "dynamic")
        >>> check("binarized_mnist", "dynamic")
        Traceback (most recent call last):
        ...
        jaxvae.run.data.dataset.DataError: binarize="dynamic" cannot draw binarized_mnist, ...
    """
    if binarize not in WAYS:
        raise DataError(f"binarize={binarize!r} is unknown: choose one of {', '.join(WAYS)}.")
    if name == "binarized_mnist" and binarize == "dynamic":
        raise DataError(
            'binarize="dynamic" cannot draw binarized_mnist, whose pixels are already 0 or 1: '
            'use binarize="none", or the data set mnist.'
        )


def binarized(dataset: Dataset, binarize: str, folder: Path = Path()) -> Dataset:
    """The data set with its pixels binarised.

    - "none" leaves the grey values;
    - "dynamic" leaves them too: the training step draws every pixel anew, each time it sees the image;
    - "threshold" makes a pixel 1 where it is above 0.5;
    - "static" draws each pixel once, b ~ Bernoulli(x) with x in [0, 1].

    The static draws are the same in every run: `numpy.random.RandomState([0, part])` (seed 0; part 0 trains, 1
    validates, 2 tests), image by image. RandomState's streams are frozen, so they outlive NumPy's versions.

    Args:
        dataset: with images [N, H, W, C].
        binarize: one of `WAYS`.
        folder: where binary images lie that are too large for memory, in a file that ends with the process.

    Returns:
        The data set; binary images are uint8, 0 or 255, so that dividing by 255 gives {0, 1}.

    Raises:
        DataError: there is no room for them on the disk.
    """
    if binarize in ("none", "dynamic") or dataset.name == "binarized_mnist":
        return dataset
    draw = _threshold if binarize == "threshold" else _static
    try:
        return dataset._replace(
            train=_changed(dataset.train, draw(0), folder),
            valid=None if dataset.valid is None else _changed(dataset.valid, draw(1), folder),
            test=_changed(dataset.test, draw(2), folder),
        )
    except OSError as error:
        raise DataError(
            f"{dataset.name} cannot be binarised in {folder} ({error}): make room, or choose another folder with "
            "folder= or JAXVAE_DATA."
        ) from error


def _changed(split: Split, one: Callable[[np.ndarray], np.ndarray], folder: Path) -> Split:
    """The split with each of its images binarised, some at a time, in their order."""
    binary = arrays.room(split.examples.shape, np.uint8, folder)
    for start in range(0, len(binary), _ROWS):
        binary[start : start + _ROWS] = np.where(one(split.examples[start : start + _ROWS]), 255, 0)
    return split._replace(examples=binary)


def _threshold(part: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda grey: grey > (127 if grey.dtype == np.uint8 else 0.5)  # above 127 of 255 is above 0.5


def _static(part: int) -> Callable[[np.ndarray], np.ndarray]:
    random = np.random.RandomState([_SEED, part])

    def one(grey: np.ndarray) -> np.ndarray:
        if grey.dtype == np.uint8:  # a number of 0..254 is below x in 0..255 with probability x / 255, exactly
            return random.randint(0, 255, grey.shape, np.uint8) < grey
        return random.random_sample(grey.shape) < grey

    return one
