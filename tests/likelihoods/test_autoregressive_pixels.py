import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from standard_errors import assert_mean

from jaxvae import bounds, networks, standard_normal, vae
from jaxvae.distributions import Normal
from jaxvae.likelihoods import AutoregressivePixels, globally_conditioned
from jaxvae.networks import Free

pytestmark = pytest.mark.slow  # long to compile

SHAPE = (3, 3, 1)
IMAGES = jnp.asarray(list(itertools.product([0.0, 1.0], repeat=9)), jnp.float32).reshape(-1, *SHAPE)


def made(shape=SHAPE, dtype=np.float32, seed=0, **options):
    """Weights large enough that pixels depend on each other."""
    rng = np.random.default_rng(seed)
    outputs = AutoregressivePixels.parameters(shape, **({"maps": 5, "layers": 2, "radius": 1} | options))
    shapes = {name: output.shape if isinstance(output, Free) else output for name, output in outputs.items()}
    return AutoregressivePixels(**{name: jnp.asarray(rng.normal(size=s), dtype) for name, s in shapes.items()})


@pytest.mark.parametrize("radius", [1, 2])
def test_probabilities_of_all_images_sum_to_one(radius):
    log_probabilities = jax.jit(jax.vmap(made(radius=radius).log_prob))(IMAGES)
    np.testing.assert_allclose(np.exp(np.asarray(log_probabilities, float)).sum(), 1, rtol=1e-5)
    assert np.ptp(log_probabilities) > 5


def test_probabilities_of_all_images_with_more_levels_and_channels_sum_to_one():
    images = jnp.asarray(list(itertools.product([0.0, 0.5, 1.0], repeat=8)), jnp.float32).reshape(-1, 2, 2, 2)
    log_probabilities = jax.jit(jax.vmap(made((2, 2, 2), levels=3).log_prob))(images)
    np.testing.assert_allclose(np.exp(np.asarray(log_probabilities, float)).sum(), 1, rtol=1e-5)


def test_draws_have_the_probabilities_of_their_images():
    likelihood = made()
    probabilities = np.exp(jax.jit(jax.vmap(likelihood.log_prob))(IMAGES))
    draws = np.asarray(jax.jit(jax.vmap(likelihood.sample))(jax.random.split(jax.random.key(0), 20_000)))
    assert set(np.unique(draws)) == {0.0, 1.0}
    numbers = draws.reshape(-1, 9).astype(int) @ (2 ** np.arange(9)[::-1])
    likely = np.flatnonzero(probabilities > 1e-3)
    assert probabilities[likely].sum() > 0.7
    assert_mean(np.eye(512)[numbers][:, likely], probabilities[likely])
    flat = np.asarray(IMAGES).reshape(-1, 9)
    pairs = np.einsum("n,ni,nj->ij", probabilities, flat, flat)
    common = pairs > 1e-3  # a pair that never came has no standard error
    assert common.sum() > 25
    assert_mean((draws.reshape(-1, 9)[:, :, None] * draws.reshape(-1, 1, 9))[:, common], pairs[common])


def test_draws_of_levels_have_the_probabilities_of_their_images():
    likelihood = made((1, 3, 1), levels=3)
    images = jnp.asarray(list(itertools.product(range(3), repeat=3)), jnp.float32).reshape(-1, 1, 3, 1) / 2
    probabilities = np.exp(jax.vmap(likelihood.log_prob)(images))
    draws = np.asarray(jax.jit(jax.vmap(likelihood.sample))(jax.random.split(jax.random.key(0), 20_000)))
    numbers = np.round(2 * draws.reshape(-1, 3)).astype(int) @ [9, 3, 1]
    likely = np.flatnonzero(probabilities > 1e-3)
    assert_mean(np.eye(27)[numbers][:, likely], probabilities[likely])


@pytest.mark.parametrize(("radius", "hidden_radius", "layers"), [(1, 1, 2), (3, 1, 1), (1, 2, 1), (2, 1, 0)])
def test_a_pixel_sees_the_earlier_pixels_of_its_receptive_field_and_no_other(radius, hidden_radius, layers, float64):
    height, width = 8, 7
    smooth = made((height, width, 1), np.float64, radius=radius, hidden_radius=hidden_radius, layers=layers, maps=12)
    x = jnp.asarray(np.random.default_rng(1).uniform(size=(height, width, 1)))
    jacobian = jax.jit(jax.jacobian(lambda x: smooth.pixels(x).logits))(x)
    seen = np.abs(np.asarray(jacobian).reshape(height * width, height * width)) > 0
    rows, columns = np.divmod(np.arange(height * width), width)
    down, right = rows[None] - rows[:, None], columns[None] - columns[:, None]
    reach = radius + layers * hidden_radius
    earlier = (down < 0) | ((down == 0) & (right < 0))
    inside = earlier & (-down <= reach) & (np.abs(right) <= reach)
    assert not np.any(seen & ~inside)
    # one row, or one column, as far back as the field reaches: there is a path through every layer
    assert np.all(seen[inside & (down == 0)])
    assert np.all(seen[inside & (right == 0)])


def test_one_pass_and_pixel_by_pixel_agree():
    """The draw's own log probability, from the features kept along the way: any misplaced pixel would show."""
    likelihood = made((6, 5, 2), radius=2, hidden_radius=2)
    picture = jax.jit(likelihood.expectation)()
    again = jax.jit(lambda x: likelihood.pixels(x).expectation())(picture)
    np.testing.assert_allclose(picture, again, rtol=1e-4, atol=1e-5)
    draw = jax.jit(likelihood.sample)(jax.random.key(0))
    keys = jax.random.split(jax.random.key(0), 30).reshape(6, 5)
    drawn_again = jax.vmap(jax.vmap(lambda pixel, key: pixel.sample(key)))(likelihood.pixels(draw), keys)
    np.testing.assert_array_equal(draw, drawn_again)


def test_without_layers_and_weights_pixels_are_bernoullis_of_the_maps():
    likelihood = made(layers=0, maps=1)
    likelihood = AutoregressivePixels(
        **(vars(likelihood) | {"first": jnp.zeros((4, 1, 1)), "last": -jnp.ones((1, 1)), "last_bias": jnp.ones(1)})
    )
    logits = 1 - np.maximum(likelihood.maps, 0)
    np.testing.assert_allclose(likelihood.pixels(IMAGES[5]).logits, logits, rtol=1e-6)
    np.testing.assert_allclose(likelihood.expectation(), 1 / (1 + np.exp(-logits)), rtol=1e-5)


@pytest.mark.parametrize("levels", [2, 4])
def test_it_is_finite_at_extremes(levels):
    likelihood = made(levels=levels)
    likelihood = AutoregressivePixels(**(vars(likelihood) | {"maps": 1e4 * likelihood.maps}))
    value, gradient = jax.jit(jax.value_and_grad(lambda d: d.log_prob(jnp.ones(SHAPE))))(likelihood)
    assert np.isfinite(value)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))
    assert np.isfinite(likelihood.sample(jax.random.key(0))).all()


@pytest.mark.parametrize("decoder", ["mlp", "convolutional"])
def test_it_is_a_likelihood_of_a_vae_and_every_weight_learns(decoder):
    outputs = AutoregressivePixels.parameters((4, 4, 1), maps=4, layers=2)
    network = networks.mlp((8,), outputs) if decoder == "mlp" else networks.conv_decoder((4,), outputs)
    encoder = networks.mlp((8,), Normal.parameters((2,)))
    model = vae(encoder=encoder, decoder=network, prior=standard_normal((2,)), likelihood=AutoregressivePixels)
    x = jnp.asarray(np.random.default_rng(0).integers(0, 2, (4, 4, 1)), jnp.float32)
    params = jax.jit(model.init)(jax.random.key(0), x)
    bound, gradient = jax.jit(
        jax.value_and_grad(lambda params: bounds.elbo(model, jax.random.key(1), params, x, num_samples=2))
    )(params)
    assert np.isfinite(bound)
    assert bound < 0
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(gradient))
    free = params["decoder"]["params"]
    hidden = free["hidden"] if "hidden" in free else free["heads"]["hidden"]
    assert not np.array_equal(hidden[0], hidden[1])
    limit = np.sqrt(6 / (5 * 4 + 5 * 4))  # Glorot's: fan-in and fan-out over the five pixels of a kernel
    assert 0.8 * limit < np.abs(hidden).max() <= limit
    assert jax.jit(model.sample)(jax.random.key(2), params).shape == (4, 4, 1)


def test_a_global_code_says_the_same_to_every_pixel():
    outputs = AutoregressivePixels.parameters((4, 3, 1), maps=2, layers=1, radius=1, local=False)
    decoder = networks.mlp((8,), outputs)
    params = decoder.init(jax.random.key(0), jnp.zeros(2))
    found = globally_conditioned((4, 3, 1))(**decoder.apply(params, jnp.ones(2)))
    vector = decoder.apply(params, jnp.ones(2))["maps"]
    assert vector.shape == (2,)
    by_hand = AutoregressivePixels(**(vars(found) | {"maps": jnp.tile(vector[None, None], (4, 3, 1))}))
    x = jnp.asarray(np.random.default_rng(0).integers(0, 2, (4, 3, 1)), jnp.float32)
    assert float(found.log_prob(x)) == float(by_hand.log_prob(x))
    # a blank image has the same neighbours everywhere, and so the same pixels
    blank = found.pixels(jnp.zeros((4, 3, 1))).logits
    np.testing.assert_allclose(blank, np.full_like(blank, blank[0, 0, 0]), rtol=1e-6)


def test_its_weights_stay_one_for_all_examples():
    """A batch's products have the weights without a batch axis: they are products of matrices, not one per example."""
    outputs = AutoregressivePixels.parameters((4, 4, 1), maps=4, layers=1)
    network = networks.mlp((8,), outputs)
    params = network.init(jax.random.key(0), jnp.zeros(2))

    def log_prob(z, x):
        return AutoregressivePixels(**network.apply(params, z)).log_prob(x)

    jaxpr = jax.make_jaxpr(jax.vmap(log_prob))(jnp.zeros((7, 2)), jnp.zeros((7, 4, 4, 1)))
    products = [equation for equation in jaxpr.eqns if equation.primitive.name == "dot_general"]
    assert len(products) == 2 + 3  # the decoder's layers, then the first, the hidden and the last of the pixels
    assert all(not equation.params["dimension_numbers"][1][0] for equation in products)
