"""A learned scale has a floor, which is in the protocol, and a run says how many pixels lie on it."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.distributions import Laplace, Normal, above, with_least_scale
from jaxvae.recipes import plain
from jaxvae.run import launch
from jaxvae.run.choice import members, to_dict
from jaxvae.run.folder.opening import load
from jaxvae.run.options import likelihoods, networks
from jaxvae.run.options.images import Images
from jaxvae.run.options.likelihoods import LearnedScale
from jaxvae.run.settings import Checkpoints, Evaluation, Optimizer

LEAST = 0.05
SHAPE = (4, 4, 1)
LEARNED = [kind for kind in members(plain.Config, "model.likelihood").values() if issubclass(kind, LearnedScale)]


def test_the_curve_is_the_identity_above_the_floor_and_never_below_it(float64):
    high = np.linspace(math.log(LEAST) + 1, 20, 50)
    np.testing.assert_array_equal(above(jnp.asarray(high), LEAST), high)
    low = np.linspace(-200, math.log(LEAST) + 1, 400)
    found = np.asarray(above(jnp.asarray(low), LEAST))
    assert np.all(np.diff(found) >= 0)
    assert found.min() == pytest.approx(math.log(LEAST), abs=1e-12)
    slope = jax.grad(lambda l: above(l, LEAST))
    at = math.log(LEAST) + 1
    np.testing.assert_allclose([slope(at - 1e-9), slope(at), slope(at + 1e-9)], 1, atol=1e-8)


@pytest.mark.parametrize("family", [Normal, Laplace])
def test_a_constant_pixel_cannot_give_more_than_its_floor_allows(family):
    density = with_least_scale(family, LEAST)(mean=jnp.zeros(3), log_scale=jnp.full(3, -1e4))
    most = family(jnp.zeros(3), jnp.full(3, math.log(LEAST))).log_prob(jnp.zeros(3))
    np.testing.assert_allclose(density.log_prob(jnp.zeros(3)), most, rtol=1e-5)
    with pytest.raises(ValueError, match="least=0 must be positive"):
        with_least_scale(family, 0)


@pytest.mark.parametrize("kind", LEARNED)
def test_every_learned_scale_has_it(kind):
    """From whatever the decoder says, the scales lie above the floor, and are what the density's own draws have."""
    option = kind(least_scale=LEAST)
    likelihood, outputs = option.of(SHAPE)
    shapes = {name: getattr(output, "shape", output) for name, output in outputs.items()}
    for side in (-1e4, 0.0, 1e4):
        density = likelihood(**{name: jnp.full(shape, side) for name, shape in shapes.items()})
        scales = option.scales(density)
        assert scales.shape == SHAPE
        assert np.all(scales >= LEAST * (1 - 1e-5))
    low = {name: jnp.zeros(shape) for name, shape in shapes.items()}
    low |= {"log_scale": jnp.full(shapes["log_scale"], -50.0)} if "log_scale" in low else {}
    low |= {"log_diagonal": jnp.full(shapes["log_diagonal"], 50.0)} if "log_diagonal" in low else {}
    density = likelihood(**low)
    np.testing.assert_allclose(option.scales(density), LEAST, rtol=1e-5)
    draws = jax.vmap(density.sample)(jax.random.split(jax.random.key(0), 500))
    middle = np.median(np.abs(draws)) / LEAST  # of a Gaussian 0.674, of a Laplace density 0.693, of a t up to 1
    assert 0.6 < middle < 1.1


@pytest.fixture(scope="module")
def constant(tmp_path_factory):
    """Images of which five pixels never change, and the trained run."""
    place = tmp_path_factory.mktemp("runs")
    images = np.random.default_rng(0).uniform(size=(200, *SHAPE)).astype(np.float32)
    images.reshape(200, -1)[:, :5] = 0.5
    np.save(place / "images.npy", images)
    config = plain.Config(
        data=Images(name=str(place / "images.npy")),
        model=plain.Model(
            network=networks.Small(width=8), latent=2, likelihood=likelihoods.GaussianPerPixel(least_scale=LEAST)
        ),
        optimizer=Optimizer(lr=0.05),
        epochs=40,
        batch_size=40,
        evaluation=Evaluation(num_samples=0),
        checkpoints=Checkpoints(seconds=60),
    )
    options = launch.options_of(plain.KIND)(**vars(config), runs=place, name="run")
    with jax.numpy_dtype_promotion("standard"):
        assert launch.run(plain.KIND, options) == 0
    return place / "run"


def test_a_run_says_how_many_pixels_lie_on_it(constant):
    result = json.loads((constant / "result.json").read_text())
    assert result["protocol"]["likelihood"] == "gaussian-per-pixel (least scale 0.05)"
    assert result["test_scales_on_floor"] == pytest.approx(5, abs=0.1)
    assert result["units"]["test_scales_on_floor"] == "pixels"
    (warning,) = result["warnings"]
    assert warning.startswith("5 of 16 pixels have the least scale that --model.likelihood.least-scale 0.05 allows")
    assert warning.split(":")[0] in (constant / "report.html").read_text()
    # the five give at most what the floor allows, and the others, uniform in [0, 1], no more than nothing
    assert 0 < result["test_log_likelihood"] < 5 * (-math.log(LEAST) - 0.5 * math.log(2 * math.pi)) + 0.5


def test_it_is_loaded_with_its_floor(constant):
    model, params = load(constant)
    x = jnp.full(SHAPE, 0.5)
    density = model.likelihood(params, model.posterior(params, x).expectation())
    assert np.all(jnp.exp(density.log_scale) >= LEAST * (1 - 1e-5))
    assert to_dict(likelihoods.GaussianPerPixel()) == {"least_scale": 0.004}
