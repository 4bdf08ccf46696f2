"""Every prior: a density that integrates to one, draws that have it, gradients to all of its params."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy
from rows import first
from standard_errors import assert_mean

from jaxvae import bounds, networks, vae
from jaxvae.distributions import Bernoulli, Laplace, MaskedNormal, Mixture, Normal, log_densities
from jaxvae.flows import affine_coupling
from jaxvae.models import linear
from jaxvae.priors import learned, normal_mixture, standard_normal, vamp_prior

X = jnp.asarray(np.random.default_rng(0).integers(0, 2, (3, 2, 1)), jnp.float32)
IMAGES = np.random.default_rng(1).uniform(size=(9, 3, 2, 1)).astype(np.float32)
PRIORS = {
    "mixture": normal_mixture((2,), num_components=4),
    "vamp from images, weights learned": vamp_prior(num_components=5, images=IMAGES, learned_weights=True),
    "autoregressive": learned(MaskedNormal, (2,), hidden=6),
    "flow": learned(affine_coupling, (2,), num_flows=2, amortised=False, hidden=6),
    "standard normal": standard_normal((2,)),
    "learned normal": learned(Normal, (2,)),
    "vamp": vamp_prior(num_components=5),
}


def model_with(prior):
    encoder = networks.mlp((6,), Normal.parameters((2,)))
    return vae(encoder=encoder, decoder=networks.mlp((6,), Bernoulli.parameters((3, 2, 1))), prior=prior)


@pytest.fixture(scope="module", params=first(4, PRIORS))
def moved(request):
    """The model with each prior, its params away from where they start."""
    model = model_with(PRIORS[request.param])
    params = jax.jit(model.init)(jax.random.key(0), X)
    rng = np.random.default_rng(2)
    params = jax.tree.map(lambda leaf: leaf + jnp.asarray(0.5 * rng.normal(size=leaf.shape), leaf.dtype), params)
    return model, params


def test_its_density_integrates_to_one_and_its_draws_have_its_moments(moved):
    model, params = moved
    axis = np.linspace(-14, 14, 401, dtype=np.float32)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    density = jax.jit(lambda params, zs: jnp.exp(jax.vmap(jax.vmap(model.prior(params).log_prob))(zs)))(params, grid)
    density = np.asarray(density, float)

    def integral(values):
        return scipy.integrate.simpson(scipy.integrate.simpson(values * density, x=axis), x=axis)

    np.testing.assert_allclose(integral(np.ones_like(density)), 1, atol=1e-4)
    draw = jax.jit(lambda params, keys: jax.vmap(model.prior(params).sample)(keys))
    draws = np.asarray(draw(params, jax.random.split(jax.random.key(1), 20_000)))
    for one, other in ((1, 0), (0, 1), (2, 0), (0, 2), (1, 1), (2, 2), (3, 1)):
        moment = integral(grid[..., 0] ** one * grid[..., 1] ** other)
        assert_mean(draws[:, 0] ** one * draws[:, 1] ** other, moment)
    half = integral((grid[..., 0] < 0.3) & (grid[..., 1] > -0.2))  # whose edges lie between two points of the grid
    np.testing.assert_allclose(np.mean((draws[:, 0] < 0.3) & (draws[:, 1] > -0.2)), half, atol=0.03)


def test_gradients_reach_every_param(moved):
    model, params = moved
    bound = jax.jit(jax.grad(lambda params: bounds.iwae_bound(model, jax.random.key(3), params, X, num_samples=4)))
    for path, leaf in jax.tree_util.tree_leaves_with_path(bound(params)):
        assert np.all(np.isfinite(leaf)), path
        assert np.any(leaf != 0), path


def test_the_importance_weights_average_to_the_same_probability_whatever_draws(moved):
    """p(x) by draws from the prior and by draws from the posterior."""
    model, params = moved
    keys = jax.random.split(jax.random.key(4), 20_000)
    weights = jax.jit(jax.vmap(lambda key: jnp.exp(model.terms(key, params, X).log_weight)))(keys)
    of_prior = lambda key: jnp.exp(model.likelihood(params, model.prior(params).sample(key)).log_prob(X))  # noqa: E731
    others = np.asarray(jax.jit(jax.vmap(of_prior))(keys), float)
    weights = np.asarray(weights, float)
    error = np.hypot(weights.std() / np.sqrt(len(weights)), others.std() / np.sqrt(len(others)))
    assert abs(weights.mean() - others.mean()) < 5 * error
    assert error < 0.1 * others.mean()


@pytest.mark.parametrize("name", first(3, [name for name in PRIORS if name != "standard normal"]))
def test_a_fresh_prior_with_gaussian_starts_is_near_the_standard_one(name):
    model = model_with(PRIORS[name])
    params = model.init(jax.random.key(0), X)
    prior = model.prior(params)
    z = jnp.array([0.3, -0.5])
    standard = Normal(jnp.zeros(2), jnp.zeros(2)).log_prob(z)
    tolerance = 1e-6 if name == "learned normal" else 0.05 if name == "autoregressive" else 2
    np.testing.assert_allclose(prior.log_prob(z), standard, atol=tolerance)
    assert prior.expectation().shape == (2,)


def test_learned_parameters_start_where_they_are_told():
    start = {"mean": 0.5, "log_scale": jax.nn.initializers.normal(0.1)}
    params = learned(Normal, (3,), start=start).init(jax.random.key(0), X)
    np.testing.assert_array_equal(params["mean"], np.full(3, 0.5))
    assert 0 < np.abs(params["log_scale"]).max() < 0.5
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(params))  # a step would compile twice
    with pytest.raises(ValueError, match="start names 'scale', and this prior has the parameters mean, log_scale"):
        learned(Normal, (3,), start={"scale": 1.0})


def test_parameters_that_start_by_chance_start_apart():
    """Two weights of one shape and one distribution: by one key they would be the same."""
    params = learned(MaskedNormal, (3,), hidden=4).init(jax.random.key(0), X)
    assert params["mean_weight"].shape == params["log_scale_weight"].shape
    assert not np.any(params["mean_weight"] == params["log_scale_weight"])


def mixture(seed=0, dtype=np.float64, scale=1.0, event=(3, 2)):
    rng = np.random.default_rng(seed)
    logits, mean = rng.normal(size=5), rng.normal(size=(5, *event))
    log_scale = np.log(scale) + 0.3 * rng.normal(size=(5, *event))
    return tuple(jnp.asarray(array, dtype) for array in (logits, mean, log_scale))


def test_a_mixture_is_the_sum_of_its_components(float64):
    logits, mean, log_scale = mixture()
    value = jnp.asarray(np.random.default_rng(3).normal(size=(3, 2)))
    each = scipy.stats.norm(mean, np.exp(log_scale)).logpdf(value).sum(axis=(1, 2))
    np.testing.assert_allclose(log_densities(value, mean, log_scale), each, rtol=1e-12)
    expected = scipy.special.logsumexp(each + scipy.special.log_softmax(logits))
    np.testing.assert_allclose(Mixture(logits, Normal(mean, log_scale)).log_prob(value), expected, rtol=1e-12)
    shared = Mixture(logits, Normal(mean, log_scale[:, 0, 0]))
    each = scipy.stats.norm(mean, np.exp(log_scale[:, :1, :1])).logpdf(value).sum(axis=(1, 2))
    expected = scipy.special.logsumexp(each + scipy.special.log_softmax(logits))
    np.testing.assert_allclose(shared.log_prob(value), expected, rtol=1e-12)
    other = scipy.stats.laplace(mean, np.exp(log_scale)).logpdf(value).sum(axis=(1, 2))
    expected = scipy.special.logsumexp(other + scipy.special.log_softmax(logits))
    np.testing.assert_allclose(Mixture(logits, Laplace(mean, log_scale)).log_prob(value), expected, rtol=1e-12)


@pytest.mark.slow
def test_the_gradients_under_many_gaussians_are_those_of_the_sum_itself(float64):
    _, mean, log_scale = mixture()
    weights = jnp.arange(5.0)
    value = jnp.asarray(np.random.default_rng(3).normal(size=(3, 2)))

    def plainly(value, mean, log_scale):
        standardised = (value[None] - mean) * jnp.exp(-log_scale)
        return -jnp.sum(0.5 * standardised**2 + log_scale, axis=(1, 2)) @ weights

    found = jax.grad(lambda *a: log_densities(*a) @ weights, argnums=(0, 1, 2))(value, mean, log_scale)
    expected = jax.grad(plainly, argnums=(0, 1, 2))(value, mean, log_scale)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10)
    twice = jax.hessian(lambda value: log_densities(value, mean, log_scale) @ weights)(value)
    np.testing.assert_allclose(twice, jax.hessian(lambda value: plainly(value, mean, log_scale))(value), atol=1e-9)


def test_narrow_gaussians_far_from_zero_keep_their_digits_in_single_precision():
    _, mean, log_scale = mixture(dtype=np.float32, scale=0.01, event=(40,))
    mean = mean + 5
    value = mean[2] + 0.01 * jnp.asarray(np.random.default_rng(3).normal(size=40), jnp.float32)
    exact = [np.asarray(array, float) for array in (value, mean, log_scale)]
    expected = scipy.stats.norm(exact[1], np.exp(exact[2])).logpdf(exact[0]).sum(axis=1)
    np.testing.assert_allclose(log_densities(value, mean, log_scale), expected, rtol=1e-5)
    slope = jax.grad(lambda *a: log_densities(*a)[2], argnums=(0, 1, 2))(value, mean, log_scale)
    standardised = (exact[0] - exact[1][2]) / np.exp(exact[2][2])
    np.testing.assert_allclose(slope[0], -standardised / np.exp(exact[2][2]), rtol=1e-2, atol=0.1)
    np.testing.assert_allclose(slope[2][2], standardised**2 - 1, atol=0.2)  # of terms that are 250,000


def test_a_batch_s_gradient_makes_no_array_of_examples_by_gaussians_by_dimensions():
    prior = normal_mixture((7,), num_components=11)
    params = prior.init(jax.random.key(0), X)

    def loss(params, zs):
        return jnp.sum(jax.vmap(prior.apply(params, None).log_prob)(zs))

    jaxpr = jax.make_jaxpr(jax.vjp(loss, params, jnp.ones((13, 7)))[1])(1.0)
    sizes = [variable.aval.size for equation in jaxpr.eqns for variable in equation.outvars]
    assert max(sizes) < 13 * 11 * 7


def test_the_pseudo_inputs_are_encoded_once_for_a_batch_and_its_draws():
    """The network reads 5 pseudo-inputs and each example once: not 5 for each example, and not 5 for each draw."""
    sizes = []
    network = networks.mlp((9,), Normal.parameters((2,)))

    def apply(params, x):
        sizes.append(x.shape)
        return network.apply(params, x)

    model = vae(
        encoder=network._replace(apply=apply),
        decoder=networks.mlp((9,), Bernoulli.parameters((3, 2, 1))),
        prior=vamp_prior(num_components=5),
    )
    params = model.init(jax.random.key(0), X)
    keys, xs = jax.random.split(jax.random.key(1), 4), jnp.stack([X] * 4)
    bound = jax.vmap(partial(bounds.iwae_bound, model, num_samples=3), (0, None, 0))
    jaxpr = jax.make_jaxpr(bound)(keys, params, xs)
    first = params["encoder"]["params"]["Dense_0"]["kernel"].shape
    rows = [
        int(np.prod(equation.invars[0].aval.shape[:-1]))
        for equation in jaxpr.eqns
        if equation.primitive.name == "dot_general" and equation.invars[1].aval.shape == first
    ]
    assert sorted(rows) == [4, 5]
    assert len(sizes) == 1 + 2  # traced for the first params, then once for the example and once for the prior


def test_pseudo_inputs_start_at_the_images_and_stay_between_black_and_white():
    model = linear.linear_vae(latent=2)
    images = np.array([[0.0, 1.0, 0.5], [0.25, 0.75, 1.0], [0.1, 0.2, 0.3]], np.float32)
    params = model.init(jax.random.key(0), jnp.zeros(3))
    seen = []

    def posterior(x):
        seen.append(x)
        return model.posterior(params, x)

    prior = vamp_prior(num_components=2, images=images)
    of_prior = prior.init(jax.random.key(1), jnp.zeros(3))
    made = prior.apply(of_prior, posterior)
    expected = jax.vmap(partial(model.posterior, params))(jnp.clip(images[:2], 0.01, 0.99))
    np.testing.assert_allclose(made.components.mean, expected.mean, rtol=1e-4, atol=1e-6)
    z = jnp.array([0.2, -0.1])
    each = scipy.stats.norm(expected.mean, np.exp(expected.log_scale)).logpdf(z).sum(axis=1)
    np.testing.assert_allclose(made.log_prob(z), scipy.special.logsumexp(each) - np.log(2), rtol=1e-5)
    extreme = jax.tree.map(lambda leaf: 1e4 * leaf, of_prior)
    assert np.isfinite(prior.apply(extreme, posterior).log_prob(z))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: vamp_prior(num_components=0), "num_components=0: a mixture has at least one component"),
        (lambda: vamp_prior(num_components=10, images=IMAGES), "10 pseudo-inputs cannot start at 9 images"),
        (lambda: normal_mixture((2,), num_components=0), "num_components=0: a mixture has at least one component"),
        (lambda: learned(MaskedNormal, (2, 3)), "one of vectors, not of shape"),
    ],
)
def test_priors_that_cannot_be_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize("size", [1, 2, 5])
def test_coordinates_of_the_autoregressive_density_see_the_earlier_ones_alone(size):
    prior = learned(MaskedNormal, (size,), hidden=3 * size)
    rng = np.random.default_rng(0)
    params = {
        name: jnp.asarray(0.3 * rng.normal(size=leaf.shape), jnp.float32)
        for name, leaf in prior.init(jax.random.key(0), X).items()
    }
    made = MaskedNormal(**params)
    value = jnp.asarray(rng.normal(size=size), jnp.float32)
    for field in ("mean", "log_scale"):
        seen = np.abs(jax.jacobian(lambda z, field=field: getattr(made.conditionals(z), field))(value)) > 0
        np.testing.assert_array_equal(seen, np.tril(np.ones((size, size)), -1))
    draw = made.sample(jax.random.key(1))
    noise = jax.random.normal(jax.random.key(1), (size,))
    given = made.conditionals(draw)
    np.testing.assert_allclose(draw, given.mean + jnp.exp(given.log_scale) * noise, rtol=1e-4, atol=1e-5)
