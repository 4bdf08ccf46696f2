"""Runs of every structure through the command line, and the experiments that examine them."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_structures import FEW, assert_same, config_of, quick

import jaxvae
from experiments.train import Options, main
from jaxvae.models import given
from jaxvae.questions import code_prior, conditions, generate, layers
from jaxvae.run import RunError, structures
from jaxvae.run.config import Checkpoints, Config, Evaluation, Model
from jaxvae.run.folder.opening import open_run


@pytest.fixture(autouse=True)
def _standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def run_of(tmp_path_factory):
    """Makes a run of a structure through the command, with its report, when a test first asks for it."""
    place = tmp_path_factory.mktemp("runs")

    def folder(name):
        if not (place / name).exists():
            config = Config(model=Model(latent=3)) if name == "plain" else config_of(name)
            few = Evaluation(num_samples=3, examples=20)
            config = replace(config, epochs=1, batch_size=100, evaluation=few)
            settings = {key: getattr(config, key) for key in Config.__dataclass_fields__}
            assert main(Options(**settings, runs=place, name=name)) == 0
        return place / name

    return folder


@pytest.mark.parametrize("name", quick(of=FEW))
def test_a_run_has_its_numbers_pictures_and_model(name, run_of):
    result = json.loads((run_of(name) / "result.json").read_text())
    assert result["protocol"]["structure"] == name
    assert ("given" in result["protocol"]) == (name not in ("ladder", "vq"))
    assert ("test_nll" in result) == (name != "vq")
    assert np.isfinite(result["test_elbo"])
    for figure in ("reconstructions", "samples", "latent", "curves"):
        assert (run_of(name) / "figures" / f"{figure}.png").stat().st_size > 5_000
    model, params = jaxvae.load(run_of(name))
    x = structures.blank(config_of(name), (8, 8, 1))
    assert np.isfinite(jaxvae.elbo(model, jax.random.key(0), params, x))
    if name == "class-conditional":
        drawn = given(model, jax.nn.one_hot(3, 10)).sample(jax.random.key(1), params)
        assert drawn.shape == model.sample(jax.random.key(1), params).shape == (8, 8, 1)
    if name == "vq":
        assert params["codebook"].shape == (6, 3)


def numbers_of(folder, name):
    page = (folder / "report.html").read_text()
    assert json.loads((folder / "sections" / f"{name}.json").read_text())["title"] in page
    return json.loads((folder / f"{name}.json").read_text())


@pytest.mark.slow
def test_the_ladder_experiment(run_of):
    options = layers.Options(run_of("ladder"), baseline=run_of("plain"), examples=20, num_samples=10)
    layers.main(options)
    numbers = numbers_of(run_of("ladder"), "ladder")
    assert len(numbers["rate_of_each_layer_ladder"]) == 3
    assert min(numbers["rate_of_each_layer_ladder"]) >= 0
    gain = numbers["nll_one_layer"] - numbers["nll_ladder"]
    assert numbers["gain_over_one_layer"] == pytest.approx(gain, abs=1e-3)
    with pytest.raises(RunError, match="give a plain run"):
        layers.main(replace(options, baseline=run_of("vq")))
    with pytest.raises(RunError, match=r"was trained with --model.structure plain"):
        layers.main(replace(options, run=run_of("plain")))


@pytest.mark.slow
def test_the_conditional_experiment(run_of):
    conditions.main(conditions.Options(run_of("class-conditional"), examples=20, num_samples=5, classified=10))
    numbers = numbers_of(run_of("class-conditional"), "conditional")
    assert 0 <= numbers["accuracy"] <= 1
    assert (run_of("class-conditional") / "figures" / "classes.png").stat().st_size > 10_000
    options = conditions.Options(run_of("quadrants"), examples=20, num_samples=5)
    conditions.main(options)
    assert (run_of("quadrants") / "figures" / "completions.png").stat().st_size > 10_000
    with pytest.raises(RunError, match="trained on other data or quadrants"):  # one quadrant, not two
        conditions.main(replace(options, baseline=run_of("quadrants-deterministic")))
    with pytest.raises(RunError, match="--baseline is a run with"):
        conditions.main(replace(options, baseline=run_of("plain")))


@pytest.mark.slow
def test_the_quantized_experiment_finds_a_better_code(run_of):
    code_prior.main(code_prior.Options(run_of("vq"), epochs=5, width=16))
    numbers = numbers_of(run_of("vq"), "quantized")
    assert numbers["rate_learned_prior"] < numbers["rate_uniform_prior"] == pytest.approx(4 * np.log(6), rel=1e-6)
    assert numbers["nll_bound_learned_prior"] == pytest.approx(
        numbers["distortion"] + numbers["rate_learned_prior"], abs=1e-3
    )
    assert not [name for name in numbers if name.startswith("bits")]  # a Gaussian is no code of pixels
    result = json.loads((run_of("vq") / "result.json").read_text())
    assert numbers["nll_bound_uniform_prior"] == pytest.approx(-result["test_elbo"], abs=1e-2)
    with pytest.raises(RunError, match="--lr 0 must be positive"):
        code_prior.main(code_prior.Options(run_of("vq"), lr=0))


@pytest.mark.slow
def test_an_experiment_on_plain_runs_refuses_the_others(run_of):
    with pytest.raises(RunError, match=r"trained with --model.structure ladder, and this experiment is about plain"):
        generate.main(generate.Options(run_of("ladder")))


@pytest.mark.slow
def test_checkpoints_hold_the_table(tmp_path):
    """A run through the command that is resumed has the table and the offers of the one that is not."""
    config = config_of("vq", epochs=2, batch_size=100, evaluation=Evaluation(num_samples=0))
    settings = {key: getattr(config, key) for key in Config.__dataclass_fields__}
    settings["checkpoints"] = Checkpoints(seconds=0, keep=50)
    assert main(Options(**settings, runs=tmp_path, name="whole")) == 0
    whole = open_run(tmp_path / "whole")
    kept = sorted((tmp_path / "whole" / "checkpoints").iterdir(), key=lambda path: int(path.name))
    for path in kept[1:]:
        for file in sorted(path.rglob("*"), reverse=True):
            file.unlink() if file.is_file() else file.rmdir()
        path.rmdir()
    assert main(Options(**settings, runs=tmp_path, name="whole", resume=True)) == 0
    again = open_run(tmp_path / "whole")
    assert again.step == whole.step > int(kept[0].name)
    assert_same(again.params, whole.params)
    assert bool(jnp.all(jnp.isfinite(again.params["codebook"])))
