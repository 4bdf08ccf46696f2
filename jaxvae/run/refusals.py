"""What is refused before anything is begun: by ranges, by what options offer each other, by the shapes of a step."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax

from jaxvae.run import RunError
from jaxvae.run.choice import check_ranges, fits
from jaxvae.run.course import Course
from jaxvae.run.data import Dataset
from jaxvae.run.options.words import PHRASES
from jaxvae.run.recipe import Kind, Plan, Recipe, about
from jaxvae.run.start import first_progress
from jaxvae.run.steps import step_of
from jaxvae.run.train import check_size


def check(config: Any) -> None:
    """Refuse a configuration that cannot be, whatever the data.

    Args:
        config: of a run.

    Raises:
        RunError: the first impossible value or combination, and what to do.
    """
    check_ranges(config)
    fits.check(config, PHRASES)
    if config.batch_size % config.accumulate:
        raise RunError(
            f"--batch-size {config.batch_size} cannot be taken in --accumulate {config.accumulate} parts of one size"
        )
    if config.num_seeds > 1 and config.data.stream == "yes":
        raise RunError(
            f"--num-seeds {config.num_seeds} visits the data in as many orders at once: leave out --data.stream yes"
        )


def recipe_of(kind: Kind, config: Any, dataset: Dataset) -> Recipe:
    """The recipe of a run, which fits its data.

    Args:
        kind: of the run.
        config: of the run.
        dataset: its data.

    Returns:
        The recipe.

    Raises:
        RunError: a model that cannot be made, or data or a step as `check_data` refuses them.
    """
    with _as_sentences():
        recipe = kind.recipe(config, about(dataset))
    check_data(recipe, config.course(), dataset)
    return recipe


def check_data(recipe: Recipe, course: Course, dataset: Dataset) -> None:
    """Refuse data that does not fit, and a step that cannot be: by its shapes, before anything is begun.

    Args:
        recipe: of the run.
        course: of the run.
        dataset: its data.

    Raises:
        RunError: what is wrong, as a sentence.
    """
    check_size(course, dataset)
    recipe.check(dataset)
    with _as_sentences():
        one, *shapes = one_step(recipe, course, dataset)
        jax.eval_shape(one, *shapes)


def one_step(recipe: Recipe, course: Course, dataset: Dataset) -> tuple[Callable[[Any, Any], Any], Any, Any]:
    """The first step of a run on one device, from what it begins with.

    Args:
        recipe: of the run.
        course: of the run.
        dataset: its data.

    Returns:
        (keys [B], stored examples [B, ...]) -> (state, metrics), and the shapes of the two.
    """
    per_epoch = dataset.train.size // course.batch_size
    plan = Plan(course.epochs * per_epoch, per_epoch)
    alone = course._replace(keys=course.keys if course.num_seeds == 1 else course.keys[0])
    step = step_of(recipe, alone, plan)
    stored = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((course.batch_size, *leaf.shape[1:]), leaf.dtype),
        recipe.stored(dataset.train),
    )

    def one(keys: Any, batch: Any) -> Any:
        return step(first_progress(recipe, alone, plan.num_steps).state, keys, jax.vmap(recipe.prepare)(keys, batch))

    return one, jax.eval_shape(lambda: jax.random.split(jax.random.key(0), course.batch_size)), stored


@contextmanager
def _as_sentences() -> Iterator[None]:
    """What the core says of options that it cannot take is what the user is told."""
    try:
        yield
    except (ValueError, NotImplementedError) as error:
        raise error if isinstance(error, RunError) else RunError(str(error)) from error
