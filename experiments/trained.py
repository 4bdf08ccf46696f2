"""The training of an experiment that makes several models of its own, without checkpoints or logs."""

from functools import partial

import jax
import jax.numpy as jnp
from tqdm import tqdm

from jaxvae import training
from jaxvae.model import VAE
from jaxvae.run import build, config
from jaxvae.run.data import Dataset
from jaxvae.run.folder import opening
from jaxvae.run.train import check_finite
from jaxvae.types import Params


def trained(settings: config.Config, model: VAE, dataset: Dataset, *, label: str) -> Params:
    """The params of one model after its training, an epoch of which is one program.

    Args:
        settings: of the training.
        model: with the terms to be trained.
        dataset: the data.
        label: of the progress bar.

    Returns:
        The evaluated params.

    Raises:
        Diverged: a term is not finite.
    """
    images = dataset.train.examples
    per_epoch = len(images) // settings.batch_size
    num_steps = settings.epochs * per_epoch
    state = opening.initial_state(settings, model, images.shape[1:], num_steps=num_steps, images=images)
    optimizer = build.optimizer_of(settings, num_steps)
    epoch = jax.jit(
        partial(
            training.steps,
            step=build.step_of(settings, model, optimizer, per_epoch),
            prepare=build.prepare_of(settings),
            batch_size=settings.batch_size,
        ),
        donate_argnums=0,
    )
    data, key = jnp.asarray(images), jax.random.fold_in(opening.seed_keys(settings), 1)
    for done in tqdm(range(settings.epochs), desc=label, unit=" epochs"):
        state, metrics = epoch(state, key, data)
        check_finite(jax.device_get(metrics), first_step=done * per_epoch)
    return opening.evaluated_params(state)
