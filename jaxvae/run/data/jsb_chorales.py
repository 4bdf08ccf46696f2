"""Bach's chorales as piano rolls on a grid of quarter notes, with the split of Boulanger-Lewandowski et al. (2012)."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np

from jaxvae.run.data.dataset import DataError
from jaxvae.run.data.originals import registered

FILE = "jsb-chorales-quarter.json"
SPLIT = "229/76/77"
LOWEST, PITCHES = 21, 88  # the MIDI numbers 21 (A0) to 108 (C8), the keys of a piano

Rolls = tuple[np.ndarray, np.ndarray]  # values uint8 [N, T, 88] in {0, 1}, and a mask uint8 [N, T]


def chorales(source: Path | None = None) -> dict[str, Rolls]:
    """The chorales of every part, verified.

    Args:
        source: the folder with the file, or the folder above it, where it lies in a folder called `jsb_chorales`; None
            takes JAXVAE_DATA_SOURCE.

    Returns:
        "train", "valid" and "test" (229, 76 and 77 chorales; 13,807, 4,602 and 4,725 steps), each padded with zeros to
        its longest: 129, 144 and 160 steps. `jaxvae.models.Sequence(*part)` is the part as examples, and a `Split`'s.

    Raises:
        DataError: the file is not there, or its SHA-256 is another.

    Source: Boulanger-Lewandowski, Bengio & Vincent, "Modeling Temporal Dependencies in High-Dimensional Sequences"
    (2012).
    """
    (original,) = (row for row in registered() if row.name == FILE)
    given = source or os.environ.get("JAXVAE_DATA_SOURCE")
    places = [] if given is None else [Path(given).expanduser() / "jsb_chorales", Path(given).expanduser()]
    path = next((place / FILE for place in places if (place / FILE).is_file()), None)
    if path is None:
        raise DataError(
            f"jsb_chorales: there is no {FILE} {'in ' + ' or '.join(map(str, places)) if places else 'at hand'}: fetch "
            f"it from {original.address} and name its folder with source= or JAXVAE_DATA_SOURCE."
        )
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != original.sha256:
        raise DataError(
            f"jsb_chorales: {path} has the SHA-256 {found}, not {original.sha256} ({original.address}): the file is "
            "damaged or another one, fetch it again."
        )
    return {part: padded(sequences) for part, sequences in json.loads(content).items()}


def padded(sequences: list[list[list[int]]]) -> Rolls:
    """Lists of the pitches that sound at every step, as padded piano rolls.

    Args:
        sequences: of steps, of MIDI numbers.

    Returns:
        The values and the mask, padded to the longest.

    Example:
        >>> values, mask = padded([[[60, 64], []], [[21]]])
        >>> print(values.shape, mask.tolist(), np.argwhere(values).tolist())
        (2, 2, 88) [[1, 1], [1, 0]] [[0, 0, 39], [0, 0, 43], [1, 0, 0]]
    """
    longest = max(map(len, sequences))
    values = np.zeros((len(sequences), longest, PITCHES), np.uint8)
    mask = np.zeros((len(sequences), longest), np.uint8)
    for row, sequence in enumerate(sequences):
        mask[row, : len(sequence)] = 1
        for step, sounding in enumerate(sequence):
            values[row, step, np.array(sounding, int) - LOWEST] = 1
    return values, mask
