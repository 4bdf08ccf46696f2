"""MNIST and Fashion-MNIST, from their gzipped idx files."""

import gzip
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from jaxvae.run.data.dataset import DataError
from jaxvae.run.data.features import image_and_label
from jaxvae.run.data.protocols import STANDARD

_UNSIGNED_BYTE = 8


def read_idx(path: Path) -> np.ndarray:
    """The array in a gzipped idx file of unsigned bytes.

    The header is 0, 0, the type (8: unsigned byte), the number of dimensions, and each dimension as a big-endian
    32-bit integer (http://yann.lecun.com/exdb/mnist/).

    Args:
        path: of the file.

    Returns:
        The uint8 array, read-only.

    Raises:
        DataError: if the file is not what its header says.
    """
    content = gzip.decompress(path.read_bytes())
    ndim = content[3]
    shape = np.frombuffer(content, ">u4", ndim, offset=4)
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * ndim)
    if content[:3] != bytes([0, 0, _UNSIGNED_BYTE]) or values.size != shape.prod():
        raise DataError(f"{path} is not a whole idx file of unsigned bytes: fetch it again.")
    return values.reshape(shape)


class MNIST(tfds.core.GeneratorBasedBuilder):
    """60,000 + 10,000 handwritten digits in the files' order, image [28, 28, 1] and label 0..9."""

    # Not "mnist", whose published metadata belong to the builder of TensorFlow Datasets.
    name = "jaxvae_mnist"
    VERSION = tfds.core.Version(STANDARD["mnist"].version)

    origin: Mapping[str, str] = STANDARD["mnist"].originals[0]  # addresses
    originals: Mapping[str, Path] | None = None  # verified files; None downloads them from the origin

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="MNIST handwritten digits, in the order of the original files.",
            homepage="http://yann.lecun.com/exdb/mnist/",
            citation="LeCun, Bottou, Bengio & Haffner, Gradient-based learning applied to document recognition, "
            "Proceedings of the IEEE 86(11), 1998",
            features=image_and_label(28, 28),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        paths = self.originals or dl_manager.download(dict(self.origin))
        return {
            "train": self._generate_examples(paths["train_images"], paths["train_labels"]),
            "test": self._generate_examples(paths["test_images"], paths["test_labels"]),
        }

    def _generate_examples(self, images: Path, labels: Path) -> Iterator[tuple[int, dict]]:
        pairs = zip(read_idx(images)[..., None], read_idx(labels), strict=True)
        for number, (image, label) in enumerate(pairs):
            yield number, {"image": image, "label": int(label)}


class FashionMNIST(MNIST):
    """60,000 + 10,000 articles of clothing in the files' order, image [28, 28, 1] and label 0..9."""

    name = "jaxvae_fashion_mnist"
    VERSION = tfds.core.Version(STANDARD["fashion_mnist"].version)
    origin = STANDARD["fashion_mnist"].originals[0]

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Zalando article images, in the order of the original files.",
            homepage="https://github.com/zalandoresearch/fashion-mnist",
            citation="Xiao, Rasul & Vollgraf, Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine "
            "Learning Algorithms, arXiv:1708.07747, 2017",
            features=image_and_label(28, 28),
            disable_shuffling=True,
        )
