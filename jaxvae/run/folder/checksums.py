"""SHA-256 sums of the files in a folder, kept in the folder: what was damaged since is found before it is read."""

import hashlib
import json
import os
from pathlib import Path

NAME = "sha256.json"


def write(folder: Path) -> None:
    """Write the sums of all files below a folder into it, down to the disk.

    Args:
        folder: with files that no longer change.
    """
    sums = {str(path.relative_to(folder)): _sum(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    with (folder / NAME).open("w") as file:
        json.dump(sums, file, indent=2)
        file.flush()
        os.fsync(file.fileno())


def verify(folder: Path) -> None:
    """Refuse a folder of which a file is not as it was written. Without its sums nothing is known against it.

    Args:
        folder: with its sums, or without.

    Raises:
        ValueError: names the first damaged file.
    """
    if not (folder / NAME).exists():
        return
    try:
        sums = dict(json.loads((folder / NAME).read_text()))
    except ValueError as error:
        raise ValueError(f"{NAME}, its list of checksums, cannot be read: {error}") from None
    for name, expected in sums.items():
        if not (folder / name).is_file():
            raise ValueError(f"{name} is missing")
        if _sum(folder / name) != expected:
            raise ValueError(f"{name} is not as it was written, by its SHA-256")


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
