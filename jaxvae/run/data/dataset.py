"""What every data set looks like once it is loaded, and the one error that loading raises."""

from typing import NamedTuple

import numpy as np


class DataError(ValueError):
    """Data that cannot be had as asked. Its message is one sentence that says what to do next."""


class Split(NamedTuple):
    """The images of one part of a data set, with their labels where there are any.

    `images` is memory-mapped, read-only, wherever the data lies on disk as one array.
    """

    images: np.ndarray  # [N, H, W, C] uint8 in 0..255, or float32 in [0, 1] for users' float arrays
    labels: np.ndarray | None  # [N] int


class Dataset(NamedTuple):
    """A data set and the protocol by which it was split."""

    name: str
    split: str  # the protocol's name, for example "50k/10k/10k"
    train: Split
    valid: Split | None  # None where the split has none
    test: Split
