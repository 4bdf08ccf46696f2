"""What the shell is told of a kind of VAE: a `Kind` makes a `Recipe` of a configuration and of the look of the data.

The shell trains, resumes, measures, draws, reports and loads recipes, and knows no kind by its name. A kind is one file
of `jaxvae.recipes` that ends in a `KIND`, or the same in a file of yours.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import optax

from jaxvae.losses import ALONE, Loss, Shared
from jaxvae.model import VAE
from jaxvae.run.data import Dataset, Split
from jaxvae.training import Data, Prepare, Step
from jaxvae.types import Array, Key, Params


class About(NamedTuple):
    """What the data looks like, enough to build the model again: `about.json` of a run folder."""

    example: Any  # a tree of shapes and dtypes (`jax.ShapeDtypeStruct`): one stored example
    facts: Mapping[str, Any]  # what else the data set tells, as JSON: {"classes": 10}, {"vocabulary": 10_000}


class Plan(NamedTuple):
    """What a loss may depend on beside the configuration."""

    num_steps: int  # of the whole run
    steps_per_epoch: int
    shared: Shared = ALONE  # how the batch lies on the devices


class Measured(NamedTuple):
    """A number of every test example; the shell makes means and standard errors, over examples or over seeds."""

    values: Any  # [N]
    unit: str  # "nats", "bits per dimension"; "" for a share or a count
    over: Any = None  # [N] what the sum of the values is divided by, steps of a sequence say; None for the mean
    said: Mapping[str, Any] = {}  # what belongs into the protocol beside it: {"nll_k": 1000}
    warning: str | None = None  # a sentence, where the numbers are not what they seem


class Asked(NamedTuple):
    """How the test set is to be measured."""

    num_samples: int  # k of log p(x); 0 leaves it out
    examples: int | None  # of log p(x), from all over the test set; None for all
    devices: Sequence[jax.Device] = ()  # that share the examples
    show: str | None = None  # beside the progress bar's label; None shows no bar


def _examples(split: Split) -> Data:
    return split.examples


def _fits(dataset: Dataset) -> None:
    return None


def _as_they_are(params: Params, extra: Any, train: Split) -> tuple[Params, Any]:
    return params, extra


def _params(params: Params, extra: Any) -> Params:
    return params


def _configured(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    return optimizer


class Recipe(NamedTuple):
    """All that a run is told of a kind of VAE, built for one configuration and one shape of data."""

    model: VAE  # what `jaxvae.load` hands back beside the params
    init: Callable[[Key], tuple[Params, Any]]  # key -> (params, extra); without data, under `jax.eval_shape` too
    loss: Callable[[Plan], Loss]  # what training descends
    prepare: Prepare  # (key, stored example) -> x
    bound: Callable[[Key, Params, Any], Array]  # (key, whole params, x) -> [] nats, watched after every epoch
    measure: Callable[[Params, Split, Asked], dict[str, Measured]]  # of the whole params on the test split
    draw: Callable[[Path, Params, Dataset], None]  # (folder of the figures, whole params, data) -> PNGs with captions
    protocol: Mapping[str, Any]  # what is said beside every number: the options chosen, and what the kind adds
    # Defaults that serve most kinds.
    stored: Callable[[Split], Data] = _examples  # what training keeps of a split: with labels where it is told them
    check: Callable[[Dataset], None] = _fits  # a RunError where the data does not fit the configuration
    start: Callable[[Params, Any, Split], tuple[Params, Any]] = _as_they_are  # new params that begin from the data
    whole: Callable[[Params, Any], Params] = _params  # (params, extra) -> the params that are evaluated
    optimizer: Callable[[optax.GradientTransformation], optax.GradientTransformation] = _configured
    step: Callable[[Loss, optax.GradientTransformation, Plan], Step] | None = None  # in place of `training.make_step`
    num_samples: int = 1  # draws of `bound`: more of them, and fewer examples are held at once
    watched: str = "bound"  # what the number that is watched is called: what is no bound is not to be named so


class Kind(NamedTuple):
    """A kind of VAE, as its file declares it: `KIND = Kind("mine", Config, load, recipe)`."""

    name: str  # of its file: on the command line, and in config.json
    config: type  # a frozen dataclass that inherits `jaxvae.run.settings.Settings`
    data: Callable[[Any], Dataset]  # of a configuration
    recipe: Callable[[Any, About], Recipe]  # (configuration, what the data looks like) -> the recipe


def about(dataset: Dataset) -> About:
    """What a data set looks like.

    Args:
        dataset: any.

    Returns:
        The shapes and dtypes of its first training example, without reading it, and its facts.
    """
    example = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), dataset.train.examples)
    return About(example, {"dataset": dataset.name} | dict(dataset.facts))
