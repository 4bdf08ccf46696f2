"""The factors of sprites in a run's code: the table, its ceilings, what is refused."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.questions import disentangle
from jaxvae.recipes import plain
from jaxvae.run import RunError, launch
from jaxvae.run.data import loading, protocols, sprites
from jaxvae.run.options.images import Images
from jaxvae.run.options.networks import Small
from jaxvae.run.options.objective import Objective
from jaxvae.run.options.prices import TotalCorrelation
from jaxvae.run.settings import Evaluation

PARTS = {"train": 300, "valid": 50, "test": 600}


class Rendered:
    """Renders the pictures that are asked for, in place of all."""

    def __getitem__(self, rows):
        drawn = jax.jit(jax.vmap(lambda of: jnp.packbits(sprites.picture(*of, side=32).reshape(-1))))
        return np.asarray(drawn(jnp.asarray(sprites.factors_of(rows))))


@pytest.fixture
def few_sprites(monkeypatch):
    def rows(part):
        begin = list(PARTS).index(part)
        return np.random.default_rng(begin).permutation(sprites.COUNT)[: PARTS[part]]

    monkeypatch.setattr(sprites, "rendered", lambda name, folder: Rendered())
    for module in (loading, protocols, disentangle):
        monkeypatch.setattr(module, "sprite_rows", rows)
    with jax.numpy_dtype_promotion("standard"):
        yield


def run_of(place, **options):
    made = launch.options_of(plain.KIND)(
        epochs=2, batch_size=50, evaluation=Evaluation(num_samples=0), name="run", runs=place, **options
    )
    assert launch.run(plain.KIND, made) == 0
    return place / "run"


@pytest.mark.slow
def test_each_metric_stands_beside_a_perfect_and_a_random_code(tmp_path, few_sprites):
    folder = run_of(
        tmp_path,
        data=Images(name="sprites", folder=tmp_path),
        model=plain.Model(Small(width=16), latent=4),
        objective=Objective(price=TotalCorrelation(beta=3.0)),
    )
    assert json.loads((folder / "result.json").read_text())["protocol"]["binarisation"] == "rendered so"
    disentangle.main(disentangle.Options(folder, votes=200, line_examples=300, tree_examples=60))
    found = json.loads((folder / "disentangle.json").read_text())
    for name in disentangle.WORDS:
        assert 0 <= found[name] <= 1, name
    assert found["factor_vae_perfect_code"] == found["beta_vae_perfect_code"] == 1
    assert found["mig_perfect_code"] > 0.7 > 0.2 > found["mig_random_code"]
    assert set(found["best_dimensions"]) == set(sprites.FACTORS)
    assert (folder / "figures" / "factors.png").stat().st_size > 5000


@pytest.mark.slow
def test_data_without_factors_is_refused(tmp_path):
    with jax.numpy_dtype_promotion("standard"):
        folder = run_of(tmp_path, model=plain.Model(Small(width=16), latent=2))
        with pytest.raises(RunError, match="trained on digits, whose factors are not known"):
            disentangle.main(disentangle.Options(folder))
