"""What a section says is what its numbers say, and its protocol is the run's."""

import ast
import re
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxvae import questions
from jaxvae.questions.likelihood import compared
from jaxvae.recipes import plain
from jaxvae.run import kinds, launch
from jaxvae.run.folder.opening import open_run
from jaxvae.run.options import networks
from jaxvae.run.recipe import about
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


def protocols(file):
    """The words of the protocols that a question states."""
    nodes = list(ast.walk(ast.parse(file.read_text())))
    named = {ast.unparse(node.targets[0]): node.value for node in nodes if isinstance(node, ast.Assign)}
    for node in nodes:
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "section.add":
            (given,) = [word.value for word in node.keywords if word.arg == "protocol"]
            yield {key.value for key in named.get(ast.unparse(given), given).keys}


@pytest.mark.parametrize("file", sorted(Path(questions.__path__[0]).glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_no_question_says_a_word_of_the_runs_own_protocol(file):
    """Which would be found after minutes of work."""
    about_kinds = next(
        ast.literal_eval(node.value)
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "KINDS"
    )
    stated = list(protocols(file))
    assert stated
    for name in about_kinds:
        kind = kinds.kind_of(name)
        config = kind.config()
        recipe = kind.recipe(config, about(kind.data(config)))
        own = {"run", "dataset", "split", "epochs", "steps", "seed"} | set(recipe.protocol)
        for words in stated:
            assert not words & own
