"""Frey faces, from the MATLAB file at their origin or the same values in an npz file."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from jaxvae.run.data.dataset import DataError
from jaxvae.run.data.features import grey_image
from jaxvae.run.data.protocols import STANDARD

# Of the 1965 * 28 * 20 bytes, frame by frame, as the VampPrior and Sylvester flow papers' repositories have them: the
# MATLAB file itself has no published sum.
_SHA256 = "2438ba4f0d2a6bd8bac43de756141eaa33c8d248dd613d464bdb1210d9b7af78"


def read_faces(path: Path) -> np.ndarray:
    """The frames of the film.

    Args:
        path: of an npz file with `images` [1965, 28, 20], or of a MATLAB file with `ff` [560, 1965].

    Returns:
        uint8 [1965, 28, 20].

    Raises:
        DataError: if the values are not those of the published frames.
    """
    with path.open("rb") as file:
        if file.read(2) == b"PK":  # an npz file is a zip file; a downloaded file's name says nothing
            with np.load(path, allow_pickle=False) as content:
                faces = content["images"]
        else:
            from scipy.io import loadmat

            faces = loadmat(path)["ff"].T.reshape(-1, 28, 20)
    found = hashlib.sha256(np.ascontiguousarray(faces).tobytes()).hexdigest()
    if found != _SHA256:
        raise DataError(
            f"frey_faces: the frames in {path} have the SHA-256 {found}, not {_SHA256}: the file is damaged or "
            "another one, fetch it again."
        )
    return faces


class FreyFaces(tfds.core.GeneratorBasedBuilder):
    """1,965 frames of Brendan Frey's face in the film's order, image [28, 20, 1]."""

    name = "jaxvae_frey_faces"
    VERSION = tfds.core.Version(STANDARD["frey_faces"].version)

    originals: Mapping[str, Path] | None = None  # verified files; None downloads them from the origin

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Frames of a film of one face, in its order.",
            homepage="https://cs.nyu.edu/~roweis/data.html",
            citation="Made available by B. Frey and S. Roweis",
            features=tfds.features.FeaturesDict({"image": grey_image(28, 20)}),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        paths = self.originals or dl_manager.download(dict(STANDARD["frey_faces"].originals[0]))
        (path,) = paths.values()
        return {"whole": self._generate_examples(Path(path))}

    def _generate_examples(self, path: Path) -> Iterator[tuple[int, dict]]:
        for number, image in enumerate(read_faces(path)[..., None]):
            yield number, {"image": image}
