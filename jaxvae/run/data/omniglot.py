"""Omniglot at 28x28, from the zip files of its 105x105 drawings."""

import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from jaxvae.run.data.features import image_and_label
from jaxvae.run.data.protocols import STANDARD

# [28, 105]: a pixel of 28 covers 15 quarters of the 105 * 4, so 3.75 pixels. Pillow's box filter would count pixels
# whole, 3 or 4 of them.
_AREA = np.kron(np.eye(28), np.ones(15)).reshape(28, 105, 4).sum(2) / 15


def resized(drawing: Image.Image) -> np.ndarray:
    """A drawing, black on white, as 28x28 grey values of ink.

    Args:
        drawing: 105x105, one bit a pixel, 0 (black) where there is ink.

    Returns:
        uint8 [28, 28, 1], 255 where all is ink: each pixel is the mean over its area of the drawing, rounded.
    """
    ink = 1.0 - np.asarray(drawing.convert("1"), float)
    return np.round(255 * (_AREA @ ink @ _AREA.T)).astype(np.uint8)[..., None]


class Omniglot(tfds.core.GeneratorBasedBuilder):
    """19,280 + 13,180 drawings of 964 + 659 characters, image [28, 28, 1] and label, 20 drawers each.

    The label is the character's number in the files' names, from 0: 0..963 in "background" and 964..1622 in
    "evaluation". The order is by drawer, then by character.
    """

    name = "jaxvae_omniglot"
    VERSION = tfds.core.Version(STANDARD["omniglot"].version)

    originals: Mapping[str, Path] | None = None  # verified files; None downloads them from the origin

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Omniglot's drawings as 28x28 grey values of ink, 105x105 averaged over areas; "
            "ordered by drawer, then by character, which is the label.",
            homepage="https://github.com/brendenlake/omniglot",
            citation="Lake, Salakhutdinov & Tenenbaum, Human-level concept learning through probabilistic program "
            "induction, Science 350(6266), 2015",
            features=image_and_label(28, 28),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        paths = self.originals or dl_manager.download(dict(STANDARD["omniglot"].originals[0]))
        return {part: self._generate_examples(path) for part, path in paths.items()}

    def _generate_examples(self, path: Path) -> Iterator[tuple[int, dict]]:
        with zipfile.ZipFile(path) as archive:
            drawings = []
            for member in archive.namelist():
                file = PurePosixPath(member)
                if file.suffix == ".png" and not file.name.startswith("."):
                    character, drawer = map(int, file.stem.split("_"))
                    drawings.append((drawer, character, member))
            for number, (_, character, member) in enumerate(sorted(drawings)):
                image = Image.open(io.BytesIO(archive.read(member)))
                yield number, {"image": resized(image), "label": character - 1}
