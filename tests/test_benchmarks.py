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

from benchmarks import handwritten, handwritten_likelihood, limits, workloads
from benchmarks.timing import in_turns, rate, speed_ratio
from jaxvae import log_likelihood
from jaxvae.bounds import average, importance_weighted
from jaxvae.distributions import Normal
from jaxvae.training import negative_bound

ROOT = Path(__file__).parents[1]


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
    assert all(set(row["ratios"]) == {"a hand-written scan"} for row in found["rows"])
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
