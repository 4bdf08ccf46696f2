"""Every structure trains, goes on, and is shared among devices and seeds, as a plain model is."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxvae.run import RunError, build, structures
from jaxvae.run.config import Config, Data, Evaluation, Model, Objective
from jaxvae.run.config_check import check
from jaxvae.run.data import Dataset, Split
from jaxvae.run.folder import config_file
from jaxvae.run.folder.opening import initial_state, open_run
from jaxvae.run.steps import steps_of

ROOT = Path(__file__).parents[2]
MODELS = {
    "class-conditional": Model(structure="class-conditional", latent=3),
    "class-conditional, convolutions": Model(structure="class-conditional", network="conv", latent=3),
    "quadrants": Model(structure="quadrants", latent=3, quadrants=2),
    "quadrants, convolutions": Model(structure="quadrants", network="conv", latent=3, likelihood="gaussian-shared"),
    "quadrants-deterministic": Model(structure="quadrants-deterministic", latent=3),
    "ladder": Model(structure="ladder", latent=4, layers=3),
    "vq": Model(structure="vq", network="conv", latent=3, codes=6, likelihood="gaussian-shared"),
}
FEW = [name for name in MODELS if "convolutions" not in name]


def quick(*names, of=MODELS):
    """Structures, of which all but these are slow ones."""
    return [pytest.param(name, marks=() if name in names else pytest.mark.slow) for name in of]


IMAGES = np.random.default_rng(0).integers(0, 256, (23, 8, 8, 1), np.uint8)
LABELS = np.arange(23) % 10
STEPS = 8


@pytest.fixture(autouse=True)
def optax_promotes():
    with jax.numpy_dtype_promotion("standard"):
        yield


def config_of(name, **changes):
    return replace(Config(model=MODELS[name], epochs=2, batch_size=5), **changes)


def trained(config, first_step=0, state=None):
    """The state after all the calls to come."""
    model = build.model_of(config, IMAGES.shape[1:])
    data = structures.stored(config, Split(IMAGES, LABELS))
    steps = steps_of(config, model, data, first_step=first_step, devices=())
    state = initial_state(config, model, IMAGES.shape[1:], num_steps=STEPS) if state is None else state
    state = steps.placed(state)
    for length in steps.lengths:
        state, metrics = steps.advance(state, length)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(metrics))
    return steps.whole(state)


@cache
def trained_alone(name, seed=0):
    return jax.device_get(trained(config_of(name, seed=seed)))


def assert_same(one, other, tolerance=0.0):
    for leaf, expected in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(leaf, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", quick("vq"))
@pytest.mark.slow
def test_a_run_that_is_stopped_between_its_epochs_is_the_run_that_is_not(name):
    half = trained(config_of(name, epochs=1))
    state = trained(config_of(name), first_step=STEPS // 2, state=half)
    assert int(state.step) == STEPS
    assert_same((state.params, state.extra), (trained_alone(name).params, trained_alone(name).extra))


@pytest.mark.parametrize("name", quick())
def test_batches_from_a_stream_are_the_data_on_the_device(name):
    state = trained(config_of(name, data=Data(stream="yes")))
    assert_same((state.params, state.extra), (trained_alone(name).params, trained_alone(name).extra))


@pytest.mark.parametrize("name", quick())
@pytest.mark.parametrize("backend", ["cpu", pytest.param("gpu", marks=pytest.mark.slow)])
def test_seeds_together_are_those_trained_alone(name, backend, monkeypatch):
    """In turn, as on a CPU, and in one program by `vmap`, as on an accelerator."""
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    states = trained(config_of(name, num_seeds=2, seed=0))
    for row in range(2):
        of_seed = jax.tree.map(lambda leaf, row=row: leaf[row], (states.params, states.extra))
        alone = trained_alone(name, row)
        assert_same(of_seed, (alone.params, alone.extra), 0.0 if backend == "cpu" else 5e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", FEW)
def test_two_devices_make_the_run_of_one(name, tmp_path):
    """Through the command, from data to report; what is loaded is the same but for rounding."""
    base = config_of(name, epochs=1, batch_size=100, evaluation=Evaluation(num_samples=2, examples=10))
    path = tmp_path / "options.py"
    path.write_text(
        "import sys; from dataclasses import replace; from pathlib import Path\n"
        "sys.path.insert(0, 'tests'); import test_structures as t; from experiments.train import Options, main\n"
        "from jaxvae.run.config import Config, Evaluation\n"
        f"base = t.config_of({name!r}, epochs=1, batch_size=100, evaluation=Evaluation(num_samples=2, examples=10))\n"
        "settings = {key: getattr(base, key) for key in Config.__dataclass_fields__}\n"
        "for count in (1, 2):\n"
        f"    assert main(Options(**settings, runs=Path({str(tmp_path)!r}), name=str(count), devices=count)) == 0\n"
    )
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run([sys.executable, path], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = open_run(tmp_path / "1"), open_run(tmp_path / "2")
    assert one.config == base
    assert_same(one.params, two.params, 5e-3)


@pytest.mark.parametrize(
    ("model", "objective", "sentence"),
    [
        (Model(structure="ladder", network="conv"), Objective(), "small or iwae, not conv"),
        (Model(structure="ladder"), Objective(estimator="sticking-the-landing"), "by --objective.estimator pathwise"),
        (Model(structure="vq"), Objective(), "give --model.network conv or residual, not small"),
        (Model(structure="vq", network="residual"), Objective(bound="iwae"), "no importance weights"),
        (Model(structure="vq", network="residual"), Objective(beta=0.5), "a divergence that nothing moves"),
        (Model(structure="quadrants", likelihood="structured"), Objective(), "of each pixel by itself"),
        (Model(structure="ladder", layers=0), Objective(), "--model.layers 0 must be at least 1"),
    ],
)
def test_what_cannot_be_combined_is_refused(model, objective, sentence):
    with pytest.raises(RunError, match=sentence):
        check(Config(model=model, objective=objective))


def test_labels_that_are_missing_or_too_many_are_refused():
    config = config_of("class-conditional")
    part = Split(IMAGES, LABELS + 1)
    with pytest.raises(RunError, match=r"run from 1 to 10, .* give --model.classes 11"):
        structures.check_labels(config, Dataset("own", "split", part, None, part))
    bare = part._replace(labels=None)
    with pytest.raises(RunError, match="own has no labels"):
        structures.check_labels(config, Dataset("own", "split", bare, None, bare))
    structures.check_labels(Config(), Dataset("own", "split", bare, None, bare))


def test_a_run_of_an_older_version_is_plain():
    text = json.loads(config_file.to_text(Config()))
    for name in ("structure", "classes", "quadrants", "layers", "codes"):
        del text["model"][name]
    assert config_file.from_text(json.dumps(text)) == Config()
