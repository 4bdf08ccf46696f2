"""The pictures that the benchmarks train on: real ones where they are at hand."""

import os
from pathlib import Path

import numpy as np

SHARED = Path(__file__).parents[2] / "shared" / "data"


def binarized_mnist(count: int) -> tuple[np.ndarray, str]:
    """The first pictures of binarised MNIST, training and validation together: 60,000 at most.

    Args:
        count: how many, not more than 60,000.

    Returns:
        [count, 28, 28, 1] uint8 in {0, 255}, and where they come from: random bits when the data are not at hand.
    """
    packed = _packed()
    if packed is not None:
        with np.load(packed) as file:
            return _unpacked(np.concatenate([file["train"], file["valid"]])[:count]), "binarised MNIST"
    generator = np.random.default_rng(0)
    return generator.integers(2, size=(count, 28, 28, 1), dtype=np.uint8) * np.uint8(255), "random bits"


def binarized_mnist_to_test() -> tuple[np.ndarray, np.ndarray] | None:
    """Binarised MNIST as it is split for training and for testing.

    Returns:
        [50,000, 28, 28, 1] and [10,000, 28, 28, 1] uint8 in {0, 255}; None when the data are not at hand.
    """
    packed = _packed()
    if packed is None:
        return None
    with np.load(packed) as file:
        return _unpacked(file["train"]), _unpacked(file["test"])


def _packed() -> Path | None:
    for place in (Path(os.environ.get("JAXVAE_DATA_SOURCE", SHARED)), SHARED):
        packed = place / "binarized_mnist" / "binarized_mnist_packed.npz"
        if packed.exists():
            return packed
    return None


def _unpacked(rows: np.ndarray) -> np.ndarray:
    return np.unpackbits(rows, axis=1).reshape(-1, 28, 28, 1) * np.uint8(255)
