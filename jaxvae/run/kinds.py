"""Kinds of VAE by their names: the files of `jaxvae.recipes`, and no others."""

import importlib
import pkgutil
from pathlib import Path

from jaxvae import recipes as room
from jaxvae.run import RunError
from jaxvae.run.recipe import Kind


def names() -> list[str]:
    """The names of all kinds, as the command line spells them."""
    return sorted(item.name.replace("_", "-") for item in pkgutil.iter_modules(room.__path__))


def kind_of(name: str, *, place: Path | None = None) -> Kind:
    """The kind of that name.

    Args:
        name: as the command line and `config.json` spell it.
        place: the run folder that names it.

    Returns:
        The kind.

    Raises:
        RunError: it is none of this library's.
    """
    if name not in names():
        of_run = f"{place} is a run of the kind {name!r}" if place is not None else f"there is no kind {name!r}"
        raise RunError(f"{of_run}: jaxvae's own are {', '.join(names())}; of a kind of your own give kind=")
    return importlib.import_module(f"{room.__name__}.{name.replace('-', '_')}").KIND
