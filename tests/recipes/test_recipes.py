"""Every kind of VAE trains, is killed and goes on, is streamed, shared and loaded as every other is.

A recipe has a row here, its smallest configuration. What is asked of its runs afterwards is in `tests/questions`.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_runs import STEPS, assert_same, commanded, few, kind_of, short, stopping_at, trained

import jaxvae
from jaxvae.models import given
from jaxvae.recipes import avb, class_conditional, few_labels, ladder, plain, quadrants, sequence, table, vq
from jaxvae.run import kinds
from jaxvae.run.folder import config_file
from jaxvae.run.folder.opening import open_run
from jaxvae.run.held_out import as_seen
from jaxvae.run.options import likelihoods, networks
from jaxvae.run.recipe import Plan

ROOT = Path(__file__).parents[2]
SOURCE = Path(os.environ.get("JAXVAE_DATA_SOURCE") or ROOT.parent / "shared" / "data")
SHARED = likelihoods.GaussianShared()
SMALL, MAPS = networks.Small(width=16), networks.Conv(maps=(4, 8))
ROWS = {
    "plain": plain.Config(model=plain.Model(SMALL, latent=2)),
    "class-conditional": class_conditional.Config(model=class_conditional.Model(SMALL, latent=3)),
    "class-conditional, convolutions": class_conditional.Config(model=class_conditional.Model(MAPS, latent=3)),
    "quadrants": quadrants.Config(model=quadrants.Model(SMALL, latent=3, quadrants=2)),
    "quadrants, convolutions": quadrants.Config(model=quadrants.Model(MAPS, latent=3, likelihood=SHARED)),
    "quadrants, deterministic": quadrants.Config(model=quadrants.Model(SMALL, latent=3, deterministic=True)),
    "ladder": ladder.Config(model=ladder.Model(SMALL, latent=4, layers=3)),
    "vq": vq.Config(model=vq.Model(MAPS, latent=3, codes=6, likelihood=SHARED)),
    "avb": avb.Config(
        model=avb.Model(SMALL, latent=3, noises=4), discriminator=avb.Discriminator(width=8, depth=1), num_samples=2
    ),
    "avb, from the prior": avb.Config(model=avb.Model(SMALL, latent=2, noises=4), contrast="prior"),
    "few-labels": few_labels.Config(model=few_labels.Model(labels=10, latent=3, width=16, repeats=2)),
    "table": table.Config(
        model=table.Model(latent=2, hidden=(8,)), imputation=table.Imputation(num_samples=5, samples=20)
    ),
    "sequence": sequence.Config(
        data=sequence.Chorales(source=SOURCE),
        model=sequence.Model(sequence.DeepMarkov(hidden=8, width=8), latent=3, length=6),
    ),
    "sequence, recurrent": sequence.Config(
        data=sequence.Chorales(source=SOURCE),
        model=sequence.Model(sequence.VariationalRecurrent(width=8), latent=3, length=6),
    ),
}
OF_IMAGES = [name for name in ROWS if not name.startswith(("few-labels", "sequence", "table"))]


def quick(*names):
    """Rows, of which all but these are slow ones."""
    return [pytest.param(name, marks=() if name in names else pytest.mark.slow) for name in ROWS]


@pytest.fixture(autouse=True)
def _standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(autouse=True)
def _data_at_hand(request):
    name = getattr(request.node, "callspec", None) and request.node.callspec.params.get("name")
    if (name or "").startswith("sequence") and not (SOURCE / "jsb_chorales").is_dir():
        pytest.skip(f"the JSB chorales are not in {SOURCE}")


def test_every_kind_has_a_row():
    assert {kind_of(config).name for config in ROWS.values()} == set(kinds.names())


def of(trained):
    """What a run is, bit for bit."""
    return jax.device_get((trained.state.params, trained.state.extra, trained.state.optimizer, trained.params))


@cache
def alone(name):
    found = trained(short(ROWS[name]))
    assert int(found.state.step) == STEPS
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(of(found)))
    return found


@pytest.mark.parametrize("name", quick("vq"))
def test_a_run_that_is_stopped_and_goes_on_is_the_run_that_is_not(name, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        stopping_at(STEPS // 2, patched)
        stopped = trained(short(ROWS[name]), tmp_path)
    assert (stopped.stopped_by, int(stopped.state.step)) == (15, STEPS // 2)
    rest = trained(short(ROWS[name]), tmp_path)
    assert [row["step"] for row in rest.rows] == [STEPS]
    assert_same(of(rest), of(alone(name)))


@pytest.mark.parametrize("name", quick("plain"))
def test_batches_from_a_stream_are_the_data_on_the_device(name):
    config = short(ROWS[name])
    streamed = trained(replace(config, data=replace(config.data, stream="yes")))
    assert_same(of(streamed), of(alone(name)))


@pytest.mark.parametrize("name", quick("plain"))
@pytest.mark.parametrize("backend", ["cpu", pytest.param("gpu", marks=pytest.mark.slow)])
def test_seeds_together_are_those_trained_alone(name, backend, monkeypatch):
    """In turn, as on a CPU, and in one program by `vmap`, as on an accelerator."""
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    both = trained(short(ROWS[name], num_seeds=2), optimizer=optax.sgd(1e-3))
    for row in range(2):
        of_seed = jax.tree.map(lambda leaf, row=row: leaf[row], of(both))
        expected = trained(short(ROWS[name], seed=row), optimizer=optax.sgd(1e-3))
        assert_same(of_seed, of(expected), 0.0 if backend == "cpu" else 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_two_devices_make_the_run_of_one(name, tmp_path):
    """Through the command, from data to report: the numbers agree; of Adam's steps rounding can turn the sign."""
    config_file.write(kind_of(ROWS[name]), replace(ROWS[name], epochs=2), tmp_path / "config.json", command="")
    script = (
        "import sys; from pathlib import Path; sys.path.insert(0, 'tests')\n"
        "from small_runs import commanded; from jaxvae.run.folder import config_file\n"
        "place = Path(sys.argv[1]); config = config_file.read(place / 'config.json')[1]\n"
        "for count in (1, 2): commanded(config, place, name=str(count), devices=count)\n"
    )
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = open_run(tmp_path / "1"), open_run(tmp_path / "2")
    assert one.config == two.config
    assert jax.tree.map(jnp.shape, one.params) == jax.tree.map(jnp.shape, two.params)
    both = [json.loads((tmp_path / count / "result.json").read_text()) for count in "12"]
    assert [result["protocol"]["devices"] for result in both] == [1, 2]
    for number in both[0]["units"]:
        assert both[0][number] == pytest.approx(both[1][number], rel=1e-3, abs=1e-3), number
    rows = [[json.loads(line) for line in (tmp_path / count / "metrics.jsonl").open()] for count in "12"]
    assert len(rows[0]) == 2
    for left, right in zip(*rows, strict=True):
        assert left == pytest.approx(right, rel=1e-3, abs=1e-3)
    assert abs(rows[0][1]["train_loss"] - rows[0][0]["train_loss"]) > 10 * 1e-3 * abs(rows[0][0]["train_loss"])


# --- through the command


@pytest.fixture(scope="module")
def run_of(tmp_path_factory):
    """Makes a run of a row through the command, with its report, when a test first asks for it."""
    place = tmp_path_factory.mktemp("runs")
    return lambda name: place / name if (place / name).exists() else commanded(ROWS[name], place, name)


class Images(HTMLParser):
    """How many figures a page has."""

    count = 0

    def handle_starttag(self, tag, attributes):
        self.count += tag == "figure"


@pytest.mark.parametrize("name", quick("plain"))
def test_a_run_has_its_numbers_and_a_report_with_all_its_figures(name, run_of):
    folder = run_of(name)
    result = json.loads((folder / "result.json").read_text(), parse_constant=pytest.fail)
    assert result["units"]
    for number in result["units"]:
        assert np.isfinite(result[number]), number
    protocol = result["protocol"]
    assert {"dataset", "split", "seeds", "epochs", "steps", "device", "wall_seconds", "test_examples"} <= set(protocol)
    assert protocol["steps"] == open_run(folder).step
    figures = list((folder / "figures").glob("*.png"))
    assert len(figures) >= 3
    assert min(figure.stat().st_size for figure in figures) > 5_000
    page = Images()
    page.feed((folder / "report.html").read_text())
    assert page.count == len(figures)


@pytest.mark.parametrize("name", quick("plain"))
def test_what_is_loaded_is_the_model_that_was_measured(name, run_of):
    run = open_run(run_of(name))
    model, params = jaxvae.load(run_of(name))
    assert_same(params, run.params)
    assert run.kind is kind_of(ROWS[name])
    dataset = run.kind.data(run.config)
    xs = as_seen(run.recipe, few(dataset).test)
    one = jax.tree.map(lambda leaf: leaf[0], xs)
    assert np.isfinite(run.recipe.bound(jax.random.key(0), params, one))
    assert np.isfinite(jaxvae.elbo(model, jax.random.key(0), params, one))


@pytest.mark.parametrize("name", ROWS)
def test_a_run_can_be_opened_without_its_data(name):
    """Its params have the shapes that they had, by `init` alone, and its loss and step can be traced."""
    kind, config = kind_of(ROWS[name]), ROWS[name]
    recipe = kind.recipe(config, jaxvae.run.recipe.about(kind.data(config)))
    params, extra = jax.eval_shape(recipe.init, jax.random.key(0))
    whole = jax.eval_shape(recipe.whole, params, extra)
    assert jax.tree.leaves(whole)
    assert recipe.protocol
    assert callable(recipe.loss(Plan(10, 5)))


# --- what is a kind's own


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in OF_IMAGES if name != "plain"])
def test_a_kind_says_what_it_is_beside_its_numbers(name, run_of):
    result = json.loads((run_of(name) / "result.json").read_text())
    assert result["protocol"]["kind"] == name.partition(",")[0]
    assert ("given" in result["protocol"]) == (name.partition(",")[0] not in ("ladder", "vq", "avb"))
    assert ("test_nll" in result) == (name.partition(",")[0] not in ("vq", "avb"))
    figures = {path.stem for path in (run_of(name) / "figures").glob("*.png")}
    assert {"reconstructions", "samples", "latent", "curves"} <= figures


@pytest.mark.slow
def test_what_a_discriminator_makes_of_the_elbo_is_nowhere_called_a_bound(run_of):
    folder = run_of("avb")
    result = json.loads((folder / "result.json").read_text())
    assert {"test_estimate", "test_estimated_kl", "test_log_likelihood"} == set(result["units"])
    assert "no bound" in result["warnings"][0]
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").open()]
    assert {"train_estimate", "train_estimated_kl", "train_discriminator_loss"} <= set(rows[-1])
    assert any(name in rows[-1] for name in ("valid_estimate", "test_estimate"))
    names = {*result, *result["protocol"], *(name for row in rows for name in row)}
    assert not [name for name in names if "bound" in name or "elbo" in name or "nll" in name]
    captions = json.loads((folder / "figures" / "captions.json").read_text())
    assert "no bound" in captions["curves.png"]


@pytest.mark.slow
def test_a_class_is_given_and_a_table_is_loaded(run_of):
    model, params = jaxvae.load(run_of("class-conditional"))
    drawn = given(model, jax.nn.one_hot(3, 10)).sample(jax.random.key(1), params)
    assert drawn.shape == model.sample(jax.random.key(1), params).shape == (8, 8, 1)
    assert jaxvae.load(run_of("vq"))[1]["codebook"].shape == (6, 3)
