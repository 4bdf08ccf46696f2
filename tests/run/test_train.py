"""The main job: training by command, its files, its numbers, and what it refuses."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rows import first

import jaxvae
from jaxvae.recipes import plain
from jaxvae.run import RunError, launch, measures
from jaxvae.run.command import command as as_command
from jaxvae.run.data import Dataset, Split
from jaxvae.run.folder.opening import open_run
from jaxvae.run.held_out import as_seen, even_rows, prepared
from jaxvae.run.monitor import mean_bound
from jaxvae.run.options import bounds, likelihoods, networks, prices
from jaxvae.run.options.images import Images
from jaxvae.run.recipe import Asked, about
from jaxvae.run.settings import Checkpoints, Evaluation, Optimizer
from jaxvae.run.start import first_progress
from jaxvae.run.train import Diverged, check_finite
from jaxvae.training import dynamic_binarization, grey

REPOSITORY = Path(__file__).parents[2]
Options = launch.options_of(plain.KIND)
QUICK = Options(epochs=2, evaluation=Evaluation(num_samples=0), checkpoints=Checkpoints(seconds=60), name="run")


def main(options):
    return launch.run(plain.KIND, options)


def data_of(config):
    return plain.KIND.data(config)


@pytest.fixture(autouse=True)
def _standard_promotion():
    """Optax itself mixes Python floats with integer counts, which strict promotion forbids."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "experiments.train", *arguments],
        cwd=REPOSITORY,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The main job in a process of its own: two epochs on the embedded digits."""
    runs = tmp_path_factory.mktemp("runs")
    done = command(
        "--epochs", "2", "--model.latent", "2", "--evaluation.num-samples", "10", "--runs", str(runs), "--name", "run"
    )
    assert done.returncode == 0, done.stderr
    return runs / "run", done


def test_the_main_job_leaves_its_files(trained):
    folder, done = trained
    present = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    figures = {f"figures/{name}.png" for name in ("reconstructions", "samples", "curves", "latent", "manifold")}
    assert {"config.json", "metrics.jsonl", "result.json", "report.html", "checkpoints"} | figures <= present
    assert any(path.name.startswith("events") for path in (folder / "tensorboard").iterdir())
    assert "training: 100%" in done.stderr
    assert "ELBO" in done.stdout


def test_the_result_carries_its_protocol(trained):
    folder, _ = trained
    result = json.loads((folder / "result.json").read_text())
    named = {"dataset", "split", "binarisation", "bound", "k", "nll_k", "seeds", "epochs", "device", "wall_seconds"}
    assert named | {"examples_per_second"} <= set(result["protocol"])
    assert result["test_elbo_standard_error"] > 0


def test_the_test_elbo_is_the_mean_over_all_test_images(trained):
    folder, _ = trained
    run = open_run(folder)
    xs = as_seen(run.recipe, data_of(run.config).test)
    keys = jax.random.split(jax.random.key(2), len(xs))
    expected = [float(jaxvae.elbo(run.model, key, run.params, x)) for key, x in zip(keys[:20], xs[:20], strict=True)]
    bounds = jaxvae.batched_elbo(run.model, jax.random.key(2), run.params, xs)
    result = json.loads((folder / "result.json").read_text())
    assert len(xs) == 300
    assert float(bounds.mean()) == pytest.approx(result["test_elbo"], abs=5 * result["test_elbo_standard_error"])
    assert np.mean(expected) == pytest.approx(result["test_elbo"], abs=5 * np.std(expected, ddof=1) / np.sqrt(20))


def test_a_part_of_the_test_set_is_from_all_over_it():
    np.testing.assert_array_equal(even_rows(10, 4), [0, 3, 6, 9])
    np.testing.assert_array_equal(even_rows(3, 10), [0, 1, 2])


@pytest.mark.slow
def test_log_p_of_a_part_is_that_of_the_same_images(trained):
    run = open_run(trained[0])
    dataset = data_of(run.config)
    found = run.recipe.measure(run.params, dataset.test, Asked(2000, 30))["test_nll"]
    xs = as_seen(run.recipe, dataset.test)[even_rows(300, 30)]
    again = -measures.log_likelihoods(run.model, jax.random.key(9), run.params, xs, num_samples=2000)
    # one image differs from another by tens of nats, two estimates of one image by hundredths
    assert found.values.mean() == pytest.approx(again.mean(), abs=0.1)
    assert (found.unit, dict(found.said)) == ("nats", {"nll_k": 2000, "nll_examples": 30})


def test_load_gives_back_model_and_params(trained):
    folder, _ = trained
    model, params = jaxvae.load(folder)
    row = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    valid = as_seen(open_run(folder).recipe, data_of(plain.Config()).valid)
    again = mean_bound(partial(jaxvae.elbo, model), jax.random.key(1), params, valid)
    assert float(again) == pytest.approx(row["valid_bound"], rel=1e-5)


def test_nothing_in_a_run_folder_is_a_pickle(trained):
    folder, _ = trained
    for path in folder.rglob("*"):
        if path.is_file():
            assert path.suffix not in (".pkl", ".pickle", ".pt", ".py"), path
            assert not path.read_bytes().startswith((b"\x80\x03", b"\x80\x04", b"\x80\x05")), path


def test_bad_input_ends_with_2_and_a_sentence(tmp_path):
    done = command("--model.latnt", "3", "--runs", str(tmp_path))
    assert done.returncode == 2
    assert "--model.latent" in done.stderr
    assert "Traceback" not in done.stderr
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--model.latent", "0"], "must be at least 1"),
        (["--data", "no_such_data"], "no_such_data"),
        (["--resume"], "give --name"),
    ],
)
def test_what_cannot_be_done_ends_with_2_and_a_sentence(arguments, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train", *arguments, "--runs", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        as_command(main, Options, program="train")
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_an_existing_run_is_not_overwritten(trained):
    folder, _ = trained
    before = (folder / "config.json").read_text()
    options = replace(QUICK, runs=folder.parent)
    with pytest.raises(RunError, match="exists already: give --resume"):
        main(options)
    with pytest.raises(RunError, match=r"other values of --optimizer\.lr"):
        main(replace(options, resume=True, optimizer=Optimizer(lr=3.0)))
    assert (folder / "config.json").read_text() == before


def test_a_bernoulli_refuses_grey_pixels(tmp_path):
    with pytest.raises(RunError, match="digits has grey pixels"):
        main(replace(QUICK, runs=tmp_path, data=Images(binarize="none")))


def test_a_batch_that_the_data_does_not_fill_is_refused(tmp_path):
    with pytest.raises(RunError, match="1297 training examples do not fill a batch"):
        main(replace(QUICK, runs=tmp_path, batch_size=2000))
    assert not any(tmp_path.iterdir())


def test_a_warm_up_longer_than_the_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="not shorter than the run of 24 steps"):
        main(replace(QUICK, runs=tmp_path, optimizer=Optimizer(warmup_steps=24)))
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("blown_up_at", "sentence"),
    first(1, [(30, "step 32 is not finite: log_likelihood is nan"), (47, "the update of step 48")]),
)
def test_divergence_names_the_step_and_the_term_and_keeps_the_last_good_checkpoint(
    blown_up_at, sentence, tmp_path, monkeypatch, capsys
):
    def optimizer_that_blows_up(settings, num_steps):
        return optax.sgd(lambda step: jnp.where(step == blown_up_at, jnp.inf, 1e-3))

    monkeypatch.setattr(Optimizer, "transformation", optimizer_that_blows_up)
    assert main(replace(QUICK, runs=tmp_path, epochs=5, checkpoints=Checkpoints(seconds=0))) == 1
    message = capsys.readouterr().err
    assert f"error: {sentence}" in message
    assert "last good checkpoint" in message
    run = open_run(tmp_path / "run")
    assert run.step == blown_up_at // 12 * 12  # an epoch has twelve steps, and each was saved
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(run.params))


def test_the_first_term_that_is_not_finite_is_named():
    metrics = {
        "bound": np.array([1.0, np.nan, np.nan]),
        "kl": np.array([1.0, np.inf, np.nan]),
        "gradient_norm": np.array([1.0, 1.0, np.nan]),
    }
    with pytest.raises(Diverged, match="step 12 is not finite: kl is inf"):
        check_finite(metrics, first_step=10)
    check_finite({"bound": np.zeros((2, 3))}, first_step=0)


@pytest.mark.slow
def test_seeds_trained_together_are_those_trained_alone(tmp_path):
    both = replace(QUICK, runs=tmp_path, num_seeds=2, seed=3)
    assert main(replace(both, name="both")) == 0
    assert main(replace(both, name="alone", num_seeds=1, seed=4)) == 0
    result = json.loads((tmp_path / "both" / "result.json").read_text())
    assert len(result["test_elbo_of_each_seed"]) == 2
    spread = np.std(result["test_elbo_of_each_seed"], ddof=1) / np.sqrt(2)
    assert result["test_elbo_standard_error"] == pytest.approx(spread)
    together, alone = jaxvae.load(tmp_path / "both", seed=1)[1], jaxvae.load(tmp_path / "alone")[1]
    for left, right in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(left, right, atol=2e-4)
    with pytest.raises(RunError, match="there is no seed 2"):
        jaxvae.load(tmp_path / "both", seed=2)


LIKELIHOODS = [
    (likelihoods.GaussianShared(),),
    (likelihoods.ContinuousBernoulli(),),
    (likelihoods.Gaussian(),),
    (likelihoods.GaussianPerPixel(),),
    (likelihoods.Structured(),),
    (likelihoods.Laplace(),),
    (likelihoods.StudentT(),),
    (likelihoods.Categorical(),),
    (likelihoods.BetaBinomial(),),
    (likelihoods.LogisticMixture(components=3),),
    (likelihoods.Pixelcnn(layers=1),),
]


@pytest.mark.parametrize("likelihood", first(1, LIKELIHOODS), ids=str)
def test_every_likelihood_trains(likelihood, tmp_path):
    options = replace(QUICK, runs=tmp_path, model=plain.Model(likelihood=likelihood), optimizer=Optimizer(lr=1e-4))
    assert main(replace(options, epochs=1)) == 0
    assert np.isfinite(json.loads((tmp_path / "run" / "result.json").read_text())["test_elbo"])


@pytest.mark.slow
def test_convolutions_warm_up_average_and_mean_bias_train_together(tmp_path):
    images = np.asarray(jax.random.randint(jax.random.key(0), (60, 6, 5), 0, 256), np.uint8)
    np.save(tmp_path / "mine.npy", images)
    options = replace(
        QUICK,
        batch_size=10,
        data=Images(name=str(tmp_path / "mine.npy")),
        runs=tmp_path,
        model=plain.Model(networks.Conv(), 5, mean_bias=True),
        objective=plain.Objective(bounds.Iwae(), 2, price=prices.Weight(warmup_epochs=1)),
        optimizer=Optimizer(clip=1.0, average=0.9, schedule="cosine", warmup_steps=3),
    )
    assert main(options) == 0
    first = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    # The warm-up weighs the loss below the reported bound: -loss = log_likelihood - beta kl > bound.
    assert -first["train_loss"] > first["train_bound"]


def test_the_mean_bias_starts_the_decoder_at_the_mean_image():
    config = plain.Config(model=plain.Model(mean_bias=True))
    mean = np.linspace(0.1, 0.9, 64).reshape(8, 8, 1)
    part = Split(np.tile(mean[None], (3, 1, 1, 1)).astype(np.float32))
    recipe = plain.recipe(config, about(Dataset("own", "all", part, None, part)))
    state = first_progress(recipe, config.course(), 1, part).state
    bias = state.params["decoder"]["params"]["heads"]["logits"]["bias"]
    np.testing.assert_allclose(jax.nn.sigmoid(bias), mean.ravel(), rtol=1e-5)


def test_users_own_arrays_train(tmp_path):
    images = np.asarray(jax.random.randint(jax.random.key(0), (60, 6, 5), 0, 256), np.uint8)
    np.save(tmp_path / "mine.npy", images)
    options = replace(QUICK, runs=tmp_path / "runs", data=Images(str(tmp_path / "mine.npy")), batch_size=10)
    assert main(options) == 0
    model, params = jaxvae.load(tmp_path / "runs" / "run")
    assert model.sample(jax.random.key(0), params).shape == (6, 5, 1)


@pytest.mark.parametrize("damage", ["no config", "no checkpoint", "cut checkpoint"])
def test_a_damaged_run_is_refused_with_a_sentence(damage, trained, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(trained[0], folder)
    if damage == "no config":
        (folder / "config.json").unlink()
    elif damage == "no checkpoint":
        shutil.rmtree(folder / "checkpoints")
    else:
        for path in (folder / "checkpoints").rglob("*"):
            if path.is_file():
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(RunError, match=str(folder)):
        jaxvae.load(folder)


def test_dynamic_binarisation_of_the_test_set_is_the_same_at_every_evaluation():
    test = data_of(plain.Config()).test.examples
    first, second = prepared(dynamic_binarization, test), prepared(dynamic_binarization, test)
    np.testing.assert_array_equal(first, second)
    assert set(np.unique(first)) == {0.0, 1.0}
    as_stored = prepared(grey, test)
    error = np.sqrt(np.sum(np.asarray(as_stored) * (1 - np.asarray(as_stored)))) / as_stored.size
    assert float(jnp.mean(first) - jnp.mean(as_stored)) == pytest.approx(0, abs=float(5 * error))
