"""What every data set looks like once it is loaded, and the one error that loading raises."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np


class DataError(ValueError):
    """Data that cannot be had as asked. Its message is one sentence that says what to do next."""


class Split(NamedTuple):
    """The examples of one part of a data set, with their labels where there are any.

    An array is memory-mapped, read-only, wherever the data lies on disk as one.
    """

    examples: Any  # a tree of arrays [N, ...]: images [N, H, W, C], uint8 in 0..255 or float32 in [0, 1], for one
    labels: np.ndarray | None = None  # [N] int

    @property
    def size(self) -> int:
        """How many examples there are, N."""
        leaves = jax.tree.leaves(self.examples)
        return len(leaves[0]) if leaves else 0


class Dataset(NamedTuple):
    """A data set and the protocol by which it was split."""

    name: str
    split: str  # the protocol's name, for example "50k/10k/10k"
    train: Split
    valid: Split | None  # None where the split has none
    test: Split
    facts: Mapping[str, Any] = {}  # what a model has to know of it beside shapes, as JSON: {"vocabulary": 10_000}
