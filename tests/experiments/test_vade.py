"""The command of VaDE begins every seed from an auto-encoder and a mixture of its codes, and chooses by the bound."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxvae
from experiments import vade
from experiments.vade_clusters import clusters_of
from experiments.vade_figure import in_order
from experiments.vade_start import fitted_prior, mean_codes, pretrained, reconstruction
from jaxvae.recipes import plain
from jaxvae.run import RunError, refusals
from jaxvae.run.data import Dataset, Split
from jaxvae.run.options import networks, posteriors, priors
from jaxvae.run.options.images import Images
from jaxvae.run.settings import Optimizer

KEY = jax.random.key(1)
SMALL = vade.Options(
    epochs=3,
    first_epochs=8,
    restarts=1,
    data=Images("digits"),
    model=plain.Model(networks.Small(width=64), latent=6, prior=priors.Mixture(components=12)),
    first_optimizer=Optimizer(lr=5e-3),
)


@pytest.fixture(autouse=True)
def optax_promotes():
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_the_seeds_are_trained_measured_and_reported_and_the_highest_bound_is_chosen(count, tmp_path):
    options = replace(SMALL, folder=tmp_path / "vade", num_seeds=count)
    assert vade.main(options) is None
    found = json.loads((tmp_path / "vade" / "result.json").read_text())
    bounds, accuracies = ([row[name] for row in found["rows"]] for name in ("bound", "accuracy"))
    assert [row["seed"] for row in found["rows"]] == list(range(count))
    assert found["chosen"] == int(np.argmax(bounds))
    assert found["chosen_accuracy"] == accuracies[found["chosen"]]
    assert found["median"] == pytest.approx(np.mean(accuracies))
    assert min(accuracies) > found["by_chance"] + 0.15
    assert found["of_pixels"] > 0.5
    page = (tmp_path / "vade" / "report.html").read_text()
    assert "chosen" in page
    assert "<figure" in page
    dataset = plain.KIND.data(vade.settings_of(options, 0))
    model, params = jaxvae.load(tmp_path / "vade" / "vade-0")
    codes = mean_codes(model, params, dataset.test)
    of_each = jax.vmap(model.prior(params).log_joint)(jnp.asarray(codes))
    clusters = clusters_of(model, params, codes)
    np.testing.assert_array_equal(clusters, np.argmax(of_each, axis=1))
    accuracy = jaxvae.evaluation.clustering_accuracy(clusters, dataset.test.labels)
    assert accuracy == pytest.approx(accuracies[0])


def test_a_mixture_that_is_fitted_to_draws_is_the_one_that_drew_them():
    rng = np.random.default_rng(0)
    component = rng.choice(2, size=4000, p=[0.25, 0.75])
    codes = np.array([[-4.0, 0.0], [4.0, 1.0]])[component] + [[0.5, 2.0]] * rng.normal(size=(4000, 2))
    prior = fitted_prior(codes, components=2, restarts=2, seed=0)
    order = np.argsort(prior["mean"][:, 0])
    np.testing.assert_allclose(jax.nn.softmax(prior["logits"])[order], [0.25, 0.75], atol=0.03)
    np.testing.assert_allclose(prior["mean"][order], [[-4, 0], [4, 1]], atol=0.3)
    np.testing.assert_allclose(np.exp(prior["log_scale"]), [[0.5, 2.0]] * 2, rtol=0.1)


@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_the_auto_encoder_learns_to_reconstruct(beta):
    settings = vade.settings_of(SMALL, 0)
    dataset = plain.KIND.data(settings)
    recipe = refusals.recipe_of(plain.KIND, settings, dataset)
    params = pretrained(settings, Optimizer(), dataset, beta=beta, epochs=2, show=None)
    fresh = recipe.init(jax.random.key(0))[0]
    assert not params["prior"]
    xs = jnp.asarray(dataset.test.examples[:50] > 127, jnp.float32)
    loss = jax.jit(lambda params: reconstruction(recipe.model)(jax.random.split(KEY, 50), params, (), xs, 0)[0])
    means = jax.vmap(lambda x: recipe.model.posterior(params, x).mean)(xs)
    by_hand = jax.vmap(lambda z, x: recipe.model.likelihood(params, z).log_prob(x))(means, xs)
    np.testing.assert_allclose(loss(params), -np.mean(by_hand), rtol=1e-5)
    assert loss(params) < loss(fresh) - 5


def test_clusters_stand_in_the_order_of_their_classes_and_the_rest_below():
    table = np.array([[1, 0, 0], [0, 0, 9], [2, 0, 0], [0, 3, 0], [8, 1, 0]])
    np.testing.assert_array_equal(in_order(table), [4, 3, 1, 2, 0])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prior": priors.Standard()}, "--model.prior standard is no mixture whose components could be clusters"),
        ({"posterior": posteriors.Planar()}, "is no Gaussian by whose mean an auto-encoder could begin"),
    ],
)
def test_a_model_without_clusters_is_refused(changes, words, tmp_path):
    options = replace(SMALL, model=replace(SMALL.model, **changes), folder=tmp_path / "vade")
    with pytest.raises(RunError, match=words):
        vade.main(options)
    assert not options.folder.exists()


@pytest.mark.parametrize(
    ("labels", "count", "words"),
    [(None, 20, "arrays has no labels, by which clusters are judged"), (np.zeros(20, int), 9, "12 clusters are more")],
)
def test_data_without_clusters_is_refused(labels, count, words):
    dataset = Dataset(
        "arrays", "given", Split(np.zeros((count, 2, 2, 1))), None, Split(np.zeros((20, 2, 2, 1)), labels)
    )
    with pytest.raises(RunError, match=words):
        vade.check_data(SMALL, dataset)
