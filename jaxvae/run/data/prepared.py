"""Any other data set, as TensorFlow Datasets has prepared it."""

import hashlib
import os
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core import read_only_builder

from jaxvae.run.data import arrays
from jaxvae.run.data.dataset import DataError, Dataset, Split
from jaxvae.run.data.own_splits import NAME, check_split, split_up
from jaxvae.run.data.preparation import write


def prepared(name: str, split: str | None, source: Path | None, folder: Path) -> Dataset:
    """A data set that TensorFlow Datasets prepared before, in the format array_record, read as it is.

    Its feature "image" must be uint8 of one size; its feature "label", where it is a whole number, gives the labels.
    The split is its own, called by its parts ("train/test", "train/validation/test", ...), and the last part tests;
    where it has only "train", the split is "80/10/10" (`own_splits.shuffled`).

    Args:
        name: "tfds:NAME", where NAME may go on with a configuration and a version, as in "tfds:emnist/letters:3.1.0".
        split: the split's name, or None.
        source: the data_dir; None takes TFDS_DATA_DIR or ~/tensorflow_datasets.
        folder: where the arrays are kept.

    Returns:
        The data set, its images memory-mapped where the split is its own.

    Raises:
        DataError: if it is not prepared, or not images.
    """
    data_dir = Path(source or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
    builder = _builder(name, data_dir)
    found = builder.info.splits
    parts = [part for part in ("train", "validation", "test") if part in found and found[part].num_examples]
    if "train" not in parts:
        raise DataError(f"{name} has the splits {', '.join(found)}: take a data set that has one called train.")
    known = "/".join(parts) if len(parts) > 1 else NAME
    check_split(name, split, known)

    shape, labelled = _features(name, builder)
    stored = {part: _stored(name, builder, part, shape, labelled, folder) for part in parts}
    if len(parts) > 1:
        valid = stored["validation"] if len(parts) == 3 else None
        return Dataset(name, known, stored["train"], valid, stored[parts[-1]])
    images, labels = stored["train"]
    kept = _place(builder, folder) / f"train-images-{NAME.replace('/', '-')}.npy"
    return split_up(name, name, images, labels, kept=kept)


def _builder(name: str, data_dir: Path) -> tfds.core.DatasetBuilder:
    try:
        return read_only_builder.builder_from_files(name.removeprefix("tfds:"), data_dir=data_dir)
    except Exception as error:  # not there, a name of another form, a folder of another version
        raise DataError(
            f"{name} is not prepared in {data_dir} ({type(error).__name__}): prepare it with tfds.builder("
            f'"{name.removeprefix("tfds:")}").download_and_prepare(file_format="array_record"), or name its data_dir '
            "with source= or TFDS_DATA_DIR."
        ) from error


def _features(name: str, builder: tfds.core.DatasetBuilder) -> tuple[tuple[int, ...], bool]:
    features = dict(builder.info.features.items())
    image = features.get("image")
    if image is None or image.np_dtype != np.uint8 or len(image.shape) != 3 or None in image.shape:
        raise DataError(
            f"{name} has the features {', '.join(features)}: take a data set whose `image` is uint8 and "
            "of one known size."
        )
    labelled = (
        "label" in features and features["label"].shape == () and np.issubdtype(features["label"].np_dtype, np.integer)
    )
    return tuple(image.shape), labelled


def _stored(
    name: str,
    builder: tfds.core.DatasetBuilder,
    part: str,
    shape: tuple[int, ...],
    labelled: bool,
    folder: Path,
) -> Split:
    place = _place(builder, folder)
    shape = (builder.info.splits[part].num_examples, *shape)

    def read() -> Split | None:
        images = arrays.read(place / f"{part}-images.npy", shape)
        labels = arrays.read(place / f"{part}-labels.npy", shape[:1]) if labelled else None
        return None if images is None or (labelled and labels is None) else Split(images, labels)

    stored = read()
    if stored is None:
        try:
            write(builder, part, place, shape, labelled=labelled)
        except NotImplementedError as error:
            raise DataError(
                f"{name} is prepared in {builder.data_dir} in a format that needs TensorFlow to be read: prepare it "
                'again, in another data_dir, with file_format="array_record".'
            ) from error
        except (OSError, ValueError, RuntimeError, IndexError) as error:
            raise DataError(
                f"{name} in {builder.data_dir} cannot be read into {place} ({' '.join(str(error).split())}): make room "
                "if the disk is full, else prepare it again."
            ) from error
        stored = read()
    if stored is None:
        raise DataError(f"The arrays in {place} cannot be read back: delete that folder and run again.")
    return stored


def _place(builder: tfds.core.DatasetBuilder, folder: Path) -> Path:
    """A folder of its own for each place and each preparation of it."""
    info = (Path(builder.data_dir) / "dataset_info.json").read_bytes()
    fingerprint = hashlib.sha256(str(builder.data_dir).encode() + info).hexdigest()[:16]
    return folder / "arrays" / "tfds" / f"{builder.name}-{fingerprint}"
