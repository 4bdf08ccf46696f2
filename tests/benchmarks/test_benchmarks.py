"""The benchmarks run, and what they compare with is what they say."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, logsumexp
from scipy.stats import bernoulli, norm

from benchmarks import growth, handwritten, handwritten_likelihood, limits, rivals, sweep, workloads
from benchmarks.peers import Peer, PeerFailed
from benchmarks.pictures import binarized_mnist_to_test
from benchmarks.sweep_plot import draw
from benchmarks.timing import in_turns, rate, speed_ratio
from jaxvae import log_likelihood
from jaxvae.bounds import average, importance_weighted
from jaxvae.distributions import Normal
from jaxvae.losses import negative_bound

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_quick_run_writes_every_field(tmp_path):
    record = tmp_path / "throughput.json"
    command = [sys.executable, "-m", "benchmarks.throughput", "--quick", "--only", "W1", "W3", "--json", str(record)]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    found = json.loads(record.read_text())
    assert [row["name"] for row in found["rows"]] == ["W1", "W3 chunk=50"]
    for row in found["rows"]:
        speed = row["images_per_second"]
        assert 0 < speed["lower"] <= speed["median"] <= speed["upper"]
        assert row["gigaflops_per_second"] == pytest.approx(speed["median"] * row["flops_per_image"] / 1e9)
        assert {"products, XLA", "products, NumPy"} <= set(row["others_images_per_second"])
        assert row["share_of_products"]["median"] > 0
        assert row["compile_seconds"] > 0
        assert row["peak_resident_bytes"] > row["program_bytes"] > 0
        assert row["data"] in ("binarised MNIST", "random bits")
        assert row["name"] in finished.stdout
        assert row["flops_per_image_by_xla"] == pytest.approx(row["flops_per_image"], rel=0.1)
        assert 0 < row["gigaflops_per_second"] < row["large_product_gigaflops_per_second"]
        assert row["memory_gigabytes_per_second"] > 0
    assert [set(row["ratios"]) for row in found["rows"]] == [
        {"the scan of jaxvae.fit", "a hand-written scan"},
        {"a hand-written scan"},
    ]
    assert found["machine"]["versions"]["jax"] == jax.__version__


def test_products_of_the_small_network_match_the_closed_count():
    sequence = limits.products(workloads.small_layers(), 128)
    # 784·400 + 400·40 + 20·400 + 400·784 multiplications forward, twice that backward but for the data's gradient
    forward = 784 * 400 + 400 * 40 + 20 * 400 + 400 * 784
    assert limits.flops(sequence) == 128 * 2 * (3 * forward - 784 * 400)
    assert limits.flops(sequence) / 128 == pytest.approx(3.28e6, rel=1e-3)


@pytest.mark.parametrize(
    ("pair", "latent", "reduce", "num_samples", "layers"),
    [
        (workloads.networks.small_pair, 20, average, 1, workloads.small_layers()),
        (workloads.networks.iwae_pair, 50, importance_weighted, 5, workloads.iwae_layers(5)),
    ],
)
def test_products_are_those_of_the_training_step(pair, latent, reduce, num_samples, layers):
    model = workloads.model_of(pair, latent)
    params = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros(workloads.IMAGE))
    loss = negative_bound(model, reduce, num_samples=num_samples)
    gradient = jax.grad(loss, argnums=1, has_aux=True)
    xs = jnp.zeros((3, *workloads.IMAGE))
    program = jax.make_jaxpr(gradient)(jax.random.split(jax.random.key(0), 3), params, (), xs, jnp.zeros((), jnp.int32))
    assert flops_of(program.jaxpr) == limits.flops(limits.products(layers, 3))


def flops_of(jaxpr) -> int:
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            summed = np.prod([equation.invars[0].aval.shape[axis] for axis in contracted])
            total += int(2 * summed * equation.outvars[0].aval.size)
        if equation.primitive.name == "conv_general_dilated":
            kernel, maps = equation.invars[1].aval, equation.params["dimension_numbers"].rhs_spec[0]
            total += 2 * kernel.size // kernel.shape[maps] * equation.outvars[0].aval.size
        for inner in jax.extend.core.jaxprs_in_params(equation.params):
            total += flops_of(inner)
    return total


def test_no_product_is_dropped():
    sequence = limits.products(workloads.small_layers(), 16)
    program, operands = limits.xla_program(sequence)
    assert program.cost_analysis()["flops"] == pytest.approx(limits.flops(sequence), rel=0.01)
    for result, product, (left, right) in zip(program(operands), sequence, operands, strict=True):
        axis_left, axis_right = product.contracted()
        expected = np.tensordot(np.asarray(left, float), np.asarray(right, float), (axis_left, axis_right))
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.slow
def test_handwritten_scan_has_the_loss_of_the_library():
    model = workloads.model_of(workloads.networks.small_pair, 20)
    params = handwritten.init(jax.random.key(0))
    xs = jax.random.bernoulli(jax.random.key(1), 0.2, (6, *workloads.IMAGE)).astype(jnp.float32)
    # One key for each example, and from it one for its only draw.
    keys = jax.random.split(jax.random.key(2), len(xs))
    draws = jax.vmap(lambda k: jax.random.split(k, 1)[0])(keys)
    noise = jax.vmap(lambda k: Normal(jnp.zeros(20), jnp.zeros(20)).sample(k))(draws)
    value_and_gradient = jax.value_and_grad(handwritten.loss, has_aux=True)
    (by_hand, _), gradient_by_hand = value_and_gradient(params, noise, xs.reshape(6, -1))
    loss = negative_bound(model, average)
    ours, gradient = jax.value_and_grad(loss, argnums=1, has_aux=True)(keys, in_library(params), (), xs, jnp.zeros(()))
    np.testing.assert_allclose(ours[0], by_hand, rtol=1e-6)
    assert jax.tree.structure(gradient) == jax.tree.structure(in_library(gradient_by_hand))
    for found, expected in zip(jax.tree.leaves(gradient), jax.tree.leaves(in_library(gradient_by_hand)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def dense(layer: handwritten.Affine) -> dict:
    return {"kernel": layer.weights, "bias": layer.bias}


def in_library(params: handwritten.Params) -> dict:
    encoder = {"mean": dense(params.mean), "log_scale": dense(params.log_scale)}
    decoder = {"logits": dense(params.logits)}
    return {
        "prior": {},
        "encoder": {"params": {"Dense_0": dense(params.encoder_hidden), "heads": encoder}},
        "decoder": {"params": {"Dense_0": dense(params.decoder_hidden), "heads": decoder}},
    }


@pytest.mark.slow
def test_handwritten_log_likelihood_is_that_of_the_library():
    model = workloads.model_of(workloads.networks.iwae_pair, 50)
    params = handwritten_likelihood.init(jax.random.key(0))
    xs = jax.random.bernoulli(jax.random.key(1), 0.2, (3, *workloads.IMAGE)).astype(jnp.float32)
    by_hand = functools.partial(handwritten_likelihood.log_likelihood, num_samples=40, chunk=20)
    ours = functools.partial(log_likelihood, model, num_samples=40, chunk=20)
    keys = jax.random.split(jax.random.key(2), (200, 3))
    found = np.asarray(jax.jit(jax.vmap(jax.vmap(ours, (0, None, 0)), (0, None, None)))(keys, deep(params), xs))
    expected = np.asarray(jax.jit(jax.vmap(by_hand, (0, None, None)))(keys[:, 0], params, xs.reshape(3, -1)))
    error = np.sqrt((found.var(axis=0) + expected.var(axis=0)) / len(keys))
    assert np.all(error < 0.5)  # of some 550 nats
    np.testing.assert_array_less(np.abs(found.mean(axis=0) - expected.mean(axis=0)), 5 * error)


def deep(params: handwritten_likelihood.Params) -> dict:
    def network(hidden, heads):
        layers = {f"Dense_{index}": dense(layer) for index, layer in enumerate(hidden)}
        return {"params": layers | {"heads": {name: dense(layer) for name, layer in heads.items()}}}

    encoder = network(params.encoder, {"mean": params.mean, "log_scale": params.log_scale})
    return {"prior": {}, "encoder": encoder, "decoder": network(params.decoder, {"logits": params.logits})}


def test_ratios_are_taken_turn_by_turn():
    seconds = in_turns({"fast": iter([9.0, 1.0, 2.0, 4.0]).__next__, "slow": iter([9.0, 3.0, 6.0, 12.0]).__next__},
                       repeats=3, title="")  # fmt: skip
    assert seconds == {"fast": [1.0, 2.0, 4.0], "slow": [3.0, 6.0, 12.0]}
    assert speed_ratio(10, seconds["fast"], 20, seconds["slow"]) == pytest.approx((1.5, 1.5, 1.5))
    assert rate(8, seconds["fast"]).median == 4.0


@pytest.mark.parametrize(
    ("pair", "layers"),
    [
        (workloads.networks.conv_pair, workloads.conv_layers()),
        (workloads.networks.residual_pair, workloads.residual_layers()),
    ],
)
def test_convolutions_are_those_of_the_bound(pair, layers):
    model = workloads.model_of(pair, 20)
    params = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros(workloads.IMAGE))
    keys, xs = jax.random.split(jax.random.key(0), 2), jnp.zeros((2, *workloads.IMAGE))
    program = jax.make_jaxpr(negative_bound(model, average))(keys, params, (), xs, jnp.zeros((), jnp.int32))
    assert flops_of(program.jaxpr) == limits.flops(limits.products(layers, 2, training=False))


@pytest.mark.slow
@pytest.mark.parametrize(("script", "network"), [("flax_example.py", "small"), ("numpyro_svi.py", "iwae")])
def test_peers_in_jax_train_by_the_same_protocol(script, network):
    arguments = ["--count", "64", "--network", network, "--num-samples", "2", "--batch-size", "16"]
    with Peer(Path(sys.executable), script, arguments) as peer:
        assert peer.description["images"] == 64
        assert all(peer() > 0 for _ in range(2))


def test_peers_have_the_arithmetic_of_their_workload():
    for rival in rivals.rivals_of("W2 k=50", 0, 0):
        arguments = " ".join(rival.arguments)
        assert "--network iwae --num-samples 50 --batch-size 100" in arguments
    assert len({rival.name for rival in rivals.rivals_of("W1", 0, 0)}) == 5
    (of_likelihood,) = rivals.rivals_of("W3", 5000, 500)
    assert of_likelihood.arguments == ("--num-samples", "5000", "--chunk", "500")
    assert rivals.rivals_of("W4", 0, 0) == []


def test_the_bounds_of_flaxs_example_are_those_of_the_papers(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks" / "peers")
    import flax_example

    generator = np.random.default_rng(0)
    mean, log_variance = generator.normal(size=(2, 2, 4))
    noise, logits = generator.normal(size=(3, 2, 4)), generator.normal(size=(3, 2, 784))
    x = generator.integers(2, size=(2, 784))
    z = mean + np.exp(0.5 * log_variance) * noise
    log_likelihood = bernoulli.logpmf(x, expit(logits)).sum(-1)
    log_prior, log_posterior = norm.logpdf(z).sum(-1), norm.logpdf(z, mean, np.exp(0.5 * log_variance)).sum(-1)
    bound = logsumexp(log_likelihood + log_prior - log_posterior, axis=0) - np.log(3)
    kl = 0.5 * (np.exp(log_variance) + mean**2 - 1 - log_variance).sum(-1)
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        outputs = [values.astype(np.float32) for values in (logits, z, noise, mean, log_variance, x)]
        importance_weighted_loss = flax_example.negative_importance_weighted(*outputs)
        elbo_loss = flax_example.negative_elbo(*outputs)
    np.testing.assert_allclose(importance_weighted_loss, -bound.mean(), rtol=1e-5)
    np.testing.assert_allclose(elbo_loss, (kl - log_likelihood.mean(axis=0)).mean(), rtol=1e-5)


@pytest.mark.slow
def test_a_peer_that_fails_says_why(tmp_path):
    with pytest.raises(PeerFailed, match=r"ended with status 2 and said: .*invalid choice: 'none'"):
        Peer(Path(sys.executable), "flax_example.py", ["--network", "none"])
    assert rivals.interpreter_of("no_such_module", tmp_path / "python") is None
    assert rivals.interpreter_of("jax", tmp_path / "python") == Path(sys.executable)


def test_a_slope_is_the_power_that_a_cost_grows_by():
    assert growth.slope([1, 2, 8], [3.0, 12.0, 192.0]) == pytest.approx(2)
    assert growth.slope([5, 50], [7.0, 7.0]) == pytest.approx(0)


@pytest.mark.slow
def test_the_sweep_measures_draws_and_leaves_out_what_takes_too_long(capsys, tmp_path):
    with jax.numpy_dtype_promotion("standard"):  # as in the benchmark: optax asks for it
        points = sweep.measure(("training", "iwae_bound", "sampling"), quick=True, repeats=1, seconds=5.0)
    assert len(points) == 4 + 4 + 2
    for point in points:
        assert point["draws_per_second"]["median"] > 0
        assert point["limit_draws_per_second"]["median"] > 0
        layers = {"training": workloads.iwae_layers, "iwae_bound": workloads.iwae_layers}.get(
            point["function"], workloads.iwae_decoder_layers
        )(point["k"])
        work = limits.flops(limits.products(layers, 1, training=point["function"] == "training"))
        assert point["flops_per_draw"] == pytest.approx(work / point["k"])
    draw(points, tmp_path / "sweep.png", machine="a test")
    assert (tmp_path / "sweep.png").stat().st_size > 10_000
    skipped = sweep.measure(("elbo",), quick=True, repeats=1, seconds=0.0)
    assert all("it would take about" in point["skipped"] for point in skipped)
    assert "left out" in capsys.readouterr().out


@pytest.mark.slow
def test_time_to_nats_from_a_cold_start(tmp_path):
    if binarized_mnist_to_test() is None:
        pytest.skip("binarised MNIST is not at hand")
    record = tmp_path / "nats.json"
    command = [sys.executable, "-m", "benchmarks.time_to_nats", "--quick", "--json", str(record)]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    found = json.loads(record.read_text())
    (ours,) = found["runs"]["the library"]
    assert ours["negative_elbo"][-1] < found["target"] == 500
    assert all(bound >= 500 for bound in ours["negative_elbo"][:-1])
    assert 0.5 < ours["seconds"] < 120
    assert "the library" in finished.stdout


@pytest.mark.slow
def test_scaling_over_devices_that_share_a_cpu_says_so(tmp_path):
    record = tmp_path / "scaling.json"
    command = [sys.executable, "-m", "benchmarks.scaling", "--quick", "--cpu-devices", "2", "--repeats", "1"]
    command += ["--seeds", "2", "--strong-batch", "256", "--json", str(record)]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert "share the cores of one CPU" in finished.stdout
    found = json.loads(record.read_text())
    assert found["devices_share_cores"]
    assert [(row["devices"], row["batch"]) for row in found["weak"]] == [(1, 128), (2, 256)]
    assert [(row["devices"], row["batch"]) for row in found["strong"]] == [(1, 256), (2, 256)]
    for row in found["weak"] + found["strong"]:
        assert row["efficiency"] == pytest.approx(row["speed_up"]["median"] / row["devices"])
    assert all(found["seeds"]["speed_up"][name]["median"] > 0 for name in ("vmap", "lax.map"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ["benchmarks.trade_offs", "--quick"],
        ["benchmarks.profile", "--images", "1280", "--repeats", "2"],
        ["benchmarks.gradients", "--quick"],
        ["benchmarks.growth", "--quick"],
    ],
)
def test_the_other_benchmarks_run(command):
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert any(
        word in done.stdout
        for word in ("times as fast", "the bare matrix products", "doubly reparameterised", "slope of")
    )
