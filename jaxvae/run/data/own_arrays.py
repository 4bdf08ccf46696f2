"""Users' own arrays, from a `.npy` or `.npz` file."""

import zipfile
from pathlib import Path

import numpy as np

from jaxvae.run.data.dataset import DataError, Dataset, Split
from jaxvae.run.data.own_splits import check_split, classes, pixels, split_up


def own_arrays(path: Path, split: str | None) -> Dataset:
    """Images from a `.npy` file (one array) or a `.npz` file (named arrays), neither of them pickled.

    Images are uint8 in 0..255 or floating in [0, 1], of the shape [N, H, W, C], [N, H, W] (one channel) or [N, D],
    which becomes [N, D, 1, 1]. A `.npz` file names them either

    - `images` or `x`, with `labels` [N] or without: split "80/10/10" (`own_splits.shuffled`), as a `.npy` file is; or
    - `train`, `test` and, if there is one, `valid`, with `train_labels`, `test_labels`, `valid_labels` or without: the
      split is the file's own, called "train/valid/test" or "train/test".

    Args:
        path: of the file.
        split: the split's name, or None.

    Returns:
        The data set, called by the file's name.

    Raises:
        DataError: if the file does not hold such arrays.
    """
    try:
        content = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(content, np.ndarray):
            return split_up(path, split, pixels(content, str(path)), None)
        with content:
            found = {key: content[key] for key in content.files}
    except DataError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} cannot be read as a .npy or .npz file without pickled objects ({error}): write it with "
            "numpy.save or numpy.savez, from arrays of numbers."
        ) from error
    for key in ("images", "x"):
        if key in found:
            images = pixels(found[key], f"{key} in {path}")
            labels = found.get("labels")
            if labels is not None:
                labels = classes(labels, len(images), f"labels in {path}")
            return split_up(path, split, images, labels)
    if "train" in found and "test" in found:
        return _own_split(path, split, found)
    raise DataError(
        f"{path} holds {', '.join(found) or 'nothing'}: call the images `images` (with `labels` or without), or "
        "`train`, `test` and `valid` (with `train_labels` and so on or without)."
    )


def _own_split(path: Path, split: str | None, found: dict[str, np.ndarray]) -> Dataset:
    name = "train/valid/test" if "valid" in found else "train/test"
    check_split(str(path), split, name)
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
