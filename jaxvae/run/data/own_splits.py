"""How users' own images are checked and split."""

from pathlib import Path

import numpy as np

from jaxvae.run.data.dataset import DataError, Dataset, Split

NAME = "80/10/10"
CHANNELS = 4  # at most, of an image that people see: an axis that is no longer is theirs where it stands before rows


def check_split(name: str, split: str | None, known: str) -> None:
    """Refuses a split other than the one there is."""
    if split not in (None, known):
        raise DataError(f"{name} has no split {split!r}: choose {known}, or leave it out.")


def pixels(images: np.ndarray, place: str) -> np.ndarray:
    """The images with the shape and the type of `Split.examples`.

    Args:
        images: [N, H, W, C], [N, H, W] (one channel) or [N, D] (D pixels of height D, width 1, one channel), uint8
            in 0..255 or floating in [0, 1].
        place: where they are from, for the message.

    Returns:
        [N, H, W, C], uint8 as it came or float32.

    Raises:
        DataError: for another shape, type or range.

    Example:
        >>> pixels(np.zeros((5, 3)), "here").shape
        (5, 3, 1, 1)
    """
    if images.ndim not in (2, 3, 4) or 0 in images.shape:
        raise DataError(
            f"{place} has the shape {images.shape}: give images as [N, H, W, C], [N, H, W] or [N, D], none of them 0."
        )
    _check_axes(images.shape, place)
    images = images.reshape(images.shape + (1,) * (4 - images.ndim))
    if images.dtype == np.uint8:
        if images.max() <= 1:
            raise DataError(
                f"{place} holds nothing above 1 as uint8, which stands for 0..255: multiply it by 255, or give it "
                "as float32."
            )
        return images
    if not np.issubdtype(images.dtype, np.floating):
        raise DataError(f"{place} holds {images.dtype}: give pixels as uint8 in 0..255 or as float32 in [0, 1].")
    least, most = images.min(), images.max()
    if not (least >= 0 and most <= 1):  # so that NaN is refused too
        raise DataError(f"{place} holds values from {least} to {most}: scale them to [0, 1].")
    return images.astype(np.float32, copy=False)


def _check_axes(shape: tuple[int, ...], place: str) -> None:
    """Refuses channels where rows belong, and one colour image where many images belong."""
    if len(shape) == 4 and shape[1] <= CHANNELS < min(shape[2:]):
        _, first, second, third = shape
        raise DataError(
            f"{place} has the shape {shape}, which would be images of {third} channels, {first} pixels high: give "
            f"images as [N, H, W, C], numpy.moveaxis(images, 1, -1) where these are {second} x {third} with "
            f"{first} channel{'s' if first > 1 else ''}."
        )
    if len(shape) == 3 and shape[2] in (3, CHANNELS) and min(shape[:2]) > CHANNELS:
        raise DataError(
            f"{place} has the shape {shape}, which would be {shape[0]} grey images, {shape[2]} pixels wide, and is "
            f"perhaps one image in colour: give many images as [N, H, W, C], and grey ones of that shape as "
            f"{[*shape, 1]}."
        )


def classes(labels: np.ndarray, length: int, place: str) -> np.ndarray:
    """The labels, checked to be one whole number for each image."""
    if labels.shape != (length,) or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"{place} holds labels {labels.dtype} {list(labels.shape)}: give {length} whole numbers, one for each "
            "image."
        )
    return labels


def shuffled(length: int, place: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which images train, validate and test: 80/10/10, by the permutation of `RandomState(0)`.

    A tenth, rounded down, validates and another tests; the rest trains.

    Example:
        >>> [len(rows) for rows in shuffled(25, "here")]
        [21, 2, 2]
    """
    tenth = length // 10
    if tenth == 0:
        raise DataError(f"{place} has {length} images: the split {NAME} needs 10 or more.")
    rows = np.random.RandomState(0).permutation(length)
    train, valid, test = np.split(rows, [length - 2 * tenth, length - tenth])
    return train, valid, test


def split_up(path: Path, split: str | None, images: np.ndarray, labels: np.ndarray | None) -> Dataset:
    """The 80/10/10 split of images [N, H, W, C], copied into memory."""
    check_split(str(path), split, NAME)
    parts = [Split(images[rows], None if labels is None else labels[rows]) for rows in shuffled(len(images), str(path))]
    train, valid, test = parts
    return Dataset(path.name, NAME, train, valid, test)
