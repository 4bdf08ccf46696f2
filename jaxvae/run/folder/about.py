"""What a run's data looks like, as JSON: `about.json` of a run folder."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxvae.run import RunError
from jaxvae.run.folder.files import write_json
from jaxvae.run.recipe import About

LEAF = {"shape", "dtype"}


def write(about: About, path: Path, data: Mapping[str, Any] | None = None) -> None:
    """Write `about.json`, as a whole or not at all.

    Args:
        about: what the data looks like.
        path: the file.
        data: which data it is, its `fingerprint`.
    """
    write_json(path, {"example": _to_json(about.example), "facts": dict(about.facts), "data": data})


def read(path: Path) -> About:
    """Read `about.json`.

    Args:
        path: the file.

    Returns:
        What the data looks like.

    Raises:
        RunError: the file is missing, or no such file.
    """
    with _read(path) as values:
        return About(_from_json(values["example"]), dict(values["facts"]))


def data(path: Path) -> Mapping[str, Any] | None:
    """The fingerprint of the data that a run was begun on.

    Args:
        path: of `about.json`.

    Returns:
        The fingerprint; None where the file has none.

    Raises:
        RunError: the file is missing, or no such file.
    """
    with _read(path) as values:
        return values.get("data")


@contextmanager
def _read(path: Path) -> Iterator[Any]:
    try:
        yield json.loads(path.read_text())
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunError(f"{path.parent} is no complete run folder: {path.name} cannot be read ({error})") from None


def _to_json(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {"dict": {name: _to_json(value) for name, value in tree.items()}}
    if isinstance(tree, tuple | list):
        return [_to_json(value) for value in tree]
    return {"shape": list(tree.shape), "dtype": jnp.dtype(tree.dtype).name}


def _from_json(values: Any) -> Any:
    if isinstance(values, list):
        return tuple(_from_json(value) for value in values)
    if set(values) == {"dict"}:
        return {name: _from_json(value) for name, value in values["dict"].items()}
    if set(values) != LEAF:
        raise ValueError(f"{sorted(values)} is no shape with its dtype")
    return jax.ShapeDtypeStruct(tuple(int(side) for side in values["shape"]), jnp.dtype(values["dtype"]))
