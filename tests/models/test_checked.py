"""Strictness: what a likelihood has no mass at is told, and what it has is the model's number."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import checkify

import jaxvae
from jaxvae import distributions, likelihoods, networks
from jaxvae.distributions import Bernoulli, Normal
from jaxvae.models import (
    Sequence,
    Steps,
    checked,
    conditional_vae,
    dequantized,
    reading_both,
    support,
    the_same_for_all,
)
from jaxvae.priors import standard_normal

KEY = jax.random.key(0)
D = (4,)
EVEN = jnp.zeros
LEVELS = [0.0, 1 / 255, 200 / 255, 1.0]

# A likelihood, an event that it has mass at, and some that it has none at.
CASES = {
    "Bernoulli": (Bernoulli(EVEN(4)), [0.0, 1, 1, 0], [[0.0, 1, 1, 255], [0.0, 0.5, 1, 0], [0, 1, -1, 1.0]]),
    "Frozen": (distributions.Frozen(Bernoulli(EVEN(4))), [0.0, 1, 1, 0], [[0.0, 1, 1, 2]]),
    "ContinuousBernoulli": (distributions.ContinuousBernoulli(EVEN(4)), [0.0, 0.3, 1, 0.5], [[0.0, 0.5, 1.1, 0]]),
    "Categorical": (distributions.Categorical(EVEN((4, 3))), [0, 1, 2, 0], [[0, 1, 2, -1], [0, 1, 2, 3]]),
    "OneHot": (
        distributions.OneHot(EVEN((2, 3))),
        [[0.0, 1, 0], [1, 0, 0]],
        [[[0.0, 1, 1], [1, 0, 0]], [[0.5, 0.5, 0], [1, 0, 0]], [[0.0, 0, 0], [1, 0, 0]]],
    ),
    "Concrete": (
        distributions.Concrete(EVEN((1, 2)), jnp.asarray(0.0)),
        [[float(np.log(0.25)), float(np.log(0.75))]],
        [[[0.25, 0.75]]],
    ),
    "UniformSphere": (distributions.UniformSphere(EVEN(4)), [0.5, 0.5, 0.5, 0.5], [[1.0, 1, 1, 1]]),
    "PixelCategorical": (likelihoods.PixelCategorical(EVEN((4, 256))), LEVELS, [[0.0, 0.5, 1, 1], [0.0, 1, 255, 1]]),
    "BetaBinomial": (likelihoods.BetaBinomial(EVEN(4), EVEN(4), 3), [0.0, 0.5, 1, 1], [[0.0, 0.4, 1, 1]]),
    "DiscretizedLogisticMixture": (
        likelihoods.DiscretizedLogisticMixture(EVEN((2, 2, 1)), EVEN((2, 2, 1, 1)), EVEN((2, 2, 1, 1))),
        np.reshape(LEVELS, (2, 2, 1)).tolist(),
        [np.reshape([0.0, 1, 2, 1], (2, 2, 1)).tolist()],
    ),
    "NegativeBinomial": (
        likelihoods.NegativeBinomial(EVEN(4), EVEN(4)),
        [0.0, 7, 1, 2],
        [[0.0, 1.5, 2, 3], [0, 1, -1, 2.0]],
    ),
    "ZeroInflated": (
        likelihoods.ZeroInflated(likelihoods.NegativeBinomial(EVEN(4), EVEN(4)), EVEN(4)),
        [0.0, 7, 1, 2],
        [[0.0, 1, -1, 2]],
    ),
    "Multinomial": (likelihoods.Multinomial(EVEN(4)), [0.0, 7, 1, 2], [[0.25, 0.25, 0.25, 0.25]]),
    "Normal": (Normal(EVEN(4), EVEN(4)), [0.0, -1e9, 1, 2], [[0.0, 1, float("nan"), 2], [0.0, 1, 2, float("inf")]]),
}


@pytest.mark.parametrize("name", CASES)
def test_mass_is_where_the_likelihood_says(name):
    """Where it is inside, the wrapped density is the density; outside there is a sentence with the value."""
    distribution, inside, outside = CASES[name]
    log_prob = jax.jit(checkify.checkify(jaxvae.models.Checked(distribution).log_prob))
    value = jnp.asarray(inside)
    error, found = log_prob(value)
    assert error.get() is None
    np.testing.assert_allclose(found, distribution.log_prob(value), rtol=1e-6)
    assert bool(jnp.all(support(distribution, distribution.sample(KEY)).inside))
    for wrong in outside:
        error, _ = log_prob(jnp.asarray(wrong))
        assert error.get().startswith("x holds ")


@pytest.mark.parametrize("levels", [2, 4])
def test_pixels_one_by_one_have_their_levels(levels):
    outputs = likelihoods.AutoregressivePixels.parameters((3, 3, 1), levels=levels, maps=2, layers=1)
    decoder = networks.mlp((), outputs)
    distribution = likelihoods.AutoregressivePixels(**decoder.apply(decoder.init(KEY, jnp.zeros(2)), jnp.zeros(2)))
    image = jnp.full((3, 3, 1), 1.0)
    assert bool(jnp.all(support(distribution, image).inside))
    assert bool(jnp.all(support(distribution, image / 3).inside)) == (levels == 4)
    assert not bool(jnp.all(support(distribution, image / 2).inside))


def test_steps_after_the_end_may_hold_anything():
    distribution = Steps(Bernoulli(EVEN((3, 2))))
    values = jnp.array([[0.0, 1], [1, 1], [9, 9]])
    assert bool(jnp.all(support(distribution, Sequence(values, jnp.array([1.0, 1, 0]))).inside))
    assert not bool(jnp.all(support(distribution, Sequence(values, jnp.ones(3))).inside))


def model_of(likelihood=Bernoulli, outputs=None):
    return jaxvae.vae(
        encoder=networks.mlp((5,), Normal.parameters((2,))),
        decoder=networks.mlp((5,), outputs or likelihood.parameters(D)),
        prior=standard_normal((2,)),
        likelihood=likelihood,
    )


BOUNDS = {
    "elbo": partial(jaxvae.elbo, num_samples=3),
    "iwae_bound": partial(jaxvae.iwae_bound, num_samples=3),
    "log_likelihood": partial(jaxvae.log_likelihood, num_samples=30),
    "prior_log_likelihood": partial(jaxvae.evaluation.prior_log_likelihood, num_samples=30),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds_of_a_checked_model_are_the_models_and_refuse_255(name):
    model = model_of()
    params, x = model.init(KEY, jnp.ones(D)), jnp.array([0.0, 1, 1, 0])
    plain, strict = (partial(BOUNDS[name], one, KEY, params) for one in (model, checked(model)))
    error, found = jax.jit(checkify.checkify(strict))(x)
    assert error.get() is None
    np.testing.assert_allclose(found, plain(x), rtol=1e-6)
    assert float(Bernoulli(jnp.ones(4)).log_prob(255 * x)) > 500  # and nothing else says so
    error, _ = jax.jit(checkify.checkify(strict))(255 * x)
    assert "x holds 255.0, and a Bernoulli has mass on 0 and 1 alone: binarise the data" in error.get()
    with pytest.raises(checkify.JaxRuntimeError, match="x holds 255"):
        error.throw()


def test_eagerly_it_raises():
    model = checked(model_of())
    params = model.init(KEY, jnp.ones(D))
    with pytest.raises(checkify.JaxRuntimeError, match=r"x holds 0\.5"):
        model.terms(KEY, params, jnp.array([0.0, 1, 0.5, 0]))


def test_a_batch_and_its_gradient_are_checked():
    model = model_of()
    strict = checked(model)
    params = model.init(KEY, jnp.ones(D))
    keys, xs = jax.random.split(KEY, 6), jnp.tile(jnp.array([0.0, 1, 1, 0]), (6, 1))

    def mean(one, params, xs):
        return jnp.mean(jax.vmap(lambda key, x: jaxvae.elbo(one, key, params, x))(keys, xs))

    value_and_gradient = jax.jit(checkify.checkify(jax.value_and_grad(partial(mean, strict))))
    error, found = value_and_gradient(params, xs)
    assert error.get() is None
    for leaf, expected in zip(
        jax.tree.leaves(found), jax.tree.leaves(jax.value_and_grad(partial(mean, model))(params, xs)), strict=True
    ):
        np.testing.assert_allclose(leaf, expected, rtol=1e-5, atol=1e-6)
    error, _ = value_and_gradient(params, xs.at[4, 1].set(3.0))
    assert "x holds 3.0" in error.get()


def test_categorical_examples_that_wrap_are_refused():
    """ln p(-1) is that of the last class, in every array library that wraps its indices."""
    model = jaxvae.vae(
        encoder=networks.mlp((5,), Normal.parameters((2,))),
        decoder=networks.mlp((5,), {"logits": (4, 3)}),
        prior=standard_normal((2,)),
        likelihood=distributions.Categorical,
    )
    x = jnp.array([0, 1, 2, 2])
    params = model.init(KEY, x.astype(jnp.float32))
    likelihood = checked(model).likelihood(params, jnp.zeros(2))
    log_prob = jax.jit(checkify.checkify(likelihood.log_prob))
    assert float(model.likelihood(params, jnp.zeros(2)).log_prob(x)) == float(log_prob(x)[1])
    assert "x holds -1, and these classes are the whole numbers from 0 to 2" in log_prob(x.at[3].set(-1))[0].get()


def test_the_part_of_x_that_the_likelihood_is_over_is_named():
    model = conditional_vae(
        split=lambda x: x,
        encoder=reading_both(networks.mlp((5,), Normal.parameters((2,)))),
        decoder=reading_both(networks.mlp((5,), Bernoulli.parameters(D))),
        prior=the_same_for_all((2,)),
    )
    x = (jnp.array([0.0, 1, 1, 0]), jnp.array([0.3, 0.7]))
    params = model.init(KEY, x)
    with pytest.raises(ValueError, match=r"is over \(4,\), and x has \(4,\) and \(2,\): give the part .*event="):
        checked(model).terms(KEY, params, x)
    strict = checked(model, event=lambda x: x[0])
    assert strict.terms(KEY, params, x) == model.terms(KEY, params, x)
    with pytest.raises(checkify.JaxRuntimeError, match="x holds 2"):
        strict.terms(KEY, params, (2 * x[0], x[1]))


def test_levels_that_are_dequantised_are_checked_as_the_density_between_them():
    model = dequantized(model_of(distributions.ContinuousBernoulli))
    params = model.init(KEY, jnp.ones(D))
    error, _ = checkify.checkify(partial(jaxvae.elbo, checked(model), KEY, params))(jnp.asarray(LEVELS))
    assert error.get() is None
    error, _ = checkify.checkify(partial(jaxvae.elbo, checked(model), KEY, params))(255 * jnp.asarray(LEVELS))
    assert "divide 8-bit pixels by 255" in error.get()
