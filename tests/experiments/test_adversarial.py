import json

import jax
import numpy as np
import pytest

from experiments import adversarial
from experiments.told_apart import told_apart
from jaxvae.run import RunError, refusals
from jaxvae.run.options import networks
from jaxvae.run.options.discriminators import Discriminator

SMALL = {
    "epochs": 2,
    "batch_size": 100,
    "codes": 100,
    "test_epochs": 2,
    "neighbours": 200,
    "examples": 3,
    "temperatures": 4,
    "chains": 2,
    "model": adversarial.Model(networks.Small(width=16), latent=3),
    "discriminator": Discriminator(width=8),
}


@pytest.fixture(autouse=True)
def optax_promotes():
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.mark.parametrize("system", adversarial.SYSTEMS)
def test_every_system_is_a_configuration_that_passes(system):
    kind, settings = adversarial.settings_of(system, adversarial.Options())
    refusals.check(settings)
    assert kind.config is type(settings)


def test_what_is_no_system_is_refused(tmp_path):
    with pytest.raises(RunError, match="--systems GAN names no system: give some of VAE, WAE-MMD"):
        adversarial.main(adversarial.Options(systems=("VAE", "GAN"), folder=tmp_path / "adversarial"))


def trained(systems, folder):
    assert adversarial.main(adversarial.Options(**SMALL, systems=systems, folder=folder)) is None
    page = (folder / "report.html").read_text()
    assert 'id="figure-systems"' in page
    assert all(system in page for system in systems)
    found = json.loads((folder / "result.json").read_text())
    assert [row["system"] for row in found["rows"]] == list(systems)
    return {row["system"]: row for row in found["rows"]}


@pytest.mark.slow
def test_a_system_is_trained_measured_and_reported(tmp_path):
    row = trained(("AVB, adaptive contrast",), tmp_path / "adversarial")["AVB, adaptive contrast"]
    assert 0 <= row["told_apart"] <= 1
    assert 0 < row["squared_error"] < 1
    apart = row["stated"][0] - row["annealed"][0]
    np.testing.assert_allclose(row["apart"][0], apart, rtol=1e-6)


@pytest.mark.slow
def test_all_systems_are_trained_measured_and_reported(tmp_path):
    rows = trained(adversarial.SYSTEMS, tmp_path / "adversarial")
    for system, row in rows.items():
        known = {name for name, value in row.items() if value is not None}
        of_bounds = {"stated", "annealed", "apart", "simulated_gap"}
        assert (known & of_bounds) == (of_bounds if system in adversarial.BOUNDED else set())
        assert np.isfinite([row["told_apart"], row["told_apart_null"], row["squared_error"]]).all()
        assert 0 < row["nearest_right"] <= 1


@pytest.mark.slow
def test_a_classifier_tells_apart_what_is_not_the_same_and_nothing_else():
    """Under the null within 5 standard errors of a half; N(0, 1) and N(1, 1) at Φ(½) at the best."""
    one, other, moved = (np.asarray(jax.random.normal(jax.random.key(seed), (4000, 1))) for seed in range(3))
    null = told_apart(jax.random.key(4), one, other, epochs=5)
    assert abs(null.accuracy - 0.5) < 5 * null.standard_error
    apart = told_apart(jax.random.key(5), one, moved + 1, epochs=5)
    assert abs(apart.accuracy - 0.6915) < 5 * apart.standard_error
