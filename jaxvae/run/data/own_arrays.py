"""Users' own arrays, from a `.npy` or `.npz` file."""

from pathlib import Path

import numpy as np

from jaxvae.run.data.dataset import DataError, Dataset, Split
from jaxvae.run.data.own_splits import NAME, check_split, checked, classes, name_of_copy, pixels, split_up

VALIDATION = ("valid", "val", "validation")


def own_arrays(path: Path, split: str | None, folder: Path) -> Dataset:
    """Images from a `.npy` file (one array) or a `.npz` file (named arrays), neither of them pickled.

    Images are uint8 in 0..255 or floating in [0, 1], of the shape [N, H, W, C], [N, H, W] (one channel) or [N, D],
    which becomes [N, D, 1, 1]. A `.npz` file names them either

    - `images` or `x`, with `labels` [N] or without: split "80/10/10" (`own_splits.shuffled`), as a `.npy` file is; or
    - `train`, `test` and, if there is one, `valid` (or `val`, `validation`), with `train_labels`, `test_labels`,
      `valid_labels` or without: the split is the file's own, called "train/valid/test" or "train/test".

    A `.npy` file is never in memory as a whole: where its images are large they are shuffled into an array below
    `folder`, once, and memory-mapped. A `.npz` file, an archive, is read into memory.

    Args:
        path: of the file.
        split: the split's name, or None.
        folder: where the array is kept.

    Returns:
        The data set, called by the file's name.

    Raises:
        DataError: if the file does not hold such arrays.
    """
    try:
        content = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(content, np.ndarray):
            with content:
                found = {key: content[key] for key in content.files}
    except Exception as error:  # NumPy, zipfile and zlib each raise their own kinds for a damaged file
        raise DataError(
            f"{path} cannot be read as a .npy or .npz file without pickled objects ({error}): write it with "
            "numpy.save or numpy.savez, from arrays of numbers."
        ) from error
    if isinstance(content, np.ndarray):
        return _split_up(path, split, checked(content, str(path)), None, folder)
    for key in ("images", "x"):
        if key in found:
            _all_read(path, found, {key, "labels"})
            images = checked(found[key], f"{key} in {path}")
            labels = found.get("labels")
            if labels is not None:
                labels = classes(labels, len(images), f"labels in {path}")
            return _split_up(path, split, images, labels, folder)
    if "train" in found and "test" in found:
        return _own_split(path, split, _called_valid(path, found))
    raise DataError(
        f"{path} holds {', '.join(found) or 'nothing'}: call the images `images` (with `labels` or without), or "
        "`train`, `test` and `valid` (with `train_labels` and so on or without)."
    )


def _split_up(path: Path, split: str | None, images: np.ndarray, labels: np.ndarray | None, folder: Path) -> Dataset:
    check_split(str(path), split, NAME)
    return split_up(path.name, str(path), images, labels, kept=folder / "arrays" / "own" / name_of_copy(path))


def _own_split(path: Path, split: str | None, found: dict[str, np.ndarray]) -> Dataset:
    name = "train/valid/test" if "valid" in found else "train/test"
    check_split(str(path), split, name)
    _all_read(path, found, {key for part in name.split("/") for key in (part, f"{part}_labels")})
    parts = {}
    for part in name.split("/"):
        images = pixels(found[part], f"{part} in {path}")
        labels = found.get(f"{part}_labels")
        if labels is not None:
            labels = classes(labels, len(images), f"{part}_labels in {path}")
        parts[part] = Split(images, labels)
    kinds = {f"{list(part.examples.shape[1:])} {part.examples.dtype}" for part in parts.values()}
    if len(kinds) > 1:
        raise DataError(
            f"{path} holds images of different kinds ({', '.join(sorted(kinds))}): "
            "give all parts one shape and one type."
        )
    return Dataset(path.name, name, parts["train"], parts.get("valid"), parts["test"])


def _called_valid(path: Path, found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays with the validation images, by whichever name they have, called `valid`."""
    there = [name for name in VALIDATION if name in found]
    if len(there) > 1:
        raise DataError(f"{path} holds {' and '.join(there)}, the same part twice: keep one of them.")
    named = {name: "valid" for name in there} | {f"{name}_labels": "valid_labels" for name in there}
    return {named.get(name, name): array for name, array in found.items()}


def _all_read(path: Path, found: dict[str, np.ndarray], known: set[str]) -> None:
    """Refuses arrays that no name here is for: labels called otherwise would be passed over without a word."""
    if others := [name for name in found if name not in known]:
        read = ", ".join(name for name in found if name in known)
        raise DataError(
            f"{path} holds {', '.join(others)} beside {read}, and nothing "
            f"here reads an array of that name: call it one of {', '.join(sorted(known))}, or leave it out of the file."
        )
