"""Going on for longer than a run was asked for: only where that is the run that is asked for so long from the start."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax

from jaxvae.run import RunError
from jaxvae.run.choice.fields import parts
from jaxvae.run.data import Dataset
from jaxvae.run.folder import config_file
from jaxvae.run.recipe import Kind, about
from jaxvae.run.refusals import one_step


def check(place: Path, stored: Any, epochs: int) -> None:
    """Refuse a length that the options of a run do not allow.

    An option that goes by the length of the whole run says so in words, by its attribute `over_the_run`.

    Args:
        place: the run's folder.
        stored: the configuration that it was begun with.
        epochs: that are asked for now.

    Raises:
        RunError: there are fewer than before, or an option goes by the length, and which one.
    """
    if epochs < stored.epochs:
        raise RunError(
            f"{place} was begun with --epochs {stored.epochs}, and nothing it has learned is taken back: leave out "
            f"--epochs {epochs}, or begin a new run"
        )
    reasons = [words for _, option, _ in parts(stored) if (words := getattr(option, "over_the_run", None))]
    if reasons:
        raise _no_longer(place, stored.epochs, epochs, " and ".join(reasons))


def check_steps(place: Path, kind: Kind, config: Any, dataset: Dataset) -> None:
    """Refuse a longer run whose steps are not those that were taken: what `check` cannot know of a kind of your own.

    The programs of one step are compared, as they are before they are compiled.

    Args:
        place: the run's folder, which holds the configuration that it was begun with.
        kind: of the run.
        config: what is asked for now.
        dataset: of the run.

    Raises:
        RunError: they differ.
    """
    _, stored = config_file.read(place / "config.json", kind)
    if stored.epochs == config.epochs:
        return
    if _program(kind, stored, dataset) != _program(kind, replace(stored, epochs=config.epochs), dataset):
        raise _no_longer(place, stored.epochs, config.epochs, "what a step does depends on how many there are to be")


def _program(kind: Kind, config: Any, dataset: Dataset) -> str:
    """The first step of a run with what it begins from, as text; the numbers of its schedules are in it."""
    one, *shapes = one_step(kind.recipe(config, about(dataset)), config.course(), dataset)
    return str(jax.jit(one).lower(*shapes).as_text())


def _no_longer(place: Path, before: int, now: int, reason: str) -> RunError:
    return RunError(
        f"{place} was begun with --epochs {before}, and cannot go on to --epochs {now}: {reason}, so that it would not "
        "be the run that is asked for so long from the start; begin a new one"
    )
