"""Runs of every posterior and estimator that is more than a density, through the command line and the experiments."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest
from test_structures import assert_same, quick, trained

import jaxvae
from experiments.train import Options, main
from jaxvae.questions import codes, decomposition, generate, impute, latent, likelihood, two_stage
from jaxvae.run import RunError
from jaxvae.run.config import DISCRETE, WITHOUT_DENSITY, Checkpoints, Config, Evaluation, Model, Objective
from jaxvae.run.folder import config_file
from jaxvae.run.folder.opening import open_run

IWAE = Objective(bound="iwae", num_samples=3)
RUNS = {
    "auxiliary": (Model(posterior="auxiliary", latent=3), Objective()),
    "auxiliary, convolutions": (Model(posterior="auxiliary", latent=3, network="conv"), Objective()),
    "hamiltonian": (Model(posterior="hamiltonian", latent=2, prior="vamp", components=5), IWAE),
    "semi-amortised": (Model(posterior="semi-amortised", latent=3), replace(IWAE, estimator="doubly-reparameterized")),
    "bernoulli": (Model(posterior="bernoulli", latent=2), Objective(estimator="straight-through", temperature=0.5)),
    "one-hot": (
        Model(posterior="one-hot", latent=3, classes=4, prior="learned"),
        Objective(estimator="score-function"),
    ),
    "one-hot, convolutions": (
        Model(posterior="one-hot", latent=3, classes=4, network="conv"),
        replace(IWAE, estimator="wake-wake"),
    ),
    "wake-sleep": (
        Model(posterior="bernoulli", latent=5, prior="vamp", components=5),
        replace(IWAE, estimator="wake-sleep"),
    ),
    "learned-baseline": (Model(posterior="planar", latent=3), Objective(estimator="learned-baseline", warmup_epochs=1)),
}


@pytest.fixture(autouse=True)
def _standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


def config_of(name, **changes):
    model, objective = RUNS[name]
    return replace(Config(model=model, objective=objective, epochs=2, batch_size=5), **changes)


def run(place, name, config, **options):
    settings = {key: getattr(config, key) for key in Config.__dataclass_fields__}
    assert main(Options(**settings, runs=place, name=name, **options)) == 0
    return place / name


@pytest.fixture(scope="module")
def run_of(tmp_path_factory):
    """Makes a run through the command, with its report, when a test first asks for it."""
    place = tmp_path_factory.mktemp("runs")
    few = Evaluation(num_samples=3, examples=20)

    def folder(name):
        if not (place / name).exists():
            run(place, name, config_of(name, epochs=1, batch_size=100, evaluation=few))
        return place / name

    return folder


@pytest.mark.parametrize("name", quick("bernoulli", of=RUNS))
def test_a_run_has_its_numbers_pictures_and_model(name, run_of):
    result = json.loads((run_of(name) / "result.json").read_text())
    model, objective = RUNS[name]
    assert result["protocol"]["posterior"] == model.posterior
    assert result["protocol"]["estimator"] == objective.estimator
    assert np.isfinite(result["test_elbo"])
    assert np.isfinite(result["test_nll"])
    figures = {path.stem for path in (run_of(name) / "figures").glob("*.png")}
    assert figures == {"reconstructions", "samples", "latent", "curves"} | (
        {"manifold"} if name == "hamiltonian" else set()
    )
    loaded, params = jaxvae.load(run_of(name))
    x = jax.numpy.zeros((8, 8, 1))
    assert np.isfinite(jaxvae.iwae_bound(loaded, jax.random.key(0), params, x, num_samples=3))
    assert loaded.sample(jax.random.key(1), params).shape == (8, 8, 1)


EXAMINED = {
    likelihood: ({"examples": 2, "num_samples": 20, "temperatures": 3, "chains": 2}, DISCRETE),
    codes: (
        {"train_examples": 200, "test_examples": 60, "tsne_examples": 0, "map_examples": 4, "map_steps": 3},
        DISCRETE,
    ),
    latent: ({"train_examples": 200, "test_examples": 60, "pairs": 2, "steps": 3, "traversed": 2}, DISCRETE),
    generate: (
        {"train_examples": 100, "test_examples": 60, "num_samples": 64, "components": 2},
        DISCRETE + WITHOUT_DENSITY,
    ),
    decomposition: (
        {"examples": 20, "num_samples": 20, "gap_examples": 2, "gap_temperatures": 3},
        (*DISCRETE, *WITHOUT_DENSITY, "planar"),
    ),
    two_stage: (
        {"train_examples": 100, "test_examples": 20, "num_images": 16, "epochs": 1, "width": 8, "k": 5, "draws": 2}
        | {"components": 2, "batch_size": 50},
        DISCRETE,
    ),
    impute: ({"examples": 4, "rounds": 2}, ()),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["auxiliary", "hamiltonian", "semi-amortised", "one-hot", "bernoulli", "learned-baseline"]
)
@pytest.mark.parametrize("experiment", EXAMINED, ids=lambda module: module.__name__.split(".")[-1])
def test_an_experiment_works_or_ends_with_a_sentence(experiment, name, run_of):
    options, refused = EXAMINED[experiment]
    posterior = RUNS[name][0].posterior
    if posterior in refused:
        with pytest.raises(RunError, match=f"was trained with --model.posterior {posterior}, .*: give a"):
            experiment.main(experiment.Options(run_of(name), **options))
    else:
        experiment.main(experiment.Options(run_of(name), **options))
        written = run_of(name) / f"{experiment.__name__.split('.')[-1]}.json"
        assert "protocol" in json.loads(written.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_a_run_that_is_stopped_between_its_epochs_is_the_run_that_is_not(name):
    config = config_of(name)
    if config.objective.warmup_epochs:  # a schedule over the whole run
        config = replace(config, objective=replace(config.objective, warmup_epochs=0))
    half = trained(replace(config, epochs=1))
    state = trained(config, first_step=4, state=half)
    assert_same((state.params, state.extra), (lambda whole: (whole.params, whole.extra))(trained(config)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hamiltonian", "wake-sleep", "learned-baseline"])
@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_seeds_together_are_those_trained_alone(name, backend, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    states = trained(config_of(name, num_seeds=2))
    for row in range(2):
        of_seed = jax.tree.map(lambda leaf, row=row: leaf[row], states.params)
        assert_same(of_seed, trained(config_of(name, seed=row)).params, 0.0 if backend == "cpu" else 5e-3)


@pytest.mark.slow
def test_a_baseline_is_kept_in_checkpoints_and_goes_on(tmp_path):
    config = config_of("learned-baseline", batch_size=100, evaluation=Evaluation(num_samples=0), num_seeds=2)
    config = replace(config, checkpoints=Checkpoints(seconds=0, keep=50))
    whole = open_run(run(tmp_path, "whole", config), seed=1)
    kept = sorted((tmp_path / "whole" / "checkpoints").iterdir(), key=lambda path: int(path.name))
    for path in kept[1:]:
        for file in sorted(path.rglob("*"), reverse=True):
            file.unlink() if file.is_file() else file.rmdir()
        path.rmdir()
    again = open_run(run(tmp_path, "whole", config, resume=True), seed=1)
    assert again.step == whole.step > int(kept[0].name)
    assert_same(again.params, whole.params)
    assert np.any(again.params["baseline"]["params"]["heads"]["baseline"]["bias"] != 0)


def test_a_run_of_an_older_version_has_none_of_them():
    text = json.loads(config_file.to_text(Config()))
    del text["model"]["inference_steps"], text["objective"]["temperature"]
    assert config_file.from_text(json.dumps(text)) == Config()
