import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy

from experiments.perceptual import Model, Options, main
from jaxvae import elbo, iwae_bound, networks, standard_normal, vae
from jaxvae.distributions import Bernoulli, Normal
from jaxvae.models import Perceptual, perceptual_vae
from jaxvae.run import RunError

WEIGHTS = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


def features(x):
    return jnp.tanh(x.reshape(-1) @ WEIGHTS)


PARTS = {
    "encoder": networks.mlp((8,), Normal.parameters((2,))),
    "decoder": networks.mlp((8,), Bernoulli.parameters((2, 2, 1))),
    "prior": standard_normal((2,)),
}
X = jnp.array([1.0, 0.0, 0.0, 1.0]).reshape(2, 2, 1)


def test_it_adds_a_gaussian_of_the_features_to_the_density():
    base = Bernoulli(jnp.array([0.3, -1.0, 2.0, 0.0]).reshape(2, 2, 1))
    made = Perceptual(base, features, 0.2)
    distance = np.tanh(np.ravel(X) @ WEIGHTS) - np.tanh(scipy.special.expit(np.ravel(base.logits)) @ WEIGHTS)
    expected = scipy.stats.norm(0, 0.2).logpdf(distance).sum() + base.log_prob(X)
    np.testing.assert_allclose(jax.jit(lambda made: made.log_prob(X))(made), expected, rtol=1e-5)
    np.testing.assert_array_equal(made.sample(jax.random.key(0)), base.sample(jax.random.key(0)))
    np.testing.assert_array_equal(made.expectation(), base.expectation())


@pytest.mark.slow
def test_a_model_has_a_loss_and_no_weight():
    model = perceptual_vae(likelihood=Bernoulli, features=features, scale=0.5, **PARTS)
    params = model.init(jax.random.key(0), X)
    terms = model.terms(jax.random.key(1), params, X)
    assert terms.log_weight is None
    plain = vae(**PARTS, likelihood=Bernoulli).terms(jax.random.key(1), params, X)
    np.testing.assert_allclose(terms.kl, plain.kl)
    assert float(terms.log_likelihood) != float(plain.log_likelihood)
    gradient = jax.jit(jax.grad(lambda params: elbo(model, jax.random.key(1), params, X, num_samples=2)))(params)
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(gradient))
    with pytest.raises(ValueError, match="weight"):
        iwae_bound(model, jax.random.key(1), params, X, num_samples=2)
    assert model.sample(jax.random.key(2), params).shape == (2, 2, 1)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_a_scale_that_is_not_positive_is_refused(scale):
    with pytest.raises(ValueError, match="scale of the features must be positive"):
        perceptual_vae(likelihood=Bernoulli, features=features, scale=scale, **PARTS)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    options = Options(epochs=150, folder=tmp_path_factory.mktemp("perceptual") / "out")
    with jax.numpy_dtype_promotion("standard"):
        assert main(options) is None
    return options, json.loads((options.folder / "result.json").read_text())


@pytest.mark.slow
def test_the_experiment_keeps_what_a_classifier_sees(compared):
    options, result = compared
    assert sorted(path.name for path in options.folder.iterdir()) == [
        "captions.json",
        "perceptual.png",
        "perceptual.svg",
        "report.html",
        "result.json",
    ]
    images = result["images"]
    right = {name: of_images["right by another classifier"][0] for name, of_images in images.items()}
    assert right["test images"] > 0.9
    assert right["pixels and features"] > 0.6
    assert images["test images"]["squared error of a pixel"] == [0, 0]
    by_pixels, by_both = (
        images[name]["squared error of a feature"] for name in ("pixels alone", "pixels and features")
    )
    assert by_pixels[0] - by_both[0] > 5 * np.hypot(by_pixels[1], by_both[1])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"scale": 0.0}, "--scale 0.0 must be positive"),
        ({"classifier_epochs": 0}, "--classifier-epochs 0 must be at least 1"),
        ({"epochs": 0}, "--epochs 0 must be at least 1"),
        ({"model": Model(latent=0)}, "--model.latent 0 must be at least 1"),
    ],
)
def test_the_experiment_refuses_what_it_cannot_do(changes, sentence, tmp_path):
    with pytest.raises(RunError, match=sentence):
        main(Options(**changes, folder=tmp_path / "out"))
    assert not (tmp_path / "out").exists()
