"""Kinds of VAE by their names: the files of `jaxvae.recipes`, and no others, imported when they are asked for."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from jaxvae.run import RunError

if TYPE_CHECKING:
    from jaxvae.run.recipe import Kind

RECIPES = "jaxvae.recipes"


def files(package: str) -> dict[str, Path]:
    """The files of a package by their words, as the command line spells them.

    Args:
        package: its dotted name; it is not imported.

    Returns:
        Word -> file.
    """
    found = find_spec(package)
    places = list(found.submodule_search_locations or ()) if found else []
    return {
        item.name.replace("_", "-"): Path(place) / f"{item.name}.py"
        for place in places
        for item in pkgutil.iter_modules([place])
        if not item.ispkg
    }


def names() -> list[str]:
    """The names of all kinds, as the command line spells them."""
    return list(files(RECIPES))


def kind_of(name: str, *, place: Path | None = None) -> Kind:
    """The kind of that name.

    Args:
        name: as the command line and `config.json` spell it.
        place: the run folder that names it, where one does.

    Returns:
        The kind.

    Raises:
        RunError: it is none of this library's.
    """
    known = files(RECIPES)
    if name not in list(known) and place is not None:
        raise RunError(
            f"{place} is a run of the kind {name!r}: jaxvae's own are {', '.join(known)}; of a kind of your own give "
            "kind="
        )
    if name not in list(known):
        raise RunError(f"jaxvae train knows no kind {name!r}: {meant(name, known)}")
    return importlib.import_module(f"{RECIPES}.{known[name].stem}").KIND


def meant(word: str, known: Iterable[str], *, before: str = "") -> str:
    """What a person who wrote an unknown word may have meant.

    Args:
        word: that is none of them.
        known: words.
        before: said before the one that is meant.

    Returns:
        The end of a sentence.
    """
    names = list(known)
    close = difflib.get_close_matches(word, names, n=1)
    return f"did you mean {before}{close[0]}?" if close else f"there are {', '.join(names)}"
