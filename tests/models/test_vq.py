"""Vector quantisation: nearest vectors, moving averages that no device can tell, and a bound that is a code length."""

import itertools
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

from jaxvae import elbo, networks, training
from jaxvae.distributions import Bernoulli, normal_with_scale
from jaxvae.models import (
    Codebook,
    Nearest,
    nearest,
    negative_bound,
    perplexity,
    straight_through,
    vq_vae,
)
from jaxvae.models.vq import parted, whole
from jaxvae.training import parallel
from jaxvae.types import Network

ROOT = Path(__file__).parents[2]
POSITIONS, SIZE, CODES, BATCH = (2, 2), 3, 5, 8


@pytest.fixture(autouse=True)
def optax_promotes():
    with jax.numpy_dtype_promotion("standard"):
        yield


def model_of(likelihood=Bernoulli, outputs=None):
    encoder, decoder = networks.maps_pair({"encoding": (*POSITIONS, SIZE)}, outputs or Bernoulli.parameters((8, 8, 1)))
    return vq_vae(encoder=encoder, decoder=decoder, positions=POSITIONS, num_codes=CODES, likelihood=likelihood)


def direct_model():
    """An encoder that says the image itself, so that what the averages ought to be is plain."""
    itself = Network(lambda key, x: {}, lambda params, x: {"encoding": x})
    mean = Network(lambda key, z: {}, lambda params, z: {"mean": z})
    return vq_vae(encoder=itself, decoder=mean, positions=POSITIONS, num_codes=CODES, likelihood=normal_with_scale(1.0))


def codebook_of(vectors, usage):
    nothing = jnp.zeros_like(vectors)
    return Codebook(usage, usage[:, None] * vectors, nothing[:, 0], nothing)


def test_the_nearest_vector_is_the_nearest():
    vectors = jax.random.normal(jax.random.key(0), (7, SIZE))
    encoding = jax.random.normal(jax.random.key(1), (4, 3, SIZE))
    distances = np.square(np.asarray(encoding)[:, :, None] - np.asarray(vectors)).sum(axis=-1)
    np.testing.assert_array_equal(nearest(encoding, vectors), distances.argmin(axis=-1))
    q = Nearest(encoding, vectors)
    np.testing.assert_array_equal(q.expectation(), vectors[distances.argmin(axis=-1)])
    assert q.log_prob(q.sample(jax.random.key(0))) == 0
    assert q.log_prob(encoding) == -np.inf


def test_the_gradient_of_the_vectors_is_the_encodings():
    def through(encoding):
        return jnp.sum(jnp.sin(straight_through(encoding, jnp.ones(3))))

    np.testing.assert_allclose(jax.grad(through)(jnp.zeros(3)), np.cos(1.0), rtol=1e-6)
    np.testing.assert_array_equal(straight_through(jnp.zeros(3), jnp.ones(3)), 1)


@pytest.mark.slow
def test_the_bound_is_a_code_length_under_the_probability_of_the_image():
    """p(x) = Σ over all tables' images of codes of p(z) p(x|z), enumerated: the bound is one summand of it."""
    model = model_of()
    x = jax.random.bernoulli(jax.random.key(0), shape=(8, 8, 1)).astype(jnp.float32)
    params = model.init(jax.random.key(1), x)
    every = jnp.array(list(itertools.product(range(CODES), repeat=4))).reshape(-1, *POSITIONS)

    @jax.jit
    @jax.vmap
    def joint(codes):
        z = params["codebook"][codes]
        return model.prior(params).log_prob(z) + model.likelihood(params, z).log_prob(x)

    total = jax.scipy.special.logsumexp(joint(every))
    bound = elbo(model, jax.random.key(2), params, x)
    chosen = model.posterior(params, x).codes
    row = int(jnp.argmax(jnp.all(every == chosen[None], axis=(1, 2))))
    np.testing.assert_allclose(bound, joint(every)[row], rtol=1e-5)
    assert bound < total
    terms = model.terms(jax.random.key(2), params, x)
    np.testing.assert_allclose(terms.kl, [4 * np.log(CODES)], rtol=1e-6)
    assert terms.log_weight is None
    assert float(jnp.sum(jnp.abs(jax.grad(lambda p: elbo(model, jax.random.key(2), p, x))(params)["codebook"]))) == 0


@pytest.mark.slow
def test_the_moving_averages_and_the_loss_by_hand():
    model, decay = direct_model(), 0.9
    loss = negative_bound(model, commitment=0.25, decay=decay)
    vectors = jax.random.normal(jax.random.key(0), (CODES, SIZE))
    before = codebook_of(vectors, jnp.array([0.3, 0.2, 0.2, 0.2, 0.1]))
    xs = jax.random.normal(jax.random.key(1), (BATCH, *POSITIONS, SIZE))
    keys = jax.random.split(jax.random.key(2), BATCH)
    value, (after, metrics) = loss(keys, {"encoder": {}, "decoder": {}}, before, xs, jnp.zeros((), jnp.int32))
    flat = np.asarray(xs, np.float64).reshape(-1, SIZE)
    table = np.asarray(vectors, np.float64)
    codes = np.square(flat[:, None] - table).sum(axis=-1).argmin(axis=1)
    for k in range(CODES):
        took = codes == k
        np.testing.assert_allclose(after.usage[k], decay * before.usage[k] + (1 - decay) * took.mean(), rtol=1e-5)
        np.testing.assert_allclose(
            after.sums[k], decay * before.sums[k] + (1 - decay) * flat[took].sum(axis=0) / len(flat), atol=1e-6
        )
    distance = np.square(flat - table[codes]).sum() / BATCH
    distortion = 0.5 * distance + 2 * SIZE * np.log(2 * np.pi)
    np.testing.assert_allclose(value, distortion + 0.25 * distance, rtol=1e-5)
    np.testing.assert_allclose(metrics["bound"], -distortion - 4 * np.log(CODES), rtol=1e-5)


def test_the_gradient_to_the_encoder_by_hand():
    """Of -ln p = ½ |x - v|² straight through, v - x; of the commitment, 2 β (e - v)."""
    shifted = Network(lambda key, x: {}, lambda params, x: {"encoding": x + jnp.broadcast_to(params["shift"], x.shape)})
    decoder = Network(lambda key, z: {}, lambda params, z: {"mean": z})
    parts = {"positions": POSITIONS, "num_codes": CODES, "likelihood": normal_with_scale(1.0)}
    loss = negative_bound(vq_vae(encoder=shifted, decoder=decoder, **parts), commitment=0.25)
    vectors = jax.random.normal(jax.random.key(0), (CODES, SIZE))
    before = codebook_of(vectors, jnp.array([0.3, 0.2, 0.2, 0.2, 0.1]))
    xs = jax.random.normal(jax.random.key(1), (BATCH, *POSITIONS, SIZE))
    shift = jnp.array([0.3, -0.2, 0.1])

    def of(shift):
        params = {"encoder": {"shift": shift}, "decoder": {}}
        return loss(jax.random.split(jax.random.key(2), BATCH), params, before, xs, jnp.zeros((), jnp.int32))[0]

    flat, table = np.asarray(xs, np.float64).reshape(-1, SIZE), np.asarray(vectors, np.float64)
    encodings = flat + np.asarray(shift)[None]
    taken = table[np.square(encodings[:, None] - table[None]).sum(axis=-1).argmin(axis=1)]
    expected = (taken - flat + 0.5 * (encodings - taken)).sum(axis=0) / BATCH
    np.testing.assert_allclose(jax.jit(jax.grad(of))(shift), expected, rtol=1e-4)


@pytest.mark.slow
def test_the_averages_of_parts_are_those_of_the_whole_batch():
    model = direct_model()
    loss = negative_bound(model, places=CODES)
    vectors = jax.random.normal(jax.random.key(0), (CODES, SIZE))
    before = codebook_of(vectors, jnp.array([0.3, 0.2, 1e-6, 0.2, 0.1]))._replace(
        offers=jnp.full(CODES, 0.1), offered=jnp.full((CODES, SIZE), 0.3)
    )
    xs = jax.random.normal(jax.random.key(1), (BATCH, *POSITIONS, SIZE))
    keys = jax.random.split(jax.random.key(2), BATCH)

    def of(rows):
        value, (extra, metrics) = loss(keys[rows], {"encoder": {}, "decoder": {}}, before, xs[rows], jnp.zeros(()))
        return value, extra, metrics

    halves = of(slice(0, 4)), of(slice(4, 8))
    together = of(slice(0, 8))
    for a, b, whole_batch in zip(*map(jax.tree.leaves, (*halves, together)), strict=True):
        np.testing.assert_allclose((a + b) / 2, whole_batch, rtol=1e-5, atol=1e-6)


def test_dead_codes_are_revived_by_encodings_of_the_batch():
    model, size = direct_model(), 64
    rest, codebook = parted(model.init(jax.random.key(0), jnp.zeros((*POSITIONS, SIZE))))
    loss = jax.jit(negative_bound(model, places=CODES))
    xs = 5 + jax.random.normal(jax.random.key(1), (size, *POSITIONS, SIZE))
    dead = codebook.usage < 0.03 / CODES
    assert bool(jnp.all(dead))
    _, (codebook, _) = loss(jax.random.split(jax.random.key(2), size), rest, codebook, xs, jnp.zeros(()))
    for seed in range(3, 40):
        _, (codebook, metrics) = loss(jax.random.split(jax.random.key(seed), size), rest, codebook, xs, jnp.zeros(()))
    vectors = whole(rest, codebook)["codebook"]
    assert bool(jnp.all(jnp.isfinite(vectors)))
    assert np.all(np.linalg.norm(np.asarray(vectors) - 5, axis=1) < 4)
    assert metrics["perplexity"] > 3
    alive = codebook_of(jnp.zeros((CODES, SIZE)), jnp.full(CODES, 0.2))._replace(offers=jnp.ones(CODES))
    _, (unmoved, _) = loss(jax.random.split(jax.random.key(2), size), rest, alive, jnp.zeros_like(xs), jnp.zeros(()))
    np.testing.assert_array_equal(unmoved.sums, 0)  # nothing is offered to the living


def test_an_offer_is_one_encoding_of_the_example():
    """Eight examples and many places: most offers are alone at their code, and are then an encoding as it is."""
    model = direct_model()
    loss = negative_bound(model, places=CODES)
    _, codebook = parted(model.init(jax.random.key(0), jnp.zeros((*POSITIONS, SIZE))))
    xs = jax.random.normal(jax.random.key(1), (BATCH, *POSITIONS, SIZE))
    keys = jax.random.split(jax.random.key(4), BATCH)
    _, (after, _) = loss(keys, {"encoder": {}, "decoder": {}}, codebook, xs, jnp.zeros(()))
    np.testing.assert_allclose(jnp.sum(after.offers), 1.0, rtol=1e-6)
    alone = np.flatnonzero(np.isclose(after.offers, 1 / BATCH))
    assert len(alone) > 0
    flat = np.asarray(xs).reshape(-1, SIZE)
    for k in alone:
        offered = np.asarray(after.offered[k] / after.offers[k])
        assert np.min(np.abs(flat - offered).max(axis=1)) < 1e-6


def test_perplexity_counts_equal_codes():
    assert perplexity(jnp.array([0.2, 0.2, 0.0, 0.2])) == pytest.approx(3.0, rel=1e-5)


def trained_on(devices):
    """Twenty steps of SGD, and what they leave."""
    model, optimizer = model_of(), optax.sgd(0.01)
    data = jax.random.randint(jax.random.key(0), (64, 8, 8, 1), 0, 255).astype(jnp.uint8)
    rest, codebook = parted(model.init(jax.random.key(1), jnp.zeros((8, 8, 1))))
    state = training.start(rest, optimizer, extra=codebook)
    loss, key = negative_bound(model, places=2 * CODES), jax.random.key(2)
    settings = {"prepare": training.dynamic_binarization, "batch_size": BATCH}
    if devices is None:
        step = training.make_step(loss, optimizer)
        state, metrics = jax.jit(partial(training.steps, step=step, length=8, **settings))(state, key, data)
    else:
        step = training.make_step(loss, optimizer, shared=parallel.SHARED)
        run = parallel.steps(devices, step=step, length=8, **settings)
        out = run(*parallel.copied((state,), devices), key, parallel.copied(data, devices))
        for leaf in jax.tree.leaves(out):
            np.testing.assert_array_equal(leaf, np.broadcast_to(np.asarray(leaf)[:1], leaf.shape))
        state, metrics = parallel.first(out)
    return jax.device_get((state.params, state.extra, metrics))


@pytest.mark.slow
def test_two_devices_have_the_table_of_one():
    script = (
        "import jax, numpy as np, sys; sys.path.insert(0, 'tests'); import test_quantized as t;"
        "one, two = t.trained_on(None), t.trained_on(jax.devices());"
        "[np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4)"
        " for a, b in zip(*map(jax.tree.leaves, (one, two)), strict=True)];"
        "assert float(np.sum(one[1].usage > 0.01)) > 1; print('same')"
    )
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.stdout.strip() == "same", done.stderr[-3000:]
