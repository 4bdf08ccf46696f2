"""The files that a standard data set is made from: found in a folder and verified, or reachable at their origin."""

import hashlib
import queue
import threading
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from jaxvae.run.data.dataset import DataError
from jaxvae.run.data.protocols import STANDARD


class Original(NamedTuple):
    """A row of `checksums.tsv`: a file, and what it must be."""

    address: str
    size: int  # bytes
    sha256: str
    name: str


def registered() -> tuple[Original, ...]:
    """The rows of `checksums.tsv`, in the format of TensorFlow Datasets.

    Example:
        >>> {len(original.sha256) for original in registered()}
        {64}
    """
    lines = Path(__file__).with_name("checksums.tsv").read_text().splitlines()
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    return tuple(Original(address, int(size), sha256, name) for address, size, sha256, name in rows)


def find(name: str, source: Path) -> dict[str, Path]:
    """The verified originals of a data set in a folder, which is only read.

    Args:
        name: of a standard data set.
        source: the folder with the files, or the folder above it, where they lie in a folder called `name`.

    Returns:
        Each file's path by what it holds, as in `protocols.STANDARD[name].originals`.

    Raises:
        DataError: if files are missing, or a SHA-256 is none of those registered for the file.
    """
    alternatives = STANDARD[name].originals
    places = (source / name, source)
    for place in places:
        for alternative in alternatives:
            paths = {role: place / _file_name(address) for role, address in alternative.items()}
            if all(path.is_file() for path in paths.values()):
                for path in paths.values():
                    _verify(name, path)
                return paths
    wanted = " or ".join(", ".join(map(_file_name, files.values())) for files in alternatives)
    origin = ", ".join(alternatives[0].values())
    raise DataError(
        f"{name}: {places[0]} and {places[1]} do not hold {wanted}: put the files there, or name no source "
        f"(no argument, no JAXVAE_DATA_SOURCE) to download them from {origin}."
    )


def _file_name(address: str) -> str:
    return address.replace("#", "/").rsplit("/", 1)[-1]


def _verify(name: str, path: Path) -> None:
    addresses = {address for files in STANDARD[name].originals for address in files.values()}
    accepted = [row for row in registered() if row.address in addresses and row.name == path.name]
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if accepted and found not in {row.sha256 for row in accepted}:
        known = " or ".join(f"{row.sha256} ({row.address})" for row in accepted)
        raise DataError(
            f"{name}: {path} has the SHA-256 {found}, not {known}: the file is damaged or another one, fetch it again."
        )


def check_reachable(name: str, files: Mapping[str, str], seconds: float = 5.0) -> None:
    """Asks the origin for its first file, since a downloader retries for minutes before it gives up.

    Args:
        name: of the data set, for the message.
        files: each file's address.
        seconds: to wait for an answer, the look-up of the address included.

    Raises:
        DataError: if the origin does not answer, with what to do instead.
    """
    address = next(iter(files.values()))
    answers: queue.Queue[Exception | None] = queue.Queue()

    def ask() -> None:
        try:
            with urllib.request.urlopen(address, timeout=seconds):
                answers.put(None)
        except Exception as error:  # whatever it is, the origin did not give the file
            answers.put(error)

    # A thread, because no timeout covers the look-up of a name; a daemon, because it must not keep the program.
    threading.Thread(target=ask, daemon=True).start()
    try:
        problem = answers.get(timeout=seconds)
    except queue.Empty:
        problem = TimeoutError(f"no answer within {seconds:g} seconds")
    if problem is not None:
        reason = str(problem).removeprefix("<urlopen error ").removesuffix(">")
        names = ", ".join(map(_file_name, files.values()))
        raise DataError(
            f"{name} cannot be downloaded, since {address} cannot be had ({reason}): connect to the network, or "
            f"put {names} into a folder and name it with source= or JAXVAE_DATA_SOURCE."
        )
