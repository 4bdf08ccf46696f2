"""How users' own images are checked and split."""

import hashlib
import math
from pathlib import Path

import numpy as np
from tqdm import tqdm

from jaxvae.run.data import arrays
from jaxvae.run.data.dataset import DataError, Dataset, Split

NAME = "80/10/10"
CHUNK = 2**24  # bytes that are read at a time
CHANNELS = 4  # at most, of an image that people see: an axis that is no longer is theirs where it stands before rows
SMALLEST = 16  # pixels on each side of what is perhaps one image in colour


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
    return as_stored(checked(images, place))


def as_stored(images: np.ndarray) -> np.ndarray:
    """Images, or some of them, in the type that is stored: uint8 or float32."""
    return images if images.dtype == np.uint8 else images.astype(np.float32, copy=False)


def checked(images: np.ndarray, place: str) -> np.ndarray:
    """The images as [N, H, W, C] of the type they came in, not copied; the arguments and refusals of `pixels`."""
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
    if not (math.isfinite(least) and math.isfinite(most)):
        raise DataError(
            f"{place} holds values from {least} to {most}: put a number into every pixel that has none, or leave those "
            "images out."
        )
    if not (least >= 0 and most <= 1):
        raise DataError(f"{place} holds values from {least} to {most}: scale them to [0, 1].")
    return images


def _check_axes(shape: tuple[int, ...], place: str) -> None:
    """Refuses channels where rows belong, and one colour image where many images belong."""
    if len(shape) == 4 and shape[1] <= CHANNELS < min(shape[2:]):
        _, first, second, third = shape
        raise DataError(
            f"{place} has the shape {shape}, which would be images of {third} channels, {first} pixels high: give "
            f"images as [N, H, W, C], numpy.moveaxis(images, 1, -1) where these are {second} x {third} with "
            f"{first} channel{'s' if first > 1 else ''}."
        )
    if len(shape) == 3 and shape[2] in (3, CHANNELS) and min(shape[:2]) >= SMALLEST:
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


def split_up(name: str, place: str, images: np.ndarray, labels: np.ndarray | None, *, kept: Path) -> Dataset:
    """The 80/10/10 split of images: copied into memory, or where they are large, into one array on disk, once.

    Args:
        name: of the data set.
        place: where they are from, for the message.
        images: [N, H, W, C], checked; memory-mapped, so that large ones never are in memory as a whole.
        labels: [N], or None.
        kept: the file that large ones are kept in, whose name tells them from all others.

    Returns:
        The data set.

    Raises:
        DataError: there are fewer than ten, or no room on the disk.
    """
    rows = shuffled(len(images), place)
    order, ends = np.concatenate(rows), np.cumsum([len(part) for part in rows])
    size = images.size * (1 if images.dtype == np.uint8 else 4)
    mixed = as_stored(images[order]) if size <= arrays.LARGE else _mixed_on_disk(images, order, kept)
    train, valid, test = (
        Split(mixed[end - len(part) : end], None if labels is None else labels[part])
        for part, end in zip(rows, ends, strict=True)
    )
    return Dataset(name, NAME, train, valid, test)


def _mixed_on_disk(images: np.ndarray, order: np.ndarray, kept: Path) -> np.ndarray:
    """Images in another order, as a memory-mapped array that is made the first time."""
    found = arrays.read(kept, images.shape)
    if found is None:
        dtype = np.uint8 if images.dtype == np.uint8 else np.float32
        step = max(1, CHUNK * len(images) // images.nbytes)
        try:
            with arrays.written(kept, images.shape, dtype) as written:
                starts = range(0, len(order), step)
                for start in tqdm(starts, f"Shuffling into {kept.parent}", unit=" parts", disable=None):
                    written[start : start + step] = images[order[start : start + step]]
        except OSError as error:
            raise DataError(
                f"{kept} cannot be written ({error}): make room if the disk is full, or choose another folder with "
                "folder= or JAXVAE_DATA."
            ) from error
        found = arrays.read(kept, images.shape)
    if found is None:
        raise DataError(f"{kept} cannot be read back: delete it and run again.")
    return found


def name_of_copy(path: Path, *more: str) -> str:
    """The name of an array that is made of a file: another where the file has changed."""
    status = path.stat()
    told = " ".join([str(path.resolve()), str(status.st_size), str(status.st_mtime_ns), NAME, *more])
    return f"{path.stem}-{hashlib.sha256(told.encode()).hexdigest()[:16]}.npy"
