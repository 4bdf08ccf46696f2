"""The steps of a run in all their forms are the same steps."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from jaxvae.recipes import plain
from jaxvae.run import RunError, stream
from jaxvae.run.data import Dataset, Split
from jaxvae.run.options.images import Images
from jaxvae.run.recipe import about
from jaxvae.run.start import first_progress
from jaxvae.run.steps import steps_of

CONFIG = plain.Config(model=plain.Model(latent=2), epochs=2, batch_size=5)
IMAGES = np.random.default_rng(0).integers(0, 256, (23, 4, 3, 1), np.uint8)  # four batches and a rest
STEPS = 8


@pytest.fixture(autouse=True)
def optax_promotes():
    with jax.numpy_dtype_promotion("standard"):
        yield


def trained(config, first_step=0, state=None):
    """The state and the metrics after all the calls to come."""
    recipe = plain.recipe(config, about(Dataset("own", "all", Split(IMAGES), None, Split(()))))
    course = config.course()
    steps = steps_of(recipe, course, IMAGES, first_step=first_step)
    state = first_progress(recipe, course, STEPS, Split(IMAGES)).state if state is None else state
    state, found = steps.placed(state), []
    for length in steps.lengths:
        state, metrics = steps.advance(state, length)
        found.append(np.asarray(steps.whole(metrics)["bound"]))
    return steps.whole(state), np.concatenate(found, axis=-1)


def assert_same(one, other, rtol=0.0):
    for leaf, expected in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(leaf, expected, rtol=rtol, atol=rtol)


@pytest.mark.parametrize(("backend", "rtol"), [("cpu", 0.0), pytest.param("gpu", 1e-3, marks=pytest.mark.slow)])
def test_seeds_in_turn_or_together_are_those_trained_alone(backend, rtol, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    states, bounds = trained(replace(CONFIG, num_seeds=2, seed=3))
    assert bounds.shape == (2, STEPS)
    for row, seed in enumerate((3, 4)):
        state, alone = trained(replace(CONFIG, seed=seed))
        params = jax.tree.map(lambda leaf, row=row: leaf[row], states.params)
        assert_same((params, bounds[row]), (state.params, alone), rtol)


def test_a_stream_is_the_data_on_the_device_bit_for_bit_from_any_step():
    streamed = replace(CONFIG, data=Images(stream="yes"))
    whole = trained(CONFIG)
    assert_same(trained(streamed), whole)
    half = trained(replace(CONFIG, epochs=1))[0]
    assert_same(trained(streamed, first_step=4, state=half)[0], whole[0])


def test_seeds_and_images_that_do_not_fit_are_refused(monkeypatch):
    monkeypatch.setattr(stream, "does_not_fit", lambda images: True)
    with pytest.raises(RunError, match=r"do not fit on the device .* train one seed at a time"):
        trained(replace(CONFIG, num_seeds=2))
