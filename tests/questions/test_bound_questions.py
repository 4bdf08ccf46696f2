"""The questions about a run's bound: their numbers, their section of the report, and what they refuse."""

import json
from dataclasses import replace

import jax
import pytest

from jaxvae.questions import decomposition, likelihood
from jaxvae.recipes import plain
from jaxvae.run import RunError, launch
from jaxvae.run.settings import Evaluation


@pytest.fixture(autouse=True)
def _standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    with jax.numpy_dtype_promotion("standard"):
        options = launch.options_of(plain.KIND)
        options = options(epochs=20, evaluation=Evaluation(num_samples=0), runs=runs, name="run")
        assert launch.run(plain.KIND, options) == 0
    return runs / "run"


def numbers_of(folder, name):
    assert (
        json.loads((folder / "sections" / f"{name}.json").read_text())["title"] in (folder / "report.html").read_text()
    )
    assert (folder / "figures" / f"{name}.png").stat().st_size > 10_000
    numbers = json.loads((folder / f"{name}.json").read_text())
    assert {"dataset", "split", "binarisation", "seed", "examples"} <= set(numbers["protocol"])
    return numbers


@pytest.mark.slow
def test_log_likelihood_is_bracketed(folder, capsys):
    likelihood.main(likelihood.Options(folder, examples=6, num_samples=200, temperatures=60, chains=4))
    numbers = numbers_of(folder, "likelihood")
    printed = capsys.readouterr()
    last = [line.rpartition("\r")[2] for line in printed.err.splitlines() if "batches" in line]
    assert len(last) == 1, "one bar for all estimates"
    assert "100%" in last[0]
    assert "compiling" in printed.err
    # What is said is what is kept and what is drawn: the same draws.
    said = f"{numbers['importance_sampling']['mean']:.2f}".replace("-", "−")
    assert printed.out.count(said) >= 2
    assert said in (folder / "figures" / "likelihood.svg").read_text()
    assert numbers["iwae_bound_by_k"]["200"] == numbers["importance_sampling"]
    assert numbers["protocol"]["steps"] == 240
    assert numbers["protocol"]["split"] == "1297/200/300"
    # Importance sampling and annealing share neither draws nor encoder, and agree on the same images.
    assert numbers["importance_sampling"]["mean"] == pytest.approx(numbers["annealed_lower"]["mean"], abs=0.5)
    by_k = [numbers["iwae_bound_by_k"][k]["mean"] for k in ("1", "10", "100", "200")]
    assert by_k[0] < by_k[1] < by_k[3]
    assert numbers["naive_by_k"]["200"]["mean"] < numbers["importance_sampling"]["mean"]
    gap = numbers["simulated_gap"]
    assert gap["mean"] > -5 * gap["standard_error"]
    assert numbers["simulated_upper"]["mean"] - numbers["simulated_lower"]["mean"] == pytest.approx(
        gap["mean"], abs=1e-4
    )


@pytest.mark.slow
def test_the_bound_is_taken_apart(folder):
    options = decomposition.Options(folder, examples=100, num_samples=500, gap_examples=3, gap_temperatures=100)
    decomposition.main(options)
    numbers = numbers_of(folder, "decomposition")
    value = {name: entry["value"] for name, entry in numbers.items() if isinstance(entry, dict) and "value" in entry}
    error = numbers["average KL, by draws"]["standard_error"]
    assert value["average KL, by draws"] == pytest.approx(value["rate (average KL)"], abs=5 * error)
    parts = value["mutual information I(x; z)"] + value["total correlation"] + sum(value["dimension_wise"])
    assert parts == pytest.approx(value["average KL, by draws"], abs=1e-3)
    assert value["approximation gap"] + value["amortisation gap"] == pytest.approx(value["inference gap"], abs=1e-3)
    assert 0 <= value["active_units"] <= 20


@pytest.mark.parametrize("question", [likelihood, decomposition])
def test_bad_values_are_refused_before_anything_is_written(question, folder, tmp_path):
    before = (folder / "report.html").read_bytes()
    with pytest.raises(RunError, match="--num-samples 0 must be at least 2"):
        question.main(question.Options(folder, num_samples=0))
    with pytest.raises(RunError, match="is no run folder"):
        question.main(question.Options(tmp_path))
    with pytest.raises(RunError, match="--seed -1"):
        question.main(replace(question.Options(folder), seed=-1))
    assert (folder / "report.html").read_bytes() == before
    assert not any(tmp_path.iterdir())
