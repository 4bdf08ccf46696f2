"""A batch that is taken in parts, as a CPU takes a large one, has the numbers of the whole."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae import bounds, elbo, iwae_bound, log_likelihood, loops
from jaxvae.models import linear
from jaxvae.run import measures

MODEL = linear.linear_vae(latent=2)
PARAMS = linear.parameters(jnp.array([[1.0, 0.5], [0.2, -1.0], [0.3, 0.8]]), jnp.zeros(3), jnp.asarray(0.7))
XS = jnp.asarray(np.random.default_rng(0).normal(size=(23, 3)), jnp.float32)
KEY, K = jax.random.key(1), 10
BOUNDS = {
    "elbo": (elbo, None, 10),
    "iwae_bound": (iwae_bound, None, 10),
    "log_likelihood": (partial(log_likelihood, chunk=4), 4, 4),
}


def total(params, xs, batched):
    return jnp.sum(batched(MODEL, KEY, params, xs, num_samples=K))


def while_loops(bound, draws_at_once, platform):
    batched = bounds.batched(bound, draws_at_once=draws_at_once)
    traced = batched.trace(MODEL, KEY, PARAMS, XS, num_samples=K)
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    return text.count("stablehlo.while")


@pytest.mark.parametrize("name", BOUNDS)
# of a part; 23 is a multiple of none
@pytest.mark.parametrize(
    "examples", [pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow), 5]
)
def test_parts_have_the_numbers_of_the_whole(name, examples, float64, monkeypatch):
    params, xs = jax.tree.map(lambda leaf: leaf.astype(float), (PARAMS, XS))
    bound, draws_at_once, held = BOUNDS[name]
    entire = bounds.batched(bound, draws_at_once=draws_at_once)
    whole = entire(MODEL, KEY, params, xs, num_samples=K)
    alone = [
        bound(MODEL, key, params, x, num_samples=K) for key, x in zip(jax.random.split(KEY, len(xs)), xs, strict=True)
    ]
    np.testing.assert_allclose(whole, alone, rtol=1e-12)
    expected = jax.grad(total)(params, xs, entire)
    monkeypatch.setattr(loops, "HELD", examples * held * 3)
    in_parts = bounds.batched(bound, draws_at_once=draws_at_once)
    np.testing.assert_allclose(in_parts(MODEL, KEY, params, xs, num_samples=K), whole, rtol=1e-12)
    found = jax.grad(total)(params, xs, in_parts)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-10), found, expected)


@pytest.mark.parametrize("name", BOUNDS)
def test_a_cpu_takes_parts_of_a_large_batch_and_an_accelerator_all_of_it(name, monkeypatch):
    bound, draws_at_once, held = BOUNDS[name]
    own = while_loops(bound, draws_at_once, "tpu")
    small = while_loops(bound, draws_at_once, "cpu")
    monkeypatch.setattr(loops, "HELD", 5 * held * 3)
    assert while_loops(bound, draws_at_once, "cpu") > small
    assert while_loops(bound, draws_at_once, "tpu") == own


@pytest.mark.parametrize(("pixels", "examples"), [((28, 28, 1), 26), ((8, 8, 1), 200), ((64, 64, 3), 1)])
def test_a_runs_evaluation_takes_as_many_as_the_cache_holds(pixels, examples):
    assert measures._examples_at_once({"image": jax.ShapeDtypeStruct((50, *pixels), jnp.float32)}) == examples
