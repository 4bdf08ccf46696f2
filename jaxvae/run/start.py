"""What a run begins from."""

import jax
import jax.numpy as jnp

from jaxvae import training
from jaxvae.run import keys
from jaxvae.run.course import Course
from jaxvae.run.data import Split
from jaxvae.run.patience import Progress, nothing_yet
from jaxvae.run.recipe import Recipe
from jaxvae.run.steps import optimizer_of
from jaxvae.types import Key


def first_progress(recipe: Recipe, course: Course, num_steps: int, train: Split | None = None) -> Progress:
    """The state before the first step, with a leading axis of seeds where there are several.

    Args:
        recipe: of the run.
        course: of the run.
        num_steps: of the whole run, for the learning rate's schedule.
        train: the training set, from which some parameters may start; None for the shapes alone.

    Returns:
        The progress, without any.
    """
    optimizer = optimizer_of(recipe, course, num_steps)

    def start(key: Key) -> training.State:
        params, extra = recipe.init(key)
        if train is not None:
            params, extra = recipe.start(params, extra, train)
        return training.start(params, optimizer, averaged=course.average is not None, extra=extra)

    first = keys.of_params(course.keys)
    state = (start if course.num_seeds == 1 else jax.vmap(start))(first)
    # The first step gives its buffers away: what the caller began from stays, and no two leaves share one.
    state = jax.tree.map(jnp.copy, state)
    if course.patience is None:
        return Progress(state, None)
    return Progress(state, nothing_yet(recipe.whole(state.params, state.extra), course.num_seeds))
