"""The command of few labels trains M1, and then M2 on its codes, with them, or without."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest

import jaxvae
from experiments.few_labels import FIRST, SECOND, Options, main
from jaxvae.recipes import few_labels
from jaxvae.run import RunError
from jaxvae.run.options import networks
from jaxvae.run.options.images import Images
from jaxvae.run.settings import Optimizer

QUICK = Optimizer(lr=1e-2)


@pytest.fixture(autouse=True)
def _standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


def options(folder, **changes):
    return Options(
        labels=(20,),
        data=Images("digits"),
        first=replace(FIRST, network=networks.Small(width=32)),
        second=replace(SECOND, width=16, repeats=5, held=1),
        first_optimizer=QUICK,
        optimizer=QUICK,
        **({"num_seeds": 1, "first_epochs": 4, "epochs": 4, "folder": folder} | changes),
    )


def differs(one, other):
    return any(np.any(np.asarray(a) != np.asarray(b)) for a, b in zip(*map(jax.tree.leaves, (one, other)), strict=True))


@pytest.mark.slow
def test_m1_is_trained_on_with_m2_and_its_accuracy_is_in_the_table(tmp_path):
    assert main(options(tmp_path / "both", num_seeds=2)) is None
    result = json.loads((tmp_path / "both" / "result.json").read_text())
    runs = [json.loads((tmp_path / "both" / f"m1+m2-20-{seed}" / "result.json").read_text()) for seed in range(2)]
    accuracies = [run["test_accuracy"] for run in runs]
    row = {"labels": 20, "accuracies": accuracies, "mean": np.mean(accuracies)}
    assert result["rows"] == [row | {"standard_deviation": np.std(accuracies, ddof=1)}]
    assert result["cpu_seconds"] > 0
    assert "together with" in runs[0]["protocol"]["of"]
    assert (tmp_path / "both" / "m1+m2-20-0" / "figures" / "analogies.png").is_file()
    _, first = jaxvae.load(tmp_path / "both" / "m1")
    model, params = jaxvae.load(tmp_path / "both" / "m1+m2-20-0")
    assert differs(params["first"], first)
    image = np.zeros((8, 8, 1), np.float32)
    assert np.isfinite(jaxvae.elbo(model, jax.random.key(0), params, (image, np.int32(-1))))


@pytest.mark.slow
def test_m1_that_is_held_to_the_end_stays_as_it_was(tmp_path):
    place = options(tmp_path / "held", epochs=2)
    assert main(replace(place, second=replace(place.second, held=2))) is None
    first, both = (jaxvae.load(tmp_path / "held" / name)[1] for name in ("m1", "m1+m2-20-0"))
    assert not differs(both["first"], first)


@pytest.mark.slow
def test_m2_of_codes_and_m2_of_pixels(tmp_path):
    place = options(tmp_path / "codes", epochs=1, first_epochs=1)
    assert main(replace(place, second=replace(place.second, together=False, least=0.0))) is None
    run = json.loads((tmp_path / "codes" / "m1+m2-20-0" / "result.json").read_text())
    assert "50 kept" in run["protocol"]["of"]
    assert main(options(tmp_path / "pixels", epochs=1, first_epochs=0)) is None
    run = json.loads((tmp_path / "pixels" / "m2-20-0" / "result.json").read_text())
    assert run["protocol"]["of"] == "pixels"
    assert not (tmp_path / "pixels" / "m1").exists()


def test_together_with_nothing_is_refused():
    with pytest.raises(RunError, match=r"--model\.features RUN"):
        few_labels.load(few_labels.Config(model=few_labels.Model(together=True)))
