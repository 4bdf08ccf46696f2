"""Parameters as safetensors: `model.safetensors`, arrays by name with their shapes, and nothing in it that can run."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.run import RunError
from jaxvae.types import Params

NAME = "model.safetensors"
POINTER = b"version https://git-lfs"
INSTALL = "pip install 'jaxvae[train]'"


def names_of(params: Params) -> list[str]:
    """The name of every array of a tree, in the order of its leaves.

    Args:
        params: of a model.

    Returns:
        The path to each, by dots.

    Example:
        >>> names_of({"encoder": {"kernel": 1.0, "bias": 2.0}, "rows": (3.0, 4.0)})
        ['encoder.bias', 'encoder.kernel', 'rows.0', 'rows.1']
    """
    paths, _ = jax.tree.flatten_with_path(params)
    return [".".join(_word(key) for key in path) for path, _ in paths]


def _word(key: Any) -> str:
    found = next(getattr(key, word) for word in ("key", "idx", "name") if hasattr(key, word))
    return str(found)


def write(path: Path, params: Params, said: Mapping[str, str]) -> str:
    """Write every array of a tree.

    Args:
        path: of the file.
        params: of a model, as it is evaluated: what lies beside its params in training is in them.
        said: words that are kept in the file's head.

    Returns:
        The SHA-256 of the file.

    Raises:
        RunError: safetensors is not installed.
    """
    with _installed():
        from safetensors.flax import save
    names = names_of(params)
    if len(set(names)) < len(names):
        raise ValueError(f"two arrays of the params have one name among {', '.join(names)}")
    # In rows: the writer takes the memory as it lies, and would turn a transposed view around.
    rows: list[Any] = [np.asarray(leaf, order="C") for leaf in jax.tree.leaves(params)]
    content = save(dict(zip(names, rows, strict=True)), dict(said))
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def read(path: Path, like: Params, *, sha256: str | None = None) -> tuple[Params, dict[str, str]]:
    """Read the arrays of a tree, each of which must be there with its shape and type.

    Args:
        path: of the file.
        like: the tree, of shapes and dtypes (`jax.eval_shape`).
        sha256: of the file as it was written, where that is known: the format itself finds no flipped bit.

    Returns:
        The params, and the words of the file's head.

    Raises:
        RunError: the file is missing or damaged, or belongs to another model.
    """
    with _installed():
        from safetensors import SafetensorError, safe_open
    try:
        with path.open("rb") as file:
            head = file.read(len(POINTER))
            file.seek(0)
            found = hashlib.file_digest(file, "sha256").hexdigest() if sha256 else None
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror}): export the run again") from None
    if head == POINTER:
        raise RunError(f"{path} is a pointer of Git LFS and not the weights themselves: fetch them with git lfs pull")
    if found != sha256:
        raise RunError(f"{path} is not as it was written, by its SHA-256: fetch it, or export the run, again")
    try:
        with safe_open(path, framework="flax") as file:
            said = dict(file.metadata() or {})
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise RunError(f"{path} is damaged ({error}): fetch it, or export the run, again") from None
    _check(path, arrays, dict(zip(names_of(like), jax.tree.leaves(like), strict=True)))
    leaves = [jnp.asarray(arrays[name]) for name in names_of(like)]
    return jax.tree.unflatten(jax.tree.structure(like), leaves), said


def _check(path: Path, arrays: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse arrays that are not those of the model."""
    faults = [f"{name} is missing" for name in wanted if name not in arrays]
    faults += [f"{name} is no part of it" for name in arrays if name not in wanted]
    for name, leaf in wanted.items():
        array = arrays.get(name)
        if array is not None and (array.shape, array.dtype) != (leaf.shape, leaf.dtype):
            faults.append(f"{name} is {_look(array)} and has to be {_look(leaf)}")
    if faults:
        more = f", and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise RunError(
            f"{path} is no file of the model that {path.parent / 'config.json'} describes: {'; '.join(faults[:3])}"
            f"{more}. Export the run again, and keep the files of a folder together"
        )


def _look(leaf: Any) -> str:
    return f"{list(leaf.shape)} {leaf.dtype}"


@contextmanager
def _installed() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise RunError(f"{error.name} is not installed, and weights are read and written by it: {INSTALL}") from None
