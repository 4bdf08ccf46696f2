"""Prepare a data set, and tell what it is: `jaxvae data NAME`."""

from dataclasses import dataclass
from pathlib import Path

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


def main(options: Options) -> None:
    """Load, and describe.

    Args:
        options: of the command line.
    """
    dataset = load(options.name, split=options.split, source=options.source, folder=options.folder)
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
