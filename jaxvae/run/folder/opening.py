"""A run folder, opened: the model and its parameters, with nothing in it that can execute."""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae import training
from jaxvae.model import VAE
from jaxvae.run import RunError, build, densities, structures
from jaxvae.run import config as configuration
from jaxvae.run.data import Dataset
from jaxvae.run.data import load as load_data
from jaxvae.run.folder import config_file
from jaxvae.run.folder.checkpoints import Checkpoints
from jaxvae.types import Params, Shape


class Run(NamedTuple):
    """A trained run."""

    folder: Path
    config: configuration.Config
    image_shape: Shape  # [H, W, C]
    model: VAE
    params: Params
    step: int  # the number of steps taken


def load(folder: str | Path, *, seed: int = 0) -> tuple[VAE, Params]:
    """The model and the parameters of a run.

    Args:
        folder: of the run, "runs/NAME".
        seed: which of the run's seeds, counted from zero, where it trained several.

    Returns:
        The model, and the parameters at the latest checkpoint: their moving average where the run keeps one.

    Raises:
        RunError: the folder is no run, or its checkpoint is damaged.
    """
    run = open_run(folder, seed=seed)
    return run.model, run.params


def open_run(folder: str | Path, *, seed: int = 0) -> Run:
    """A run with its configuration, model and parameters.

    Args:
        folder: of the run, "runs/NAME".
        seed: which of the run's seeds, counted from zero, where it trained several.

    Returns:
        The run.

    Raises:
        RunError: the folder is no run, or its checkpoint is damaged, or there is no such seed.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise RunError(f"{folder} is no run folder: it has no config.json; give one that experiments.train has made")
    config = config_file.read(folder / "config.json")
    if not 0 <= seed < config.num_seeds:
        raise RunError(f"{folder} trained {config.num_seeds} seeds, counted from 0; there is no seed {seed}")
    shape = _image_shape(folder)
    model = build.model_of(config, shape)
    checkpoints = Checkpoints(folder / "checkpoints", writable=False)
    state = checkpoints.restore(
        jax.eval_shape(lambda: initial_state(config, model, shape, num_steps=config.optimizer.warmup_steps + 1))
    )
    checkpoints.close()
    params = evaluated_params(state)
    if config.num_seeds > 1:
        params = jax.tree.map(lambda leaf: leaf[seed], params)
    return Run(folder, config, shape, model, params, int(np.ravel(state.step)[0]))


def data_of(config: configuration.Config) -> Dataset:
    """The data of a run.

    Args:
        config: of the run.

    Returns:
        The data set, statically binarised where the run is.

    Raises:
        DataError: it cannot be read.
    """
    data = config.data
    return load_data(
        data.name,
        split=data.split,
        binarize=configuration.binarization(config),
        source=data.source,
        folder=data.folder,
    )


def seed_keys(config: configuration.Config) -> jax.Array:
    """The key of each seed: [] for one, [S] for several. A seed's numbers are the same alone and among others.

    Args:
        config: of a run.

    Returns:
        Typed keys.
    """
    if config.num_seeds == 1:
        return jax.random.key(config.seed)
    return jax.vmap(jax.random.key)(jnp.arange(config.seed, config.seed + config.num_seeds))


def initial_state(
    config: configuration.Config,
    model: VAE,
    image_shape: Shape,
    *,
    num_steps: int,
    images: np.ndarray | None = None,
) -> training.State:
    """The state before the first step, with a leading axis of seeds where there are several.

    Args:
        config: of a run.
        model: made by `build.model_of`.
        image_shape: [H, W, C].
        num_steps: of the whole run, for the learning rate's schedule.
        images: [N, H, W, C] of the training set, from which some parameters may start; None for the shapes alone.

    Returns:
        The state.
    """
    optimizer = build.optimizer_of(config, num_steps)

    def start(key: jax.Array) -> training.State:
        params = model.init(jax.random.fold_in(key, 0), structures.blank(config, image_shape))
        if images is not None:
            params = densities.from_data(params, config.model, images)
        params, extra = structures.parted(config, params)
        return training.start(params, optimizer, averaged=config.optimizer.average is not None, extra=extra)

    return (start if config.num_seeds == 1 else jax.vmap(start))(seed_keys(config))


def evaluated_params(state: training.State) -> Params:
    """The parameters that are evaluated: the moving average where one is kept.

    Args:
        state: of training.

    Returns:
        The params.
    """
    return structures.whole(state.params if state.average is None else state.average, state.extra)


def write_json(path: Path, values: Any) -> None:
    """Write a JSON file as a whole or not at all.

    Args:
        path: the file.
        values: what JSON can hold.
    """
    beside = path.with_name(path.name + ".tmp")
    beside.write_text(json.dumps(values, indent=2) + "\n")
    os.replace(beside, path)


def _image_shape(folder: Path) -> Shape:
    try:
        shape = json.loads((folder / "shape.json").read_text())
        return tuple(int(side) for side in shape)
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"{folder} is no complete run folder: shape.json cannot be read ({error})") from None
