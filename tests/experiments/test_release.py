"""The files of a release: made by one command, they are what was trained."""

import hashlib
import json
import zipfile
from dataclasses import replace

import jax
import pytest
from small_runs import assert_same

import jaxvae
from experiments import release
from jaxvae.recipes import plain
from jaxvae.run import RunError, refusals
from jaxvae.run.folder.opening import open_run
from jaxvae.run.options import networks
from jaxvae.run.settings import Evaluation


@pytest.fixture(autouse=True)
def _standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.mark.parametrize("name", release.MODELS)
def test_every_model_of_the_release_has_a_configuration_that_can_be(name):
    kind, config = release.MODELS[name]
    refusals.check(config)
    assert type(config) is kind.config
    assert name in release.Options.__annotations__["only"].__args__[0].__args__


@pytest.mark.slow
def test_the_files_hold_the_models_that_were_trained(tmp_path, monkeypatch, capsys):
    tiny = plain.Config(
        model=plain.Model(networks.Small(width=8), latent=2), evaluation=Evaluation(num_samples=3, examples=20)
    )
    monkeypatch.setattr(release, "MODELS", {"mnist-vae": (plain.KIND, tiny)})
    place = tmp_path / "release"
    assert release.main(release.Options(epochs=1, folder=place)) is None
    (line,) = (place / "SHA256SUMS").read_text().splitlines()
    assert line == f"{hashlib.sha256((place / 'mnist-vae.zip').read_bytes()).hexdigest()}  mnist-vae.zip"
    with zipfile.ZipFile(place / "mnist-vae.zip") as packed:
        packed.extractall(tmp_path / "elsewhere")
    _, params = jaxvae.load(tmp_path / "elsewhere" / "mnist-vae")
    assert_same(params, open_run(place / "runs" / "mnist-vae").params)
    card = (tmp_path / "elsewhere" / "mnist-vae" / "README.md").read_text()
    assert 'license: "apache-2.0"' in card
    assert "python -m experiments.release --only mnist-vae --epochs 1" in card
    result = json.loads((tmp_path / "elsewhere" / "mnist-vae" / "result.json").read_text())
    assert result["protocol"]["nll_examples"] == 20
    again = tmp_path / "again.zip"
    release.pack(place / "mnist-vae", again)
    assert again.read_bytes() == (place / "mnist-vae.zip").read_bytes()
    with pytest.raises(RunError, match="exists already, and nothing in it is overwritten"):
        release.main(release.Options(folder=place))
    assert "SHA-256" in capsys.readouterr().out


@pytest.mark.slow
def test_an_export_that_is_not_the_run_is_refused(tmp_path):
    from small_runs import commanded

    config = plain.Config(model=plain.Model(networks.Small(width=8), latent=2))
    one = commanded(config, tmp_path, "one")
    other = commanded(replace(config, seed=1), tmp_path, "other")
    with pytest.raises(RunError, match="an array of it differs"):
        release.check(one, jaxvae.export(other, tmp_path / "out"))
