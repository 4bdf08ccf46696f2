"""From verified originals, or a download, through TensorFlow Datasets to one array on disk for each split."""

import contextlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tqdm import tqdm

from jaxvae.run.data import arrays, originals
from jaxvae.run.data.binarized_mnist import BinarizedMNIST
from jaxvae.run.data.dataset import DataError
from jaxvae.run.data.frey_faces import FreyFaces
from jaxvae.run.data.idx import MNIST, FashionMNIST
from jaxvae.run.data.omniglot import Omniglot
from jaxvae.run.data.protocols import STANDARD

_BUILDERS = {
    "mnist": MNIST,
    "fashion_mnist": FashionMNIST,
    "binarized_mnist": BinarizedMNIST,
    "omniglot": Omniglot,
    "frey_faces": FreyFaces,
}
_BATCH = 500


def prepare(name: str, place: Path, source: Path | None, folder: Path) -> None:
    """Writes the arrays of a standard data set.

    Args:
        name: of the data set.
        place: where the arrays go.
        source: a folder with the originals; None downloads them.
        folder: where the builders keep what they prepare and download, for every data set apart.

    Raises:
        DataError: if the originals cannot be had, or what was prepared before cannot be read.
    """
    # Apart: TensorFlow Datasets finds a download by its file's name, which MNIST and Fashion-MNIST share.
    builder: Any = _BUILDERS[name](data_dir=folder / "tfds")
    if not (builder.data_path / "dataset_info.json").exists():
        if source is None:
            originals.check_reachable(name, STANDARD[name].originals[0])
        else:
            builder.originals = originals.find(name, source)
        _build(name, builder, folder / "downloads" / name)
    try:
        for split, shape in STANDARD[name].shapes.items():
            write(builder, split, place, shape, labelled=STANDARD[name].labelled)
    except (OSError, ValueError, RuntimeError, IndexError) as error:
        raise DataError(
            f"{name}: what was prepared in {builder.data_dir} cannot be read as arrays in {place} "
            f"({' '.join(str(error).split())}): make room if the disk is full, else delete the first folder and "
            "run again."
        ) from error


def _build(name: str, builder: tfds.core.DatasetBuilder, downloads: Path) -> None:
    try:
        with contextlib.redirect_stdout(sys.stderr):  # a command's output is not the place for progress
            builder.download_and_prepare(
                download_dir=downloads,
                download_config=tfds.download.DownloadConfig(try_download_gcs=False),
                file_format="array_record",
            )
    except DataError:
        raise
    except Exception as error:  # a dozen kinds: the network, the disk, a sum that differs, a file of another form
        raise DataError(
            f"{name} cannot be prepared in {builder.data_dir} ({type(error).__name__}: "
            f"{' '.join(str(error).split())}): check the network and the disk, or name a folder with the originals "
            "with source= or JAXVAE_DATA_SOURCE."
        ) from error


def write(
    builder: tfds.core.DatasetBuilder, split: str, place: Path, shape: tuple[int, ...], *, labelled: bool
) -> None:
    """Writes `SPLIT-images.npy` and, where there are labels, `SPLIT-labels.npy`.

    Args:
        builder: prepared as array_record.
        split: a split of the builder.
        place: the folder that the arrays go to.
        shape: [N, H, W, C] that the images must have.
        labelled: whether to write the feature "label".

    Raises:
        ValueError: if the images have another number or shape.
    """
    examples = builder.as_data_source(split)
    if len(examples) != shape[0]:
        raise ValueError(f"{split} has {len(examples)} images, not {shape[0]}")
    labels = np.empty(len(examples), np.int32)
    with arrays.written(place / f"{split}-images.npy", shape, np.uint8) as images:
        starts = range(0, len(examples), _BATCH)
        for start in tqdm(starts, f"{builder.name} {split}", unit_scale=_BATCH, unit=" images", disable=None):
            batch = examples.__getitems__(range(start, min(start + _BATCH, len(examples))))
            for number, example in enumerate(batch, start):
                if example["image"].shape != shape[1:]:
                    raise ValueError(f"image {number} of {split} is {example['image'].shape}, not {shape[1:]}")
                images[number] = example["image"]
                if labelled:
                    labels[number] = example["label"]
    if labelled:
        with arrays.written(place / f"{split}-labels.npy", labels.shape, labels.dtype) as stored:
            stored[:] = labels
