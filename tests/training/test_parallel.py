"""Several devices give the numbers of one. Adam would hide a wrong scale of the gradient, so the steps are SGD's."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

import jaxvae
from jaxvae import losses, networks, training
from jaxvae.bounds import average, importance_weighted, iwae_bound
from jaxvae.distributions import Bernoulli, Normal
from jaxvae.model import standard_normal, vae
from jaxvae.models import linear
from jaxvae.questions.parts.examined import each_of
from jaxvae.recipes import plain
from jaxvae.run import RunError, launch
from jaxvae.run.folder import config_file
from jaxvae.training import parallel

ROOT = Path(__file__).parents[2]
STEPS, BATCH = 20, 16
OPTIONS = launch.options_of(plain.KIND)
EIGHT = os.environ | {
    "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
    "JAX_PLATFORMS": "cpu",
    "PYTHONPATH": str(ROOT),
}


def run_on(devices, precision):
    """The params and the metrics after twenty steps of SGD over binarised noise."""
    with jax.enable_x64(precision == "float64"):
        model = vae(
            encoder=networks.mlp((8,), Normal.parameters((3,))),
            decoder=networks.mlp((8,), Bernoulli.parameters((12,))),
            prior=standard_normal((3,)),
        )
        optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.05, momentum=0.9))
        loss = losses.negative_bound(model, importance_weighted, num_samples=3)
        data = jnp.asarray(np.random.default_rng(0).uniform(size=(BATCH * STEPS + 5, 12)), precision)
        params = jax.tree.map(lambda leaf: leaf.astype(precision), model.init(jax.random.key(0), data[0]))
        state, key = training.start(params, optimizer), jax.random.key(1)

        def prepare(key, x):
            return jax.random.bernoulli(key, x).astype(x.dtype)

        if devices is None:
            step = training.make_step(loss, optimizer)
            run = jax.jit(partial(training.steps, step=step, prepare=prepare, batch_size=BATCH, length=STEPS))
            state, metrics = run(state, key, data)
        else:
            step = training.make_step(loss, optimizer, shared=parallel.SHARED)
            run = parallel.steps(devices, step=step, prepare=prepare, batch_size=BATCH, length=STEPS)
            state, metrics = run(*parallel.copied((state,), devices), key, parallel.copied(data, devices))
            for leaf in jax.tree.leaves((state, metrics)):
                np.testing.assert_array_equal(leaf, np.broadcast_to(np.asarray(leaf)[:1], leaf.shape))
            state, metrics = parallel.first((state, metrics))
        return np.asarray(ravel_pytree(state.params)[0]), {name: np.asarray(value) for name, value in metrics.items()}


def streamed_on(devices):
    """Whether batches from a stream make the same bits as the data on every device, and what each example is worth."""
    model, optimizer = linear.linear_vae(latent=2), optax.sgd(0.01)
    step = training.make_step(losses.negative_bound(model, average), optimizer, shared=parallel.SHARED)
    data, key = np.random.default_rng(0).normal(size=(5 * BATCH, 3)).astype(np.float32), jax.random.key(1)
    state = training.start(model.init(jax.random.key(0), data[0]), optimizer)
    settings = {"step": step, "prepare": training.grey, "batch_size": BATCH}
    held, _ = parallel.steps(devices, **settings)(
        *parallel.copied((state,), devices), key, parallel.copied(data, devices)
    )
    rows = np.asarray(training.visits(key, state.step, len(data), batch_size=BATCH))
    batches = parallel.placed(data[parallel.dealt(rows.T, devices).swapaxes(1, 2)], devices)
    streamed, _ = parallel.streamed(devices, **settings)(*parallel.copied((state,), devices), key, batches)
    parallel.copied(parallel.first(streamed), devices)  # from one device alone to all again, as an evaluation does
    same = all(np.array_equal(*leaves) for leaves in zip(*map(jax.tree.leaves, (held, streamed)), strict=True))
    bound = partial(iwae_bound, num_samples=3)
    of_batch = parallel.over_examples(lambda key, params, x: bound(model, key, params, x), devices)
    keys = jax.random.split(key, BATCH)
    shared = of_batch(keys, parallel.copied(state.params, devices), data[:BATCH])
    alone = jax.jit(jax.vmap(partial(bound, model), (0, None, 0)))(keys, state.params, data[:BATCH])
    each = each_of(lambda key, x: bound(model, key, state.params, x), key, data[: BATCH + 3], "on all devices")
    expected = jax.jit(jax.vmap(lambda key, x: bound(model, key, state.params, x)))(
        jax.random.split(key, BATCH + 3), data[: BATCH + 3]
    )
    differences = [float(np.abs(found - right).max()) for found, right in ((shared, alone), (each, expected))]
    return same, differences, list(shared.shape)


def free_bits_on(devices):
    """The params after steps whose threshold lies between the divergences of the halves of every batch."""
    model, optimizer = linear.linear_vae(latent=2), optax.sgd(0.05)
    data = jnp.tile(jnp.array([[3.0, 3.0, 3.0], [0.0, 0.0, 0.0]]), (BATCH, 1))
    state = training.start(model.init(jax.random.key(0), data[0]), optimizer)
    shared = losses.ALONE if devices is None else parallel.SHARED
    loss = losses.negative_elbo(model, losses.free_bits(1.0), shared=shared)
    settings = {
        "step": training.make_step(loss, optimizer, shared=shared),
        "prepare": training.grey,
        "batch_size": BATCH,
    }
    if devices is None:
        state, metrics = jax.jit(partial(training.steps, **settings))(state, jax.random.key(1), data)
    else:
        run = parallel.steps(devices, **settings)
        state, metrics = run(*parallel.copied((state,), devices), jax.random.key(1), parallel.copied(data, devices))
        state, metrics = parallel.first((state, metrics))
    return np.asarray(ravel_pytree(state.params)[0]), np.asarray(metrics["loss"])


def main():
    """In a process of its own: 1, 2, 4 and 8 devices against the plain scan, as the largest relative differences."""
    found = {"streamed 8": streamed_on(jax.devices())}
    alone, shared = free_bits_on(None), free_bits_on(jax.devices())
    found["free bits 8"] = [float(np.abs(one - other).max()) for one, other in zip(alone, shared, strict=True)]
    for precision in ("float32", "float64"):
        params, metrics = run_on(None, precision)
        for count in (2, 8):
            shared, reported = run_on(jax.devices()[:count], precision)
            differences = [np.max(np.abs(reported[name] - metrics[name]) / np.abs(metrics[name])) for name in metrics]
            differences.append(np.linalg.norm(shared - params) / np.linalg.norm(params))
            found[f"{precision} {count}"] = float(max(differences))
        found[f"{precision} moved"] = float(np.linalg.norm(params))
    print(json.dumps(found))


@pytest.fixture(scope="module")
def differences():
    """Eight devices, made of one processor."""
    done = subprocess.run([sys.executable, __file__], env=EIGHT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("devices", [2, 8])
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("float64", 1e-10)])
def test_the_numbers_do_not_depend_on_the_devices(differences, devices, precision, tolerance):
    assert differences[f"{precision} {devices}"] < tolerance


def test_a_stream_and_an_evaluation_are_shared(differences):
    same_bits, of_bounds, shape = differences["streamed 8"]
    assert same_bits
    assert max(of_bounds) < 1e-5
    assert shape == [BATCH]


def test_free_bits_look_at_the_mean_over_all_devices(differences):
    of_params, of_loss = differences["free bits 8"]
    assert of_params < 1e-5
    assert of_loss < 1e-4


def test_a_batch_that_the_devices_do_not_divide_is_refused():
    with pytest.raises(ValueError, match=r"3 devices do not divide a batch of 16: .* a multiple of 3, 15 for instance"):
        parallel.steps(jax.devices() * 3, step=None, prepare=training.grey, batch_size=16)


@pytest.mark.slow
def test_the_command_shares_its_batches_and_trains_the_same_model(tmp_path):
    """Adam's first steps are signs, which rounding can turn: the bounds agree, not the bits."""
    command = [
        sys.executable,
        "-m",
        "experiments.train",
        "--epochs",
        "2",
        "--batch-size",
        "96",
        "--runs",
        str(tmp_path),
    ]
    command += ["--evaluation.num-samples", "0"]
    bounds = []
    for count in ("1", "all"):
        done = subprocess.run(
            [*command, "--devices", count, "--name", count], env=EIGHT, cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        result = json.loads((tmp_path / count / "result.json").read_text())
        assert result["protocol"]["devices"] == (8 if count == "all" else 1)
        rows = (tmp_path / count / "metrics.jsonl").read_text().splitlines()
        bounds.append([json.loads(row)["train_bound"] for row in rows])
        _, params = jaxvae.load(tmp_path / count)  # in this process, which has one device
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))
    np.testing.assert_allclose(bounds[1], bounds[0], rtol=1e-3)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"devices": 3}, "--batch-size 100 must be a multiple of the 3 devices that share it: 99 for instance"),
        (
            {"devices": 2, "objective": plain.Objective(encoder_steps=4)},
            "multiple of the 2 devices that share it, times --objective.encoder-steps 4: 96 for instance",
        ),
        ({"devices": 2, "num_seeds": 2}, "--num-seeds 2 trains its seeds on one device"),
    ],
)
def test_what_devices_cannot_share_is_refused(options, sentence, tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "devices", lambda: jax.local_devices() * 3)
    with pytest.raises(RunError, match=sentence):
        launch.run(plain.KIND, OPTIONS(**options, runs=tmp_path))
    assert not any(tmp_path.iterdir())


def test_a_run_that_goes_on_is_refused_by_its_own_batch_and_not_by_the_options(tmp_path, monkeypatch):
    place = tmp_path / "run"
    place.mkdir()
    config_file.write(plain.KIND, plain.Config(batch_size=99), place / "config.json", command="")
    monkeypatch.setattr(jax, "devices", lambda: jax.local_devices() * 2)
    with pytest.raises(RunError, match="--batch-size 99 must be a multiple of the 2 devices"):
        launch.run(plain.KIND, OPTIONS(devices=2, name="run", resume=True, runs=tmp_path))


def test_devices_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(RunError, match="--devices 9 must be between 1 and"):
        launch.run(plain.KIND, OPTIONS(devices=9, runs=tmp_path))
    assert not any(tmp_path.iterdir())


if __name__ == "__main__":
    main()
