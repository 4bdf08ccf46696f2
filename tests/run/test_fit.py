"""`jaxvae.fit`: any model, loss and optimizer over arrays, by the loop of a run."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_runs import assert_same

import jaxvae
from jaxvae import losses
from jaxvae.bounds import elbo, iwae_bound
from jaxvae.models import linear
from jaxvae.recipes import plain
from jaxvae.run import keys
from jaxvae.run.monitor import mean_bound
from jaxvae.run.options import networks
from jaxvae.run.train import Diverged, train
from jaxvae.training import dynamic_binarization, grey

KEY = jax.random.key(7)
MODEL = linear.linear_vae(latent=1)


@pytest.fixture(autouse=True)
def _standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


def drawn(seed, count):
    """[N, 3] examples of one factor and noise."""
    random = np.random.default_rng(seed)
    loadings, center = np.array([[1.5, -1.0, 0.5]]), np.array([1.0, 0.0, -2.0])
    xs = random.normal(size=(count, 1)) @ loadings + center + 0.5 * random.normal(size=(count, 3))
    return xs.astype(np.float32)


XS, VALID = drawn(0, 400), drawn(1, 200)
fit = partial(jaxvae.fit, MODEL, XS, key=KEY, batch_size=100, show=False)


def log_likelihood(params, xs=XS):
    return float(jnp.mean(jax.vmap(linear.log_marginal, (None, 0))(params, jnp.asarray(xs))))


def test_the_linear_vae_comes_to_its_known_optimum():
    best = log_likelihood(linear.probabilistic_pca(jnp.asarray(XS), latent=1))
    rate = optax.cosine_decay_schedule(0.05, 400 * 4)
    params, history = fit(epochs=400, optimizer=optax.adam(rate))
    assert best - 0.01 < log_likelihood(params) < best + 1e-5
    assert history.train.shape == (400,)
    assert history.train[-20:].mean() == pytest.approx(best, abs=0.05)  # the bound is tight at the optimum
    assert (history.valid, history.best_epoch, history.extra) == (None, 400, ())


@pytest.mark.parametrize(
    ("optimizer", "moved"),
    [
        (optax.lion(0.01, weight_decay=0.0), 0.01),
        (optax.chain(optax.clip(1.0), optax.sign_sgd(0.02)), 0.02),
        (optax.sgd(0.0), 0.0),
    ],
    ids=["lion", "chain", "still"],
)
def test_any_optimizer_takes_its_own_step(optimizer, moved):
    """One step over all examples: Lion and the sign of the gradient move every parameter by the rate."""
    start = MODEL.init(KEY, jnp.asarray(XS[0]))
    params, _ = fit(epochs=1, batch_size=400, optimizer=optimizer, params=start)
    for new, old in zip(jax.tree.leaves(params), jax.tree.leaves(start), strict=True):
        np.testing.assert_allclose(np.abs(new - old), moved, atol=1e-6)


def test_a_loss_of_ones_own_is_descended_and_its_state_is_handed_back():
    def loss(of_each, params, extra, xs, step):
        assert of_each.shape == (100,)
        value = sum(jnp.sum((leaf - 3.0) ** 2) for leaf in jax.tree.leaves(params)) + 5.0
        return value, (extra + jnp.mean(xs), {"spread": jnp.std(xs)})

    params, history = fit(epochs=20, optimizer=optax.sgd(0.25), loss=loss, extra=jnp.zeros(()))
    for leaf in jax.tree.leaves(params):
        np.testing.assert_allclose(leaf, 3.0, atol=1e-5)
    assert history.train[-1] == pytest.approx(-5.0, abs=1e-5)
    assert history.extra == pytest.approx(80 * float(XS.mean()), rel=1e-4)  # every epoch visits every example once


def test_a_loss_of_the_library_is_one_too():
    loss = losses.negative_elbo(MODEL, losses.free_bits(0.5))
    _, history = fit(epochs=2, loss=loss, valid=VALID)
    assert history.train.shape == history.valid.shape == (2,)


def test_the_bound_that_is_given_is_ascended_and_watched():
    still = partial(fit, epochs=2, optimizer=optax.sgd(0.0), valid=VALID)
    params, plain_bound = still()
    _, tight = still(bound=iwae_bound, num_samples=50)
    exact = log_likelihood(params, VALID)
    assert plain_bound.valid[0] < tight.valid[0] < exact + 0.05
    assert exact - tight.valid[0] < 0.2 * (exact - plain_bound.valid[0])
    again = mean_bound(partial(elbo, MODEL, num_samples=1), keys.of_monitor(), params, jnp.asarray(VALID))
    assert plain_bound.valid[1] == pytest.approx(float(again), rel=1e-6)


def test_patience_keeps_the_best_params_and_stops():
    """From the optimum an ascent of the loss leads away: the first epoch is the best of all."""
    optimum = linear.probabilistic_pca(jnp.asarray(XS), latent=1)
    away = partial(fit, optimizer=optax.sgd(-0.003), params=optimum, valid=VALID)
    params, history = away(epochs=30, patience=3)
    assert history.best_epoch == 1
    assert history.train.shape == history.valid.shape == (4,)
    assert np.all(np.diff(history.valid) < 0)
    first, _ = away(epochs=1)
    last, long = away(epochs=4)
    assert_same(params, first)
    assert log_likelihood(last) < log_likelihood(first)
    np.testing.assert_array_equal(long.valid, history.valid)


def test_patience_that_is_never_tried_changes_nothing():
    patient = fit(epochs=3, valid=VALID, patience=3)
    other = fit(epochs=3, valid=VALID)
    assert patient[1].best_epoch == other[1].best_epoch == 3
    assert_same(patient[0], other[0])


def test_it_is_the_training_of_a_run():
    config = plain.Config(model=plain.Model(networks.Small(width=8), latent=2), epochs=2, seed=3)
    dataset = plain.KIND.data(config)
    recipe = plain.recipe(config, jaxvae.run.recipe.about(dataset))
    run = train(recipe, config.course(), dataset, show=None)
    params, history = jaxvae.fit(
        recipe.model,
        dataset.train.examples,
        key=jax.random.key(3),
        epochs=2,
        optimizer=config.optimizer.transformation(24),
        valid=dataset.valid.examples,
        prepare=dynamic_binarization,
        show=False,
    )
    assert_same(params, run.params, 1e-5)
    np.testing.assert_allclose(history.valid, [row["valid_bound"] for row in run.rows], rtol=1e-5)
    np.testing.assert_allclose(history.train, [row["train_bound"] for row in run.rows], rtol=1e-5)


def test_an_epoch_is_compiled_once():
    traced = {"loss": 0, "bound": 0}

    def loss(of_each, params, extra, xs, step):
        traced["loss"] += 1
        return -jnp.mean(jax.vmap(partial(elbo, MODEL), (0, None, 0))(of_each, params, xs)), (extra, {})

    def bound(model, key, params, x, *, num_samples):
        traced["bound"] += 1
        return elbo(model, key, params, x, num_samples=num_samples)

    fit(epochs=5, loss=loss, bound=bound, valid=VALID)
    assert traced == {"loss": 1, "bound": 1}


def test_examples_may_be_a_tree_and_the_last_incomplete_batch_is_left_out():
    def loss(of_each, params, extra, xs, step):
        return jnp.sum(params["decoder"]["W"] ** 2) + jnp.mean(xs["b"][0]), (extra + 1.0, {})

    model = MODEL._replace(init=lambda key, x: MODEL.init(key, x["a"]))
    xs = {"a": XS, "b": (np.ones(400, np.float32),)}
    _, history = jaxvae.fit(model, xs, key=KEY, epochs=3, batch_size=150, loss=loss, extra=jnp.zeros(()), show=False)
    assert history.extra == 6.0


def test_what_cannot_be_fitted_is_refused():
    images = np.random.default_rng(0).integers(0, 256, (120, 4), np.uint8)
    with pytest.raises(ValueError, match=r"xs holds bytes: give prepare=jaxvae\.training\.grey"):
        jaxvae.fit(MODEL, images, key=KEY, show=False)
    params, _ = jaxvae.fit(MODEL, images, key=KEY, epochs=1, prepare=grey, show=False)
    assert params["decoder"]["W"].shape == (4, 1)
    with pytest.raises(ValueError, match="400 examples do not fill a batch of 401: give a smaller batch_size"):
        fit(epochs=1, batch_size=401)
    with pytest.raises(ValueError, match="patience=3 watches held-out examples: give some as valid="):
        fit(epochs=1, patience=3)
    with pytest.raises(Diverged, match="step 2 is not finite: bound is"):
        fit(epochs=1, optimizer=optax.sgd(float("inf")))
