import json
import os
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments import collapse
from jaxvae.recipes import plain
from jaxvae.run import RunError, launch, refusals
from jaxvae.run.choice import differences
from jaxvae.run.options import likelihoods
from jaxvae.run.options.images import Images
from jaxvae.run.settings import Evaluation

SOURCE = Path(os.environ.get("JAXVAE_DATA_SOURCE") or Path(__file__).resolve().parents[3] / "shared" / "data")
SMALL = collapse.Options(
    data=Images("digits", binarize="threshold"),
    model=plain.Model(latent=3, likelihood=likelihoods.Pixelcnn(layers=1, radius=1)),
    epochs=2,
    num_seeds=2,
    examples=50,
)


@pytest.fixture(autouse=True)
def optax_promotes():
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.mark.parametrize("remedy", collapse.REMEDIES)
def test_every_remedy_is_a_configuration_that_passes_and_differs(remedy):
    settings = collapse.settings_of(remedy, collapse.Options())
    refusals.check(settings)
    changed = differences(settings, collapse.settings_of("none", collapse.Options()))
    assert bool(changed) == (remedy != "none")


def test_too_few_examples_are_refused(tmp_path):
    with pytest.raises(RunError, match="--examples 1 must be at least 2"):
        collapse.main(collapse.Options(examples=1, folder=tmp_path / "collapse"))


@pytest.mark.slow
def test_the_remedies_are_trained_measured_and_reported(tmp_path):
    assert collapse.main(replace(SMALL, folder=tmp_path / "collapse")) is None
    found = json.loads((tmp_path / "collapse" / "result.json").read_text())
    assert [row["remedy"] for row in found["rows"]] == list(collapse.REMEDIES)
    assert all(len(row[name]) == 2 for row in found["rows"] for name in collapse.COLUMNS)
    rates = {row["remedy"]: np.mean(row["rate"]) for row in found["rows"]}
    assert rates["delta-VAE"] > rates["none"]
    page = (tmp_path / "collapse" / "report.html").read_text()
    assert "leading encoder" in page
    assert "<img" in page


@pytest.mark.slow
@pytest.mark.skipif(not (SOURCE / "binarized_mnist").is_dir(), reason="binarised MNIST is not at hand")
def test_a_plain_vae_collapses_on_binarised_mnist_and_one_with_free_bits_does_not(tmp_path):
    data = Images("binarized_mnist", source=SOURCE, folder=tmp_path / "data")
    options = collapse.Options(data=data, epochs=1, num_seeds=1, examples=200)
    found = {}
    for remedy in ("none", "free bits"):
        settings = replace(collapse.settings_of(remedy, options), evaluation=Evaluation(0))
        assert launch.run(plain.KIND, collapse.run_options(settings, runs=tmp_path, name=remedy)) == 0
        found[remedy] = collapse.measured(tmp_path / remedy, 200)
    assert found["none"]["rate"] < 0.5
    assert found["none"]["active_units"] == 0
    assert found["none"]["mutual_information"] < 0.3
    assert found["free bits"]["active_units"] >= 10
    assert found["free bits"]["mutual_information"] > 1
