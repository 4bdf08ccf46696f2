"""A program's size and the time to compile it depend on the model alone: not on draws, examples, steps or epochs."""

import re
import time
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxvae import iwae_bound, log_likelihood
from jaxvae.bounds import importance_weighted
from jaxvae.distributions import Bernoulli, Normal
from jaxvae.losses import negative_bound
from jaxvae.model import standard_normal, vae
from jaxvae.networks import mlp
from jaxvae.recipes import plain
from jaxvae.run.data import Dataset, Split
from jaxvae.run.recipe import Plan, about
from jaxvae.run.start import first_progress
from jaxvae.run.steps import Program, compiled, step_of
from jaxvae.training import dynamic_binarization, make_step, start, steps

PIXELS, BATCH = 12, 8
MODEL = vae(
    encoder=mlp((6,), Normal.parameters((3,)), activation=jnp.tanh),
    decoder=mlp((6,), Bernoulli.parameters((PIXELS,)), activation=jnp.tanh),
    prior=standard_normal((3,)),
)
PARAMS = jax.eval_shape(MODEL.init, jax.random.key(0), jnp.zeros(PIXELS))
KEY = jax.eval_shape(lambda: jax.random.key(0))


@pytest.fixture(autouse=True)
def optax_promotes():
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture
def nothing_cached():
    """Every program is compiled, also one that was compiled before."""
    before = jax.config.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", False)
    jax.clear_caches()
    yield
    jax.config.update("jax_enable_compilation_cache", before)


def training(k=2, examples=10 * BATCH, length=None):
    """An epoch or a part of it."""
    optimizer = optax.adam(1e-3)
    step = make_step(negative_bound(MODEL, importance_weighted, num_samples=k), optimizer)
    state = jax.eval_shape(lambda params: start(params, optimizer), PARAMS)
    program = partial(steps, step=step, prepare=dynamic_binarization, batch_size=BATCH, length=length)
    return program, (state, KEY, jax.ShapeDtypeStruct((examples, PIXELS), jnp.uint8))


def of_batch(bound, batch, **options):
    """A bound of every example of a batch."""
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), batch))
    xs = jax.ShapeDtypeStruct((batch, PIXELS), jnp.float32)
    return jax.vmap(partial(bound, MODEL, **options), (0, None, 0)), (keys, PARAMS, xs)


# A small and a large program of each kind; N is of another order of magnitude for the shuffle, which sorts in rounds
PAIRS = {
    "k in training": (training(k=2), training(k=1000)),
    "N": (training(examples=50_000), training(examples=500_000)),
    "steps in one call": (training(examples=50_000, length=1), training(examples=50_000, length=6000)),
    "k of a bound": (of_batch(iwae_bound, 4, num_samples=2), of_batch(iwae_bound, 4, num_samples=5000)),
    "k of log p(x)": (
        of_batch(log_likelihood, 4, num_samples=200, chunk=100),
        of_batch(log_likelihood, 4, num_samples=5_000_000, chunk=100),
    ),
    "examples of a bound": (of_batch(iwae_bound, 4, num_samples=2), of_batch(iwae_bound, 4096, num_samples=2)),
}


def lowered(made):
    program, arguments = made
    return jax.jit(program).lower(*arguments)


def operations(made):
    """As many as the program is written with, before XLA has seen it."""
    return len(re.findall(r"= (?:stablehlo|chlo|func)\.", lowered(made).as_text()))


@pytest.mark.parametrize("name", PAIRS)
def test_a_program_is_as_long_whatever_it_runs_over(name):
    small, large = (operations(made) for made in PAIRS[name])
    assert small > 50
    assert large == small


def test_what_does_grow_is_seen():
    unrolled = (lambda x, n=n: sum(jnp.sin(x + i) for i in range(n)) for n in (20, 40))
    small, large = (operations((program, (jnp.zeros(3),))) for program in unrolled)
    assert large > 1.5 * small


@pytest.mark.parametrize("name", ["k in training", "N", "steps in one call"])
def test_xla_compiles_it_as_quickly(name, nothing_cached):
    """By the processor's time, and by instructions; blocks of a sum may come to be a few more."""
    sizes, seconds = [], []
    for made in PAIRS[name]:
        program = lowered(made)
        began = time.process_time()
        executable = program.compile()
        seconds.append(time.process_time() - began)
        sizes.append(len(re.findall(r"^\s+(?:ROOT )?%", executable.as_text(), re.MULTILINE)))
    assert sizes[1] < 1.2 * sizes[0]
    assert seconds[1] < 3 * seconds[0]  # of programs that differ by a factor of 10 at the least


def test_epochs_are_no_part_of_the_program():
    images = np.zeros((20, 4, 3, 1), np.uint8)
    config = plain.Config(model=plain.Model(latent=2), batch_size=5)
    texts = []
    for epochs in (1, 1000):
        recipe = plain.recipe(config, about(Dataset("own", "all", Split(images), None, Split(()))))
        course, plan = replace(config, epochs=epochs).course(), Plan(4 * epochs, 4)
        scan = compiled(Program(step_of(recipe, course, plan), recipe.prepare, course.batch_size), False)
        state = first_progress(recipe, course, plan.num_steps).state
        texts.append(scan.lower(state, jax.random.key(0), jnp.asarray(images), length=4).as_text())
    assert texts[0] == texts[1]
