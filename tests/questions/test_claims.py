"""What a section says is what its numbers say, and its protocol is the run's."""

import re

import jax
import numpy as np
import pytest

from jaxvae.questions.likelihood import compared
from jaxvae.recipes import plain
from jaxvae.run import launch
from jaxvae.run.folder.opening import open_run
from jaxvae.run.options import networks
from jaxvae.run.report import section
from jaxvae.run.settings import Evaluation


@pytest.fixture(autouse=True)
def _standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


NOISE = np.random.default_rng(0).normal(size=20)


@pytest.mark.parametrize(
    ("bound", "naive", "words"),
    [
        (
            -90.0 + 0.1 * NOISE,
            -95.0,
            "bound agrees with annealing, .*; naive Monte Carlo lies 4.98 nats below that bound",
        ),
        (
            -93.0 + 0.1 * NOISE,
            -93.0 + 0.1 * NOISE[::-1],
            "bound lies 3.02 nats below annealing,.* Carlo agrees with that",
        ),
        (-88.5 + 0.1 * NOISE, -88.0, "bound lies 1.* nats above annealing"),
    ],
)
def test_estimates_are_compared_by_their_numbers(bound, naive, words):
    said = compared({10: bound - 9, 100: bound}, {10: bound - 9, 100: np.full(20, naive)}, np.full(20, -90.0))
    assert said.startswith("At k = 100 ")
    assert re.search(words, said), said


def test_an_option_cannot_take_the_place_of_the_runs_protocol(tmp_path):
    options = launch.options_of(plain.KIND)(
        model=plain.Model(networks.Small(width=8), latent=2),
        evaluation=Evaluation(num_samples=0),
        epochs=1,
        runs=tmp_path,
        name="run",
    )
    assert launch.run(plain.KIND, options) == 0
    run = open_run(tmp_path / "run")
    with pytest.raises(ValueError, match="has its own steps: call those of 'odd' otherwise"):
        section.add(run, "odd", title="Odd", text="", numbers={}, protocol={"steps": 11})
    assert not (run.folder / "odd.json").exists()
