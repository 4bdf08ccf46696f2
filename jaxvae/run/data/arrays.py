"""One array per file on disk: written whole or not at all, read by memory map."""

import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

LARGE = 2**26  # bytes: a larger array lies on disk, from where training can stream it


def read(path: Path, shape: tuple[int, ...] | None = None) -> np.ndarray | None:
    """The array stored at `path`, memory-mapped; None where it is missing, truncated or another array.

    Args:
        path: of a `.npy` file.
        shape: that the array must have; None allows any.

    Returns:
        The read-only array, or None: then it is to be made again.

    Example:
        >>> print(read(Path("missing.npy")))
        None
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):  # missing; cut in its data; cut in its header
        return None
    return array if shape is None or array.shape == shape else None


@contextmanager
def written(path: Path, shape: tuple[int, ...], dtype: np.dtype | type) -> Iterator[np.ndarray]:
    """An array to fill, that appears at `path` when the block ends and not at all when it raises.

    Args:
        path: of the `.npy` file; its folder is made.
        shape: of the array.
        dtype: of the array.

    Yields:
        The array, writable and memory-mapped, so that it need not fit in memory.

    Example:
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = Path(folder.name) / "ones.npy"
        >>> with written(path, (2,), np.uint8) as array:
        ...     array[:] = 1
        >>> read(path, (2,)).tolist()
        [1, 1]
        >>> folder.cleanup()
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.dtype(dtype), shape=shape)
        _reserve(temporary)
        yield array
        array.flush()
        temporary.chmod(0o644)  # mkstemp's 0600 would hide a shared folder's data from its other users
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def room(shape: tuple[int, ...], dtype: np.dtype | type, folder: Path) -> np.ndarray:
    """An array to fill: in memory, or where it is large, in a file without a name that ends with the process.

    Args:
        shape: of the array.
        dtype: of the array.
        folder: where such a file lies; it is made.

    Returns:
        The array.

    Raises:
        OSError: there is no room.

    Example:
        >>> room((2, 3), np.uint8, Path(".")).shape
        (2, 3)
    """
    if math.prod(shape) * np.dtype(dtype).itemsize <= LARGE:
        return np.empty(shape, dtype)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".room.") as file:
        array = np.memmap(file, dtype, mode="w+", shape=shape)
        _reserve(Path(file.name))
        return array


def _reserve(path: Path) -> None:
    """Takes the room that a file says it has: where the disk is full, filling a memory map would kill the process."""
    if hasattr(os, "posix_fallocate"):  # not on macOS
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Holds the lock file `path`: of several processes one is inside, the others wait.

    The operating system drops the lock when its process ends, however it ends.

    Args:
        path: of the file, which is made and stays.
        wait: False raises where another process is inside.

    Raises:
        BlockingIOError: another process is inside.
    """
    import fcntl  # not on Windows, where nothing is prepared: array_record is not there either

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
