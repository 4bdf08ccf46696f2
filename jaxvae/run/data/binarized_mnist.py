"""Larochelle's fixed binarisation of MNIST, from his text files or the same bits packed."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from jaxvae.run.data.dataset import DataError
from jaxvae.run.data.features import grey_image
from jaxvae.run.data.protocols import STANDARD

_PIXELS = 28 * 28


def read_amat(path: Path) -> np.ndarray:
    """The bits in a text file with a line "0 1 ... 0" for each image.

    Args:
        path: of the file.

    Returns:
        uint8 [N, 784] in {0, 1}.

    Raises:
        DataError: if the file has another form.
    """
    content = np.fromfile(path, np.uint8)
    line = 2 * _PIXELS  # a digit and a space or the line's end
    bits = content[: len(content) // line * line].reshape(-1, line)[:, ::2] - ord("0")
    if content.size == 0 or content.size % line or bits.max() > 1:
        raise DataError(f"{path} is not lines of 784 digits 0 and 1: fetch it again.")
    return bits


class BinarizedMNIST(tfds.core.GeneratorBasedBuilder):
    """60,000 + 10,000 binary digits, image [28, 28, 1] in {0, 255}; the last 10,000 of "train" are his "valid"."""

    name = "jaxvae_binarized_mnist"
    VERSION = tfds.core.Version(STANDARD["binarized_mnist"].version)

    originals: Mapping[str, Path] | None = None  # verified files; None downloads them from the origin

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="The fixed binarisation of MNIST, in the order of the original files; no labels exist.",
            homepage="http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/",
            citation="Salakhutdinov & Murray, On the Quantitative Analysis of Deep Belief Networks, ICML 2008; "
            "Larochelle & Murray, The Neural Autoregressive Distribution Estimator, AISTATS 2011",
            features=tfds.features.FeaturesDict({"image": grey_image(28, 28)}),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        paths = self.originals or dl_manager.download(dict(STANDARD["binarized_mnist"].originals[0]))
        if "packed" in paths:
            with np.load(paths["packed"], allow_pickle=False) as packed:
                bits = {part: np.unpackbits(packed[part], axis=1) for part in ("train", "valid", "test")}
        else:
            bits = {part: read_amat(Path(path)) for part, path in paths.items()}
        return {
            "train": self._generate_examples(np.concatenate([bits["train"], bits["valid"]])),
            "test": self._generate_examples(bits["test"]),
        }

    def _generate_examples(self, bits: np.ndarray) -> Iterator[tuple[int, dict]]:
        for number, image in enumerate(255 * bits.reshape(-1, 28, 28, 1)):
            yield number, {"image": image}
