"""A kind of one's own, of data that are no images, is trained, resumed, measured and loaded by the same shell."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxvae
from jaxvae.bounds import elbo
from jaxvae.losses import negative_bound
from jaxvae.models import linear
from jaxvae.run import RunError, evaluate, launch
from jaxvae.run.choice import AtLeast
from jaxvae.run.data import Dataset, Split
from jaxvae.run.folder.opening import open_run
from jaxvae.run.measures import of_terms
from jaxvae.run.recipe import Asked, Kind, Measured, Recipe
from jaxvae.run.settings import Evaluation, Optimizer, Settings, Stored
from jaxvae.training import grey

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Config(Settings):
    """Train a linear model of vectors with their lengths."""

    latent: Annotated[int, AtLeast(1)] = 1
    """The number of latent dimensions."""
    data: Stored = field(default_factory=partial(Stored, "vectors"))


def vectors(config):
    random = np.random.default_rng(0)

    def part(count):
        of_all = random.normal(size=(count, 1)) * np.array([[1.0, 2.0, 3.0]]) + random.normal(size=(count, 3))
        return Split({"vector": of_all.astype(np.float32), "steps": random.integers(1, 9, count).astype(np.float32)})

    return Dataset("vectors", "80/40/60", part(80), part(40), part(60), {"vocabulary": 3})


def recipe(config, about):
    assert about.facts == {"dataset": "vectors", "vocabulary": 3}
    inner = linear.linear_vae(latent=config.latent)
    model = inner._replace(
        terms=lambda key, params, x: inner.terms(key, params, x["vector"]),
        posterior=lambda params, x: inner.posterior(params, x["vector"]),
    )
    blank = jnp.zeros(about.example["vector"].shape)

    def measure(params, test, asked):
        found = of_terms(model, lambda split: split.examples, over=lambda xs: xs["steps"])(params, test, asked)
        return found | {"first": Measured(np.full(60, 2.0), ""), "last": Measured(np.array([np.inf, 1.0]), "nats")}

    return Recipe(
        model=model,
        init=lambda key: (inner.init(key, blank), ()),
        loss=lambda plan: negative_bound(model, jaxvae.bounds.average),
        prepare=lambda key, stored: {"vector": grey(key, stored["vector"]), "steps": stored["steps"]},
        bound=partial(elbo, model),
        measure=measure,
        draw=lambda folder, params, dataset: None,
        protocol={"steps_are": "the lengths"},
    )


KIND = Kind("my-own", Config, vectors, recipe)
OPTIONS = partial(
    launch.options_of(KIND), epochs=2, batch_size=20, name="run", evaluation=Evaluation(num_samples=5, examples=30)
)


@pytest.fixture(autouse=True)
def _standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    with jax.numpy_dtype_promotion("standard"):
        assert launch.run(KIND, OPTIONS(runs=runs), line="python mine.py") == 0
    return runs / "run"


def test_it_is_loaded_by_its_kind_alone(run):
    with pytest.raises(RunError, match=r"is a run of the kind 'my-own': .* of a kind of your own give kind="):
        jaxvae.load(run)
    model, params = jaxvae.load(run, kind=KIND)
    x = {"vector": jnp.ones(3), "steps": jnp.ones(())}
    assert np.isfinite(jaxvae.elbo(model, jax.random.key(0), params, x))
    opened = open_run(run, kind=KIND)
    assert (opened.kind, opened.step, opened.about.example["vector"].shape) == (KIND, 8, (3,))
    assert opened.about.facts == {"dataset": "vectors", "vocabulary": 3}


def test_it_travels_by_its_kind(run, tmp_path):
    out = jaxvae.export(run, tmp_path / "out", kind=KIND)
    for leaf, expected in zip(
        jax.tree.leaves(jaxvae.load(out, kind=KIND)), jax.tree.leaves(jaxvae.load(run, kind=KIND)), strict=True
    ):
        if hasattr(leaf, "shape"):
            np.testing.assert_array_equal(leaf, expected)
    with pytest.raises(RunError, match="of a kind of your own give kind="):
        jaxvae.load(out)
    assert "*my-own*" in (out / "README.md").read_text()


def test_its_numbers_are_json_and_have_their_units_and_its_protocol(run):
    result = json.loads((run / "result.json").read_text(), parse_constant=pytest.fail)
    assert result["units"] == {"test_elbo": "nats", "test_kl": "nats", "test_log_likelihood": "nats"} | {
        "test_nll": "nats",
        "first": "",
        "last": "nats",
    }
    protocol = result["protocol"]
    assert (protocol["steps_are"], protocol["nll_k"], protocol["nll_examples"]) == ("the lengths", 5, 30)
    assert (result["first"], result["first_standard_error"]) == (2.0, 0.0)  # values without a spread
    assert (result["last"], result["last_standard_error"]) == (None, None)  # not finite: JSON has no word for it
    assert protocol["examples_per_second"] > 0
    for line in (run / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)
    page = (run / "report.html").read_text()
    assert "python mine.py" in page
    assert "not finite" in page


def test_it_goes_on_from_its_own_folder(run):
    assert launch.run(KIND, OPTIONS(runs=run.parent, resume=True)) == 0
    with pytest.raises(RunError, match=r"was begun with other values of --optimizer\.lr"):
        launch.run(KIND, OPTIONS(runs=run.parent, resume=True, optimizer=Optimizer(lr=3.0)))


def test_a_run_without_a_name_is_named_by_its_data_and_its_kind(tmp_path):
    assert launch.run(KIND, OPTIONS(runs=tmp_path, name=None)) == 0
    (made,) = tmp_path.iterdir()
    assert made.name.startswith("vectors-my-own-2")


@pytest.mark.slow
def test_a_script_of_ones_own_is_its_command(tmp_path):
    script = tmp_path / "mine.py"
    source = Path(__file__).read_text()
    script.write_text(source + "\n\nif __name__ == '__main__':\n    launch.train(KIND)\n")
    command = [sys.executable, str(script), "--epochs", "1", "--runs", str(tmp_path / "runs"), "--name", "run"]
    done = subprocess.run([*command, "--batch-size", "20"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    config = json.loads((tmp_path / "runs" / "run" / "config.json").read_text())
    assert config["command"].startswith(f"python {script} --epochs 1 ")
    done = subprocess.run([*command[:2], "--latent", "0"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "error: --latent 0 must be at least 1\n")


# --- means and standard errors


def numbers_of(*measured, num_seeds=1):
    """What the shell makes of one measurement of every seed."""
    config = Config(num_seeds=num_seeds)
    dataset = vectors(config)
    each = iter(measured)
    made = recipe(config, jaxvae.run.recipe.about(dataset))._replace(measure=lambda *arguments: {"x": next(each)})
    params = {"a": jnp.zeros(num_seeds)}
    return evaluate.result(made, config.course(), params, dataset, Asked(0, None), protocol={})


def test_a_ratio_of_sums_has_the_jackknifes_standard_error():
    random = np.random.default_rng(0)
    steps = random.integers(1, 50, 3000).astype(float)
    values = -90.0 * steps + random.normal(size=3000) * 30 * np.sqrt(steps) + random.normal(size=3000) * 100
    found = numbers_of(Measured(values.astype(np.float32), "nats", steps))
    assert found["x"] == pytest.approx(values.sum() / steps.sum(), rel=1e-6)
    without = (values.sum() - values) / (steps.sum() - steps)
    jackknife = np.sqrt(2999 / 3000 * np.sum((without - without.mean()) ** 2))
    assert found["x_standard_error"] == pytest.approx(jackknife, rel=0.01)
    of_means = np.std(values / steps, ddof=1) / np.sqrt(3000)
    assert abs(of_means - jackknife) > 0.1 * jackknife  # another number, of another question


def test_a_mean_has_the_standard_error_over_examples():
    values = np.array([1.0, 2.0, 6.0])
    found = numbers_of(Measured(values, "nats"))
    assert (found["x"], found["x_standard_error"]) == (3.0, pytest.approx(values.std(ddof=1) / np.sqrt(3)))


def test_seeds_have_the_standard_error_over_seeds():
    ratio, other = Measured(np.array([3.0, 5.0]), "", np.array([1.0, 3.0])), Measured(np.array([1.0, 1.0]), "")
    found = numbers_of(ratio, other, num_seeds=2)
    assert found["x_of_each_seed"] == [2.0, 1.0]
    assert (found["x"], found["x_standard_error"]) == (1.5, pytest.approx(0.5))
    assert found["protocol"]["standard_error"] == "over seeds"


@pytest.mark.parametrize(
    ("measured", "error"),
    [
        (Measured(np.full(9, 0.1), ""), 0.0),
        (Measured(np.full(9, 0.3, np.float32), "", np.full(9, 3.0)), 0.0),
        (Measured(np.array([4.0]), ""), None),
    ],
    ids=["the same value", "the same ratio", "one example"],
)
def test_values_without_a_spread_have_an_error_of_zero_or_none(measured, error):
    found = numbers_of(measured)["x_standard_error"]
    assert found is None if error is None else found == pytest.approx(error, abs=1e-9)
