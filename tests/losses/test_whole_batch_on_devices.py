"""What a whole batch shares is the same on 1, 2 and 4 devices. Adam would hide a wrong scale: the steps are SGD's."""

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
from rows import first

from jaxvae import losses, training
from jaxvae.models import linear, reading_both
from jaxvae.networks import mlp
from jaxvae.training import parallel

BATCH, STEPS = 8, 12
DISCRIMINATOR = mlp((5,), {"logit": ()})
MODEL = losses.beside_discriminator(linear.linear_vae(latent=2), DISCRIMINATOR)
FOUR = os.environ | {
    "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
    "JAX_PLATFORMS": "cpu",
    "PYTHONPATH": f"{Path(__file__).parents[2]}{os.pathsep}{Path(__file__).parents[1]}",
}


def all_of(*prices):
    return lambda aggregate: sum(price(aggregate) for price in prices)


PRICES = all_of(
    losses.total_correlation(5.0, partial(losses.stratified_log_weights, BATCH * STEPS)),
    losses.dip(off_diagonal=3.0, diagonal=2.0, with_variances=True),
    losses.discrepancy(9.0),
)
LINEAR, PAIRS = linear.linear_vae(latent=2), reading_both(DISCRIMINATOR)
FEATURES = losses.scored_features(mlp((), {"features": (4,)}), DISCRIMINATOR, jnp.tanh)
CONTRASTS = [losses.Contrast(PAIRS), losses.Contrast(PAIRS, losses.with_moments)]
ESTIMATING = [losses.estimating(LINEAR, contrast) for contrast in CONTRASTS]
OF_PAIRS = losses.beside_discriminator(LINEAR, PAIRS, sees=losses.of_pairs)
OF_EXAMPLES = losses.beside_discriminator(LINEAR, FEATURES, sees=losses.of_examples)
ROWS = {
    "factor": (MODEL, lambda shared: losses.factor(MODEL, DISCRIMINATOR, weight=5.0, shared=shared)),
    "of the aggregate": (MODEL, lambda shared: losses.regularised(MODEL, of_aggregate=PRICES, shared=shared)),
    "constrained": (MODEL, lambda shared: losses.constrained(MODEL, distortion=3.0, rate=0.1, decay=0.5)),
    "adversarial bayes": (ESTIMATING[0], lambda shared: losses.adversarial_bayes(ESTIMATING[0], CONTRASTS[0])),
    "adaptive contrast": (ESTIMATING[1], lambda shared: losses.adversarial_bayes(ESTIMATING[1], CONTRASTS[1])),
    "bidirectional": (OF_PAIRS, lambda shared: losses.bidirectional(OF_PAIRS, PAIRS)),
    "learned similarity": (
        OF_EXAMPLES,
        lambda shared: losses.learned_similarity(OF_EXAMPLES, FEATURES, weight=0.3),
    ),
}


def run_on(name, devices):
    """The params, what is kept beside them and the losses, after steps on so many devices; None for the plain scan."""
    shared = losses.ALONE if devices is None else parallel.SHARED
    optimizer = losses.optimizer_of_players({"discriminator": optax.sgd(0.1, momentum=0.5)}, rest=optax.sgd(0.01))
    data = jnp.asarray(np.random.default_rng(0).normal(size=(BATCH * STEPS, 3)), jnp.float32)
    extra = losses.multiplier_start() if name == "constrained" else ()
    model, loss = ROWS[name]
    state = training.start(model.init(jax.random.key(0), data[0]), optimizer, extra=extra)
    step = training.make_step(loss(shared), optimizer, shared=shared)
    settings = {"step": step, "prepare": training.grey, "batch_size": BATCH}
    key = jax.random.key(1)
    if devices is None:
        found, metrics = jax.jit(partial(training.steps, **settings))(state, key, data)
    else:
        run = parallel.steps(devices, **settings)
        found, metrics = parallel.first(run(*parallel.copied((state,), devices), key, parallel.copied(data, devices)))
    moved = float(jnp.linalg.norm(ravel_pytree(found.params)[0] - ravel_pytree(state.params)[0]))
    numbers = [ravel_pytree((found.params, found.extra))[0], *(metrics[name] for name in sorted(metrics))]
    return np.concatenate([np.ravel(of) for of in numbers]), moved


def main(name):
    """In a process of its own: the largest difference to one device, and how far the params moved."""
    alone, moved = run_on(name, None)
    differences = [float(np.abs(run_on(name, jax.devices()[:count])[0] - alone).max()) for count in (2, 4)]
    print(json.dumps([*differences, moved, float(np.abs(alone).max())]))


@pytest.mark.parametrize("name", first(1, ROWS))
def test_the_numbers_do_not_depend_on_the_devices(name):
    """Four devices, made of one processor."""
    done = subprocess.run([sys.executable, __file__, name], env=FOUR, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    two, four, moved, largest = json.loads(done.stdout)
    assert max(two, four) < 2e-5 * largest
    assert moved > 0.05


@pytest.mark.parametrize("name", first(1, [name for name in ROWS if name not in ("factor", "of the aggregate")][1:]))
def test_a_game_whose_loss_is_a_mean_over_examples_can_be_taken_in_parts(name):
    """No row is shared: no such loss is refused in parts, and its step is the same."""
    model, of = ROWS[name]
    loss, optimizer = of(losses.ALONE), optax.sgd(0.1)
    assert not isinstance(loss, losses.OfWholeBatch)
    xs, keys = jax.random.normal(jax.random.key(0), (BATCH, 3)), jax.random.split(jax.random.key(1), BATCH)
    begun = training.start(jax.jit(model.init)(jax.random.key(2), xs[0]), optimizer)
    whole, parts = (
        jax.jit(training.make_step(loss, optimizer, accumulate=count))(begun, keys, xs)[0] for count in (1, 4)
    )
    assert_close = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    jax.tree.map(assert_close, whole.params, parts.params)
    moved = ravel_pytree(whole.params)[0] - ravel_pytree(begun.params)[0]
    assert jnp.linalg.norm(moved) > 0.02


if __name__ == "__main__":
    main(sys.argv[1])
