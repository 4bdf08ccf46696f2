"""The skeletons of CONTRIBUTING run: both kinds train, are stopped, resume bit for bit, and load."""

import importlib.util
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy

import jaxvae
from jaxvae.distributions import Normal, kl
from jaxvae.models import linear
from jaxvae.run import launch
from jaxvae.run.folder.opening import open_run
from jaxvae.run.settings import Checkpoints, Evaluation
from jaxvae.training import make_step, start

BLOCKS = re.findall(r"```python\n(.*?)```", (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(), re.DOTALL)
DENOISING, RING, REDUCTION, REGULARISER, GUMBEL = BLOCKS


@pytest.fixture
def imported(tmp_path, monkeypatch):
    """A block of CONTRIBUTING as a module: dataclasses look for their source in a file."""

    def load(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        spec = importlib.util.spec_from_file_location(name, tmp_path / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.mark.parametrize(
    ("name", "text", "x"),
    [
        ("ring", RING, jnp.zeros(2)),
        pytest.param("denoising", DENOISING, jnp.zeros((8, 8, 1)), marks=pytest.mark.slow),
    ],
)
def test_a_skeleton_kind_trains_resumes_and_loads(name, text, x, imported, tmp_path):
    kind = imported(name, text).KIND
    with jax.numpy_dtype_promotion("standard"):
        options = launch.options_of(kind)(
            runs=tmp_path,
            name="whole",
            epochs=2,
            batch_size=100,
            evaluation=Evaluation(num_samples=5, examples=20),
            checkpoints=Checkpoints(seconds=0, keep=100),
        )
        assert launch.run(kind, options) == 0
        whole = open_run(tmp_path / "whole", kind=kind)
        kept = sorted((tmp_path / "whole" / "checkpoints").iterdir(), key=lambda path: int(path.name))
        assert len(kept) > 1
        for file in sorted(kept[-1].rglob("*"), reverse=True):  # as if it had been killed before
            file.unlink() if file.is_file() else file.rmdir()
        kept[-1].rmdir()
        assert launch.run(kind, replace(options, resume=True)) == 0
        again = open_run(tmp_path / "whole", kind=kind)
    jax.tree.map(np.testing.assert_array_equal, again.params, whole.params)
    assert np.isfinite(jaxvae.elbo(again.model, jax.random.key(0), again.params, x))
    result = json.loads((tmp_path / "whole" / "result.json").read_text())
    assert result["protocol"]["kind"] == name
    assert result["units"]["test_elbo"] == "nats"
    assert (tmp_path / "whole" / "report.html").is_file()


def test_a_skeleton_bound_is_what_it_says():
    space = {}
    exec(REDUCTION, space)
    model = linear.linear_vae(latent=2)
    x = jnp.array([0.3, -0.2, 0.5])
    params = model.init(jax.random.key(0), x)
    value = jaxvae.bound(space["median_of_weights"])(model, jax.random.key(1), params, x, num_samples=5)
    weights = jaxvae.bounds.draw_terms(model, jax.random.key(1), params, x, num_samples=5).log_weight
    assert float(value) == pytest.approx(float(np.median(weights)))


def test_a_skeleton_regulariser_pulls_the_mean_of_the_codes_to_zero():
    """By fifty steps with it and without, from an encoder whose codes lie about 2."""
    space = {}
    exec(REGULARISER, space)
    model, optimizer = linear.linear_vae(latent=2), optax.sgd(0.01)
    xs = jax.random.normal(jax.random.key(0), (32, 3))
    params = model.init(jax.random.key(1), xs[0])
    params["encoder"]["center"] = -jnp.linalg.pinv(params["encoder"]["V"]) @ jnp.full(2, 2.0)
    found = []
    for price in (space["mean_at_zero"], None):
        loss = jaxvae.losses.regularised(model, of_posterior=jaxvae.losses.divergence(-1.0), of_aggregate=price)
        step = make_step(loss, optimizer)

        @jax.jit
        def run(state, step=step):
            keys = jax.random.split(jax.random.key(2), 50)
            return jax.lax.scan(lambda state, key: step(state, jax.random.split(key, 32), xs), state, keys)[0]

        state = run(start(params, optimizer))
        found.append(jnp.mean(jax.vmap(lambda x, params=state.params: model.posterior(params, x).mean)(xs), axis=0))
    assert jnp.abs(found[0]).max() < 0.3 * jnp.abs(found[1]).min()


def test_a_skeleton_posterior_is_a_density_and_composes(imported):
    gumbel = imported("gumbel", GUMBEL).Gumbel
    q = gumbel(jnp.array([0.5]), jnp.array([-0.3]))
    z = np.array([0.2])
    expected = scipy.stats.gumbel_r(0.5, np.exp(-0.3)).logpdf(z).sum()
    assert float(q.log_prob(jnp.asarray(z, jnp.float32))) == pytest.approx(expected, rel=1e-5)
    assert float(q.expectation()[0]) == pytest.approx(scipy.stats.gumbel_r(0.5, np.exp(-0.3)).mean(), rel=1e-5)
    assert kl(q, Normal(jnp.zeros(1), jnp.zeros(1)), q.sample(jax.random.key(0))).shape == ()
