"""Runs of every posterior and estimator that is more than a density, through the command line."""

import json
import shutil
from dataclasses import replace

import jax
import numpy as np
import optax
import pytest
from small_runs import STEPS, assert_same, commanded, short, stopping_at, trained

import jaxvae
from jaxvae.recipes import plain
from jaxvae.run.folder.opening import open_run
from jaxvae.run.options import bounds, estimators, likelihoods, networks, posteriors, prices, priors
from jaxvae.run.options.objective import Objective
from jaxvae.run.options.words import said
from jaxvae.run.settings import Checkpoints, Evaluation

SMALL, MAPS = networks.Small(width=16), networks.Conv(maps=(4, 8))
VAMP, STRAIGHT = priors.Vamp(components=5), estimators.StraightThrough(temperature=0.5)
AUXILIARY, CLASSES = posteriors.Auxiliary(), posteriors.OneHot(classes=4)


def iwae(estimator=None, **more):
    return Objective(bounds.Iwae(), num_samples=3, estimator=estimator or estimators.Pathwise(), **more)


def model(latent, posterior, network=SMALL, **more):
    return plain.Model(network, latent, posterior=posterior, **more)


GREY = model(3, posteriors.Normal(), likelihood=likelihoods.ContinuousBernoulli())
RUNS = {
    "auxiliary": (model(3, AUXILIARY), Objective()),
    "auxiliary, convolutions": (model(3, AUXILIARY, MAPS), Objective()),
    "hamiltonian": (model(2, posteriors.Hamiltonian(), prior=VAMP), iwae()),
    "semi-amortised": (model(3, posteriors.SemiAmortised()), iwae(estimators.DoublyReparameterized())),
    "bernoulli": (model(2, posteriors.Bernoulli()), Objective(estimator=STRAIGHT)),
    "one-hot": (model(3, CLASSES, prior=priors.Learned()), Objective(estimator=estimators.ScoreFunction())),
    "one-hot, convolutions": (model(3, CLASSES, MAPS), iwae(estimators.WakeWake())),
    "wake-sleep": (model(5, posteriors.Bernoulli(), prior=VAMP), iwae(estimators.WakeSleep())),
    "learned-baseline": (
        model(3, posteriors.Planar()),
        Objective(estimator=estimators.LearnedBaseline(width=8), price=prices.Weight(warmup_epochs=1)),
    ),
    "lead": (model(3, posteriors.Normal()), Objective(encoder_steps=5, encoder_epochs=1)),
    "capacity": (model(3, posteriors.Iaf(hidden=8)), Objective(price=prices.Capacity(nats=5.0))),
    "total-correlation": (model(3, posteriors.Normal()), Objective(price=prices.TotalCorrelation())),
    "factor": (model(3, posteriors.Iaf(hidden=8)), Objective(price=prices.Factor(width=8, depth=2))),
    "adversary": (model(3, posteriors.Normal()), Objective(price=prices.Adversary(width=8, depth=2))),
    "bidirectional": (GREY, Objective(price=prices.Bidirectional(width=8))),
    "similarity": (GREY, Objective(price=prices.Similarity(width=8))),
    "dip": (model(3, posteriors.Normal()), Objective(price=prices.Dip(version="i"))),
    "mmd": (model(3, posteriors.Full(), prior=VAMP), Objective(price=prices.Mmd(alpha=0.5))),
    "distortion": (model(3, posteriors.Normal()), Objective(price=prices.Distortion(nats=25.0))),
    "vr-max": (model(3, posteriors.Normal()), Objective(bounds.Renyi(alpha=float("-inf")), num_samples=3)),
}
SEEDS = ("hamiltonian", "wake-sleep", "learned-baseline", "lead", "factor", "bidirectional", "similarity", "distortion")


def config_of(name, **changes):
    of_model, objective = RUNS[name]
    return replace(plain.Config(model=of_model, objective=objective), **changes)


@pytest.fixture(autouse=True)
def _standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def run_of(tmp_path_factory):
    """Makes a run through the command, with its report, when a test first asks for it."""
    place = tmp_path_factory.mktemp("runs")
    return lambda name: place / name if (place / name).exists() else commanded(config_of(name), place, name)


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n == "vr-max" else pytest.mark.slow) for n in RUNS])
def test_a_run_has_its_numbers_pictures_and_model(name, run_of):
    result = json.loads((run_of(name) / "result.json").read_text(), parse_constant=pytest.fail)
    of_model, objective = RUNS[name]
    assert result["protocol"]["posterior"] == said(of_model.posterior)
    assert result["protocol"]["estimator"] == said(objective.estimator)
    assert np.isfinite(result["test_elbo"])
    assert np.isfinite(result["test_nll"])
    figures = {path.stem for path in (run_of(name) / "figures").glob("*.png")}
    assert figures == {"reconstructions", "samples", "latent", "curves"} | (
        {"manifold"} if name == "hamiltonian" else set()
    )
    run = open_run(run_of(name))
    assert run.config.objective == objective
    loaded, params = jaxvae.load(run_of(name))
    x = jax.numpy.zeros((8, 8, 1))
    assert np.isfinite(jaxvae.iwae_bound(loaded, jax.random.key(0), params, x, num_samples=3))
    assert loaded.sample(jax.random.key(1), params).shape == (8, 8, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_a_run_that_is_stopped_and_goes_on_is_the_run_that_is_not(name, tmp_path, monkeypatch):
    config = short(config_of(name))
    whole = trained(config)
    with monkeypatch.context() as patched:
        stopping_at(STEPS // 2, patched)
        assert int(trained(config, tmp_path).state.step) == STEPS // 2
    assert_same(trained(config, tmp_path).state, whole.state)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["hamiltonian", "wake-sleep", "learned-baseline", "lead", "factor", "distortion", "bidirectional", "similarity"],
)
@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_seeds_together_are_those_trained_alone(name, backend, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    both = trained(short(config_of(name), num_seeds=2), optimizer=optax.sgd(1e-3))
    for row in range(2):
        of_seed = jax.tree.map(lambda leaf, row=row: leaf[row], both.params)
        alone = trained(short(config_of(name), seed=row), optimizer=optax.sgd(1e-3))
        assert_same(of_seed, alone.params, 0.0 if backend == "cpu" else 1e-4)


@pytest.mark.slow
def test_a_baseline_is_kept_in_checkpoints_and_goes_on(tmp_path):
    config = config_of("learned-baseline", evaluation=Evaluation(num_samples=0), num_seeds=2, epochs=2)
    config = replace(config, checkpoints=Checkpoints(seconds=0, keep=50))
    whole = open_run(commanded(config, tmp_path), seed=1)
    kept = sorted((tmp_path / "run" / "checkpoints").iterdir(), key=lambda path: int(path.name))
    for path in kept[1:]:
        shutil.rmtree(path)
    again = open_run(commanded(config, tmp_path, resume=True), seed=1)
    assert again.step == whole.step > int(kept[0].name)
    assert_same(again.params, whole.params)
    assert np.any(again.params["baseline"]["params"]["heads"]["baseline"]["bias"] != 0)
