"""A run folder, opened: the model and its parameters, with nothing in it that can execute."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxvae.model import VAE
from jaxvae.run import RunError
from jaxvae.run.course import Course
from jaxvae.run.data import Dataset
from jaxvae.run.folder import about as about_file
from jaxvae.run.folder import config_file, fingerprint, weights
from jaxvae.run.patience import Progress
from jaxvae.run.recipe import About, Kind, Recipe
from jaxvae.run.start import first_progress
from jaxvae.run.train import evaluated_params
from jaxvae.types import Params


class Run(NamedTuple):
    """A trained run."""

    folder: Path
    kind: Kind
    config: Any
    about: About
    recipe: Recipe
    params: Params
    step: int  # the number of steps taken

    @property
    def model(self) -> VAE:
        """The model."""
        return self.recipe.model


def load(folder: str | Path, *, seed: int = 0, kind: Kind | None = None) -> tuple[VAE, Params]:
    """The model and the parameters of a run, or of what `jaxvae export` has made of one, which needs no Orbax.

    Args:
        folder: of the run, "runs/NAME", or the exported one.
        seed: which of the run's seeds, counted from zero, where it trained several.
        kind: of the run, where it is none of `jaxvae.recipes`.

    Returns:
        The model, and the parameters at the latest checkpoint: their moving average where the run keeps one, the best
        ones where it waits for better ones.

    Raises:
        RunError: the folder is no run, or its checkpoint or its weights are damaged.
    """
    run = open_run(folder, seed=seed, kind=kind)
    return run.model, run.params


def open_run(folder: str | Path, *, seed: int = 0, kind: Kind | None = None) -> Run:
    """A run with its configuration, recipe and parameters.

    Args:
        folder: of the run, "runs/NAME", or the exported one.
        seed: which of the run's seeds, counted from zero, where it trained several.
        kind: of the run, where it is none of `jaxvae.recipes`.

    Returns:
        The run.

    Raises:
        RunError: the folder is no run, or its checkpoint is damaged, or there is no such seed.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise RunError(f"{folder} is no run folder: it has no config.json; give one that jaxvae train has made")
    kind, config = config_file.read(folder / "config.json", kind)
    if not 0 <= seed < config.num_seeds:
        raise RunError(f"{folder} trained {config.num_seeds} seeds, counted from 0; there is no seed {seed}")
    about = about_file.read(folder / "about.json")
    recipe, course = kind.recipe(config, about), config.course()
    if (folder / weights.NAME).exists():
        return _exported(folder, kind, config, about, recipe)
    progress = _latest(folder, recipe, course, config.optimizer.warmup_steps + 1)
    params = evaluated_params(recipe, progress.state) if progress.best is None else progress.best.params
    if config.num_seeds > 1:
        params = jax.tree.map(lambda leaf: leaf[seed], params)
    return Run(folder, kind, config, about, recipe, params, int(np.ravel(progress.state.step)[0]))


def data_of(run: Run) -> Dataset:
    """The data that a run was begun on.

    Args:
        run: the run.

    Returns:
        Its data.

    Raises:
        RunError: what lies there now is other data.
        DataError: it cannot be read.
    """
    dataset = run.kind.data(run.config)
    fingerprint.check(run.folder, dataset)
    return dataset


def _exported(folder: Path, kind: Kind, config: Any, about: About, recipe: Recipe) -> Run:
    """What `jaxvae export` has made of a run: its params as they are evaluated, and nothing of its training."""
    like = jax.eval_shape(lambda key: recipe.whole(*recipe.init(key)), jax.random.key(0))
    params, said = weights.read(folder / weights.NAME, like, sha256=config_file.weights(folder / "config.json"))
    return Run(folder, kind, config, about, recipe, params, int(said.get("step", 0)))


def _latest(folder: Path, recipe: Recipe, course: Course, num_steps: int) -> Progress:
    from jaxvae.run.folder.checkpoints import Checkpoints  # Orbax: a second, and not needed for exported weights

    checkpoints = Checkpoints(folder / "checkpoints", writable=False)
    progress = checkpoints.restore(jax.eval_shape(lambda: first_progress(recipe, course, num_steps)))
    checkpoints.close()
    return progress
