"""Prepare a data set, and tell what it is: `jaxvae data NAME`."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import jax
import numpy as np
import tyro

from jaxvae.run.data.dataset import Split
from jaxvae.run.data.loading import load


@dataclass(frozen=True)
class Options:
    """Prepare a data set once, so that training begins at once, and tell its splits, shapes and values."""

    name: tyro.conf.Positional[str]
    """As for `jaxvae train --data`."""
    split: str | None = None
    """The split by its name; by default the data set's own."""
    source: Path | None = None
    """A folder with the original files, read in place of the network (also: JAXVAE_DATA_SOURCE)."""
    folder: Path | None = None
    """Where prepared data is kept (also: JAXVAE_DATA); by default ~/.cache/jaxvae."""
    alpha: Literal["drop", "white", "black"] | None = None
    """What lies behind the transparent images of a folder; drop takes their colours alone."""
    resize: int | None = None
    """Bring the shorter side of a folder's images to so many pixels, and cut out the middle square."""
    patches: int | None = None
    """Cut a folder's images into squares of so many pixels."""


def main(options: Options) -> None:
    """Load, and describe.

    Args:
        options: of the command line.
    """
    asked = {field.name: getattr(options, field.name) for field in fields(options)}
    dataset = load(asked.pop("name"), **asked)
    print(f"{dataset.name}, split {dataset.split}")
    for name in ("train", "valid", "test"):
        split = getattr(dataset, name)
        if split is not None:
            print(f"  {name:<6} {_described(split)}")


def _described(split: Split) -> str:
    parts = []
    for leaf in jax.tree.leaves(split.examples):
        few = np.asarray(leaf[: min(len(leaf), 1000)])
        parts.append(f"{' x '.join(map(str, leaf.shape[1:]))} {leaf.dtype}, from {few.min():g} to {few.max():g}")
    labels = "no labels" if split.labels is None else f"{len(np.unique(split.labels))} classes"
    return f"{split.size:>7,} examples: {'; '.join(parts)}; {labels}"
