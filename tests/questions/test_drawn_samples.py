"""Drawn images beside held-out ones: the question's numbers, its nulls, what it refuses."""

import json

import jax
import numpy as np
import pytest

from jaxvae.questions import samples
from jaxvae.recipes import plain
from jaxvae.run import RunError, launch
from jaxvae.run.options.images import Images
from jaxvae.run.options.likelihoods import Gaussian
from jaxvae.run.options.networks import Small
from jaxvae.run.settings import Evaluation


@pytest.fixture(autouse=True)
def _standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


def run_of(place, **options):
    made = launch.options_of(plain.KIND)(
        epochs=2, evaluation=Evaluation(num_samples=0), name="run", runs=place, **options
    )
    assert launch.run(plain.KIND, made) == 0
    return place / "run"


@pytest.mark.slow
def test_each_number_stands_beside_its_null(tmp_path, capsys):
    folder = run_of(tmp_path, model=plain.Model(Small(width=16), latent=2))
    samples.main(samples.Options(folder, num_samples=150, classifiers=2, epochs=4, two_sample_epochs=30, batch_size=30))
    found = json.loads((folder / "samples.json").read_text())
    assert found["protocol"]["images_of_each"] == 150
    for name in samples.WORDS:
        assert np.isfinite([found[name], found[f"{name}_null"]]).all(), name
    # After two epochs the draws are noise with some ink: far away, and told apart; held-out images are not.
    assert found["frechet"] > 5 * found["frechet_null"]
    assert found["two_sample_accuracy"] > 0.8
    assert abs(found["two_sample_accuracy_null"] - 0.5) < 5 * found["protocol"]["two_sample_null_error"]
    assert found["coverage"] < found["coverage_null"]
    assert (folder / "figures" / "samples_beside.png").stat().st_size > 5000
    assert "null" in capsys.readouterr().out
    assert "Drawn images beside held-out ones" in (folder / "report.html").read_text()


@pytest.mark.slow
def test_data_without_labels_has_no_features(tmp_path):
    np.save(tmp_path / "table.npy", np.random.default_rng(0).uniform(size=(200, 6)).astype(np.float32))
    model = plain.Model(Small(width=16), latent=2, likelihood=Gaussian())
    folder = run_of(tmp_path, data=Images(name=str(tmp_path / "table.npy")), model=model)
    with pytest.raises(RunError, match="has no labels, and the features are those of a classifier"):
        samples.main(samples.Options(folder))
