"""The learning curves of a run, from its log."""

from pathlib import Path

import numpy as np

from jaxvae.run.figures.curves import learning_curves
from jaxvae.run.folder import logs


def draw(folder: Path) -> None:
    """Draw the learning curves into the figures of a run.

    Args:
        folder: of the run.
    """
    rows = logs.read(folder)
    # What is no bound is called an estimate, by every number of its run.
    estimated = any(name.endswith("_estimate") for row in rows for name in row)
    watched, divergence = ("estimate", "estimated KL") if estimated else ("bound", "KL")
    bounds = {name: _curve(rows, f"{name}_{watched}") for name in ("train", "valid", "test")}
    # E log p(x|z) is a reconstruction: beside an NLL it is no likelihood.
    terms = {
        divergence: _curve(rows, f"train_{divergence.lower().replace(' ', '_')}"),
        "reconstruction": _curve(rows, "train_log_likelihood"),
    }
    words = {"valid": "validation"}
    shown = {words.get(name, name): curve for name, curve in bounds.items() if len(curve[0])}
    if shown:
        parts = {name: {"train": curve} for name, curve in terms.items() if len(curve[0])}
        learning_curves(folder / "figures" / "curves.png", shown, terms=parts, watched=watched)


def _curve(rows: list[dict], name: str) -> tuple[np.ndarray, np.ndarray]:
    """The epochs [T] and the values [T], or [S, T] for several seeds."""
    chosen = [row for row in rows if name in row]
    return np.array([row["epoch"] for row in chosen]), np.array([row[name] for row in chosen], float).T
