"""Runs of any kind that take a moment, as the tests of the shell train them."""

import os
import signal
from dataclasses import fields, replace
from functools import lru_cache

import jax
import numpy as np

from jaxvae.run import kinds, launch, refusals
from jaxvae.run.data import Split
from jaxvae.run.folder.logs import Log
from jaxvae.run.settings import Checkpoints, Evaluation
from jaxvae.run.train import train

FEW, BATCH = 23, 5  # four batches and a rest
STEPS = 8  # of two epochs


def kind_of(config):
    """The kind whose configuration it is."""
    return next(kind for kind in map(kinds.kind_of, kinds.names()) if kind.config is type(config))


def few(dataset, count=FEW):
    """The same data, of which each split has a few examples."""

    def part(split):
        rows = slice(0, count)
        cut = jax.tree.map(lambda leaf: leaf[rows], split.examples)
        return Split(cut, None if split.labels is None else split.labels[rows])

    valid = None if dataset.valid is None else part(dataset.valid)
    return dataset._replace(train=part(dataset.train), valid=valid, test=part(dataset.test))


def short(config, **changes):
    """Two epochs of four steps, saved after each."""
    quick = {"epochs": 2, "batch_size": BATCH, "checkpoints": Checkpoints(seconds=0, keep=5)}
    return replace(config, **(quick | changes))


@lru_cache(maxsize=4)
def _prepared(config):
    kind = kind_of(config)
    dataset = few(kind.data(config))
    return refusals.recipe_of(kind, config, dataset), dataset


def trained(config, folder=None, *, optimizer=None):
    """A training of a configuration on a few examples, without a command; in a folder it goes on where it stopped.

    Where numbers are to be equal but for rounding, an optimizer of its own: Adam makes a step of the whole rate of a
    gradient that is nothing but rounding, as that of a bias in front of a normalisation.
    """
    recipe, dataset = _prepared(replace(config, seed=0, num_seeds=1, data=replace(config.data, stream="auto")))
    course = config.course()
    if optimizer is not None:
        course = course._replace(optimizer=lambda num_steps: optimizer)
    return train(recipe, course, dataset, folder=folder, show=None)


def stopping_at(step, monkeypatch):
    """Every training is stopped once it has logged that step, as by `kill`."""
    write = Log.write

    def stopping(log, row):
        write(log, row)
        if row["step"] == step:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Log, "write", stopping)


def commanded(config, runs, name="run", **place):
    """The folder of a run that the command makes: an epoch of large batches, and its report."""
    brief = {"epochs": 1, "batch_size": 100, "evaluation": Evaluation(num_samples=3, examples=20)}
    usual = type(config)()
    made = replace(config, **{key: brief[key] for key in brief if getattr(config, key) == getattr(usual, key)})
    options = launch.options_of(kind_of(config))
    settings = {field.name: getattr(made, field.name) for field in fields(made)}
    assert launch.run(kind_of(config), options(**settings, runs=runs, name=name, **place)) == 0
    return runs / name


def assert_same(one, other, tolerance=0.0):
    """Equal trees, bit for bit or nearly."""
    for leaf, expected in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(leaf, expected, rtol=tolerance, atol=tolerance)
