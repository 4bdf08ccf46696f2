"""The four ways in which grey images become binary ones, or do not."""

import numpy as np

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


def binarized(dataset: Dataset, binarize: str) -> Dataset:
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

    Returns:
        The data set; binary images are uint8, 0 or 255, so that dividing by 255 gives {0, 1}.
    """
    if binarize in ("none", "dynamic") or dataset.name == "binarized_mnist":
        return dataset
    change = _threshold if binarize == "threshold" else _static
    return dataset._replace(
        train=change(dataset.train, 0),
        valid=None if dataset.valid is None else change(dataset.valid, 1),
        test=change(dataset.test, 2),
    )


def _threshold(split: Split, part: int) -> Split:
    half = 127 if split.examples.dtype == np.uint8 else 0.5  # above 127 of 255 is above 0.5
    return split._replace(examples=np.where(split.examples > half, np.uint8(255), np.uint8(0)))


def _static(split: Split, part: int) -> Split:
    random = np.random.RandomState([_SEED, part])
    binary = np.empty(split.examples.shape, np.uint8)
    for start in range(0, len(binary), _ROWS):
        grey = split.examples[start : start + _ROWS]
        if grey.dtype == np.uint8:
            # A number of 0..254 is below x in 0..255 with probability x / 255, exactly.
            one = random.randint(0, 255, grey.shape, np.uint8) < grey
        else:
            one = random.random_sample(grey.shape) < grey
        binary[start : start + _ROWS] = np.where(one, 255, 0)
    return split._replace(examples=binary)
