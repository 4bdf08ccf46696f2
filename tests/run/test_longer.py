"""A run that goes on for longer is the run that was asked for so long from the start, or it is refused."""

import json
from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_runs import commanded

from jaxvae.bounds import average
from jaxvae.losses import negative_bound
from jaxvae.recipes import plain
from jaxvae.run import RunError, launch
from jaxvae.run.folder.logs import read
from jaxvae.run.folder.opening import open_run
from jaxvae.run.options import likelihoods, networks, prices
from jaxvae.run.options.images import ImageSettings
from jaxvae.run.options.objective import Objective
from jaxvae.run.recipe import Kind
from jaxvae.run.settings import Evaluation, Optimizer

SMALL = plain.Model(network=networks.Small(width=8), latent=2)


def config_of(epochs=1, price=None, optimizer=None, **rest):
    # the optimizer's mean of params, the price's warm-up of two epochs and the best params go over the seam
    return plain.Config(
        epochs=epochs,
        batch_size=200,
        model=SMALL,
        objective=Objective(price=price or prices.Weight(warmup_epochs=1)),
        optimizer=optimizer or Optimizer(average=0.9, warmup_steps=3),
        evaluation=Evaluation(num_samples=0),
        **rest,
    )


@pytest.fixture(autouse=True)
def _standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.mark.parametrize("patience", [None, pytest.param(5, marks=pytest.mark.slow)])
def test_a_longer_run_is_the_run_of_that_length_bit_for_bit(patience, tmp_path):
    whole = commanded(config_of(3, patience=patience), tmp_path, "whole")
    commanded(config_of(1, patience=patience), tmp_path)
    run = commanded(config_of(3, patience=patience), tmp_path, resume=True)
    left, right = open_run(whole), open_run(run)
    assert left.step == right.step == 18
    assert right.config == left.config
    for one, other in zip(jax.tree.leaves(left.params), jax.tree.leaves(right.params), strict=True):
        np.testing.assert_array_equal(one, other)
    assert read(whole) == read(run)
    results = [json.loads((folder / "result.json").read_text()) for folder in (whole, run)]
    assert results[0]["test_elbo"] == results[1]["test_elbo"]
    assert results[0]["protocol"]["epochs"] == results[1]["protocol"]["epochs"] == 3


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Of one epoch each, with a schedule over the whole run or without."""
    place = tmp_path_factory.mktemp("runs")
    with jax.numpy_dtype_promotion("standard"):
        commanded(config_of(), place, "constant")
        commanded(config_of(optimizer=Optimizer(schedule="cosine")), place, "cosine")
        commanded(config_of(price=prices.Capacity(nats=3.0)), place, "capacity")
    return place


@pytest.mark.parametrize(
    ("name", "epochs", "words"),
    [
        ("cosine", 2, "cannot go on to --epochs 2: --optimizer.schedule cosine lets the rate fall over the whole run"),
        ("capacity", 2, "cannot go on to --epochs 2: --objective.price capacity grows over the whole run"),
        ("constant", 0, "--epochs 0 must be at least 1"),
    ],
)
def test_a_schedule_over_the_whole_run_is_named(runs, name, epochs, words):
    before = (runs / name / "config.json").read_text()
    options = launch.options_of(plain.KIND)(runs=runs, name=name, resume=True, epochs=epochs)
    with pytest.raises(RunError, match=words):
        launch.run(plain.KIND, options)
    assert (runs / name / "config.json").read_text() == before


def test_fewer_epochs_are_refused(tmp_path):
    commanded(config_of(2), tmp_path)
    options = launch.options_of(plain.KIND)(runs=tmp_path, name="run", resume=True, epochs=1)
    with pytest.raises(RunError, match="begun with --epochs 2, and nothing it has learned is taken back"):
        launch.run(plain.KIND, options)


@pytest.mark.parametrize(
    ("name", "flag", "words"),
    [
        ("capacity", "--epochs 100", "cannot go on to --epochs 100"),
        ("constant", "--optimizer.warmup_steps=0", "other values of --optimizer.warmup-steps"),
    ],
)
def test_a_value_that_is_the_default_is_not_passed_over_where_it_is_typed(runs, name, flag, words):
    options = launch.options_of(plain.KIND)(runs=runs, name=name, resume=True)
    with pytest.raises(RunError, match=words):
        launch.run(plain.KIND, options, line=f"jaxvae train --name {name} --resume {flag}")


def test_the_report_has_both_commands(runs):
    line = "jaxvae train --name constant --resume --epochs=2"
    options = launch.options_of(plain.KIND)(runs=runs, name="constant", resume=True, epochs=2)
    assert launch.run(plain.KIND, options, line=line) == 0
    assert json.loads((runs / "constant" / "config.json").read_text())["command"] == f" && {line}"
    assert line.replace("&", "&amp;") in (runs / "constant" / "report.html").read_text()
    assert launch.run(plain.KIND, options, line=line) == 0  # no longer than it is
    assert json.loads((runs / "constant" / "config.json").read_text())["command"] == f" && {line}"


@dataclass(frozen=True)
class Model:
    """The model."""

    likelihood: likelihoods.Bernoulli = field(default_factory=likelihoods.Bernoulli)


@dataclass(frozen=True)
class Own(ImageSettings):
    """A kind of one's own, whose loss goes by the length of the run, which no option says."""

    model: Model = field(default_factory=Model)
    share: float = 0.5


def own_recipe(config, about):
    made = plain.recipe(config_of(), about)

    def loss(plan):
        rising = optax.linear_schedule(0.0, 1.0, max(1, int(config.share * plan.num_steps)))
        return negative_bound(made.model, average, beta=rising if config.share else None)

    return made._replace(loss=loss, init=lambda key: (made.model.init(key, jnp.zeros(about.example.shape)), ()))


@pytest.mark.parametrize("share", [0.5, 0.0])
def test_a_kind_whose_steps_go_by_the_length_is_refused_though_no_option_says_so(share, tmp_path):
    kind = Kind("own", Own, plain.KIND.data, own_recipe)
    first = {"runs": tmp_path, "name": "run", "batch_size": 400, "evaluation": Evaluation(num_samples=0)}
    options = launch.options_of(kind)(epochs=1, share=share, **first)
    assert launch.run(kind, options) == 0
    more = replace(options, epochs=2, resume=True)
    if not share:
        assert launch.run(kind, more) == 0
        return
    with pytest.raises(RunError, match="--epochs 2: what a step does depends on how many there are to be"):
        launch.run(kind, more)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["epochs"] == 1
