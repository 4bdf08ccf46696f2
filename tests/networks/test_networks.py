import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rows import first

from jaxvae import networks
from jaxvae.distributions import Bernoulli, Normal
from jaxvae.likelihoods import DiscretizedLogisticMixture
from jaxvae.networks import Free, ResidualBlock, conv_decoder, conv_encoder, conv_pair, layers, mlp, with_output_bias

SHAPES = [(7, 5, 3), (28, 20, 1)]


def rng(seed=0):
    return np.random.default_rng(seed)


def shapes_of(outputs):
    return {name: output.shape for name, output in outputs.items()}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("normalise", "blocks"), first(1, [(True, 2), (False, 0), (True, 0), (False, 1)]))
def test_convolutional_networks_for_odd_sizes(shape, normalise, blocks):
    outputs = {"mean": (2, 3), "log_scale": (2, 3)}
    encoder = conv_encoder((4, 6, 4), outputs, normalise=normalise, blocks=blocks)
    x = jnp.asarray(rng().uniform(size=shape), jnp.float32)
    params = jax.jit(encoder.init)(jax.random.key(0), x)
    assert shapes_of(jax.jit(encoder.apply)(params, x)) == {"mean": (2, 3), "log_scale": (2, 3)}

    mixture = DiscretizedLogisticMixture.parameters(shape, 2)
    decoder = conv_decoder((6, 4, 4), mixture, normalise=normalise, blocks=blocks)
    params = jax.jit(decoder.init)(jax.random.key(0), jnp.ones((2, 3)))
    found = jax.jit(decoder.apply)(params, jnp.ones((2, 3)))
    assert shapes_of(found) == DiscretizedLogisticMixture.parameters(shape, 2)
    assert all(np.all(np.isfinite(output)) for output in found.values())


@pytest.mark.parametrize(
    "pair",
    [networks.small_pair, networks.iwae_pair, conv_pair, networks.residual_pair],
    ids=["small", "iwae", "conv", "residual"],
)
def test_pairs_have_the_shapes_they_are_asked_for(pair):
    encoder, decoder = pair(Normal.parameters((20,)), Bernoulli.parameters((28, 28, 1)))
    encoder_params = jax.eval_shape(encoder.init, jax.random.key(0), jnp.zeros((28, 28, 1)))
    decoder_params = jax.eval_shape(decoder.init, jax.random.key(0), jnp.zeros(20))
    codes = jax.eval_shape(encoder.apply, encoder_params, jnp.zeros((28, 28, 1)))
    assert shapes_of(codes) == Normal.parameters((20,))
    assert shapes_of(jax.eval_shape(decoder.apply, decoder_params, jnp.zeros(20))) == {"logits": (28, 28, 1)}


def size(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def test_the_published_networks_have_their_number_of_parameters():
    encoder, decoder = networks.small_pair(Normal.parameters((20,)), Bernoulli.parameters((784,)))
    encoder_size = size(jax.eval_shape(encoder.init, jax.random.key(0), jnp.zeros(784)))
    assert encoder_size == 785 * 400 + 2 * 401 * 20
    assert size(jax.eval_shape(decoder.init, jax.random.key(0), jnp.zeros(20))) == 21 * 400 + 401 * 784
    encoder, decoder = networks.iwae_pair(Normal.parameters((50,)), Bernoulli.parameters((784,)))
    encoder_size = size(jax.eval_shape(encoder.init, jax.random.key(0), jnp.zeros(784)))
    assert encoder_size == 785 * 200 + 201 * 200 + 2 * 201 * 50
    decoder_size = size(jax.eval_shape(decoder.init, jax.random.key(0), jnp.zeros(50)))
    assert decoder_size == 51 * 200 + 201 * 200 + 201 * 784


def test_the_published_networks_in_another_width():
    for pair, size_of_encoder in ((networks.small_pair, 9 * 7 + 8 * 2), (networks.iwae_pair, 9 * 7 + 8 * 7 + 8 * 2)):
        encoder, decoder = pair({"mean": (2,)}, {"logits": (8,)}, width=7)
        assert size(jax.eval_shape(encoder.init, jax.random.key(0), jnp.zeros(8))) == size_of_encoder
        found = jax.eval_shape(decoder.init, jax.random.key(0), jnp.zeros(2))["params"]
        assert found["heads"]["logits"]["kernel"].shape == (7, 8)


def test_an_mlp_by_hand():
    network = mlp((5, 4), {"mean": (2, 3), "scale": ()}, activation=jnp.tanh)
    x = jnp.asarray(rng().normal(size=(3, 2)), jnp.float32)
    params = jax.jit(network.init)(jax.random.key(0), x)
    layers = jax.tree.map(np.asarray, params["params"])
    features = np.asarray(x).reshape(-1)
    for name in ("Dense_0", "Dense_1"):
        features = np.tanh(features @ layers[name]["kernel"] + layers[name]["bias"])
    found = jax.jit(network.apply)(params, x)
    for name, shape in (("mean", (2, 3)), ("scale", ())):
        head = layers["heads"][name]
        np.testing.assert_allclose(found[name], (features @ head["kernel"] + head["bias"]).reshape(shape), rtol=1e-5)


def test_weights_start_by_glorots_rule_and_biases_at_zero():
    network = mlp((300,), {"mean": (200,)})
    params = jax.jit(network.init)(jax.random.key(0), jnp.zeros(100))["params"]
    limit = np.sqrt(6 / (100 + 300))
    kernel = np.asarray(params["Dense_0"]["kernel"])
    assert 0.99 * limit < np.abs(kernel).max() <= limit
    np.testing.assert_allclose(kernel.std(), limit / np.sqrt(3), rtol=0.02)
    assert not np.any(params["Dense_0"]["bias"])


NETWORKS = {
    "mlp": (mlp((6,), {"mean": (2,), "log_scale": Free(())}), (7, 5, 3)),
    "encoder": (conv_encoder((8, 16), {"mean": (2,)}, normalise=True), (7, 5, 3)),
    "decoder": (conv_decoder((16, 8), {"logits": (7, 5, 3)}, normalise=True), (4,)),
    "residual encoder": (conv_encoder((8, 16), {"mean": (2,)}, normalise=True, blocks=1), (7, 5, 3)),
    "residual decoder": (conv_decoder((16, 8), {"logits": (7, 5, 3)}, normalise=True, blocks=1), (4,)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_under_vmap_is_a_loop(name):
    """An example's outputs depend on no other example: also with normalisation."""
    network, shape = NETWORKS[name]
    xs = jnp.asarray(
        rng().normal(size=(3, *shape)) * np.array([1.0, 5.0, 0.1]).reshape(3, *[1] * len(shape)), jnp.float32
    )
    params = jax.jit(network.init)(jax.random.key(0), xs[0])
    apply = jax.jit(network.apply)
    together = jax.jit(jax.vmap(network.apply, (None, 0)))(params, xs)
    for i, x in enumerate(xs):
        for output, value in apply(params, x).items():
            np.testing.assert_allclose(together[output][i], value, rtol=1e-4, atol=1e-5)


def test_group_normalisation_by_hand():
    """Mean and variance of one image over its pixels and the channels of a group, 8 groups of 2 channels."""
    network = conv_encoder((16,), {"features": (4 * 3 * 16,)}, activation=lambda x: x, normalise=True)
    x = jnp.asarray(rng().normal(size=(7, 5, 3)), jnp.float32)
    params = jax.jit(network.init)(jax.random.key(0), x)
    norm, head = params["params"]["GroupNorm_0"], params["params"]["heads"]["features"]
    norm["scale"] = jnp.asarray(rng(1).normal(size=16), jnp.float32)
    norm["bias"] = jnp.asarray(rng(2).normal(size=16), jnp.float32)
    head["kernel"] = jnp.eye(4 * 3 * 16)

    kernel, bias = (np.asarray(params["params"]["Convolution_0"][name], np.float64) for name in ("kernel", "bias"))
    image = np.pad(np.asarray(x, np.float64), ((1, 1), (1, 1), (0, 0)))  # 7 and 5 are odd: SAME pads one on each side
    maps = np.zeros((4, 3, 16))
    for row in range(4):
        for column in range(3):
            window = image[2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
            maps[row, column] = np.einsum("hwc,hwco->o", window, kernel) + bias
    groups = maps.reshape(4, 3, 8, 2)
    centered = groups - groups.mean(axis=(0, 1, 3), keepdims=True)
    normalised = centered / np.sqrt(np.mean(centered**2, axis=(0, 1, 3), keepdims=True) + 1e-6)
    expected = normalised.reshape(4, 3, 16) * np.asarray(norm["scale"]) + np.asarray(norm["bias"])
    found = jax.jit(network.apply)(params, x)["features"]
    np.testing.assert_allclose(found, expected.ravel(), rtol=1e-3, atol=1e-4)


def convolved(image, layer):
    """3 x 3 windows of an image with a border of zeros, by hand."""
    kernel, bias = (np.asarray(layer[name], np.float64) for name in ("kernel", "bias"))
    bordered = np.pad(image, ((1, 1), (1, 1), (0, 0)))
    rows, columns = image.shape[:2]
    windows = [[bordered[row : row + 3, column : column + 3] for column in range(columns)] for row in range(rows)]
    return np.einsum("rchwi,hwio->rco", np.array(windows), kernel) + bias


def test_a_residual_block_by_hand():
    block = ResidualBlock(jax.nn.relu, normalise=False)
    x = jnp.asarray(rng().normal(size=(5, 4, 3)), jnp.float32)
    params = jax.jit(block.init)(jax.random.key(0), x)
    moved = jax.tree.map(lambda leaf: leaf + 0.1 * rng(1).normal(size=leaf.shape).astype(np.float32), params)
    first, second = (moved["params"][f"Convolution_{index}"] for index in range(2))
    image = np.asarray(x, np.float64)
    change = convolved(np.maximum(convolved(image, first), 0), second)
    expected = np.maximum(image + change, 0)
    np.testing.assert_allclose(jax.jit(block.apply)(moved, x), expected, rtol=1e-4, atol=1e-5)
    nothing = jax.tree.map(jnp.zeros_like, params)
    np.testing.assert_array_equal(jax.jit(block.apply)(nothing, x), np.maximum(x, 0))


def test_a_doubled_image_is_a_transposed_convolution():
    """Every pixel spreads over the 4 x 4 pixels from twice its place on, by NumPy; what falls off the image is lost."""
    layer, x = layers.Doubling(2), jnp.asarray(rng().normal(size=(3, 4, 5)), jnp.float32)
    params = jax.jit(layer.init)(jax.random.key(0), x)
    kernel = np.asarray(params["params"]["maps"]["kernel"], np.float64).reshape(2, 2, 5, 2, 2, 2)  # i, j, in, a, b, out
    expected = np.zeros((2 * 3 + 2, 2 * 4 + 2, 2))
    for row, column in itertools.product(range(3), range(4)):
        for i, j, a, b in itertools.product(range(2), repeat=4):  # the earlier tap of the window is the farther block
            place = 2 * row + 2 * (1 - i) + a, 2 * column + 2 * (1 - j) + b
            expected[place] += np.asarray(x[row, column], np.float64) @ kernel[i, j, :, a, b]
    np.testing.assert_allclose(jax.jit(layer.apply)(params, x), expected[:6, :8], rtol=1e-4, atol=1e-5)


def test_the_residual_pair_is_the_convolutional_pair_with_blocks_of_two_convolutions():
    for plain, residual, x in zip(
        conv_pair(Normal.parameters((20,)), Bernoulli.parameters((28, 28, 1))),
        networks.residual_pair(Normal.parameters((20,)), Bernoulli.parameters((28, 28, 1))),
        (jnp.zeros((28, 28, 1)), jnp.zeros(20)),
        strict=True,
    ):
        sizes = [size(jax.eval_shape(network.init, jax.random.key(0), x)) for network in (plain, residual)]
        # At 32 and at 64 maps: two kernels of 3 x 3 with their biases, and two normalisations.
        assert sizes[1] - sizes[0] == sum(2 * (9 * maps * maps + maps) + 2 * 2 * maps for maps in (32, 64))


@pytest.mark.parametrize(
    "network",
    [
        mlp((4,), {"mean": (4, 3, 1), "log_scale": Free((), -1.5)}),
        conv_decoder((4,), {"log_scale": Free((), -1.5), "mean": (4, 3, 1)}),
    ],
)
def test_free_outputs_are_parameters_that_no_input_moves(network):
    z = jnp.ones(2)
    params = jax.jit(network.init)(jax.random.key(0), z)
    found, moved = (jax.jit(network.apply)(params, code) for code in (z, -3 * z))
    assert found["log_scale"].shape == ()
    assert float(found["log_scale"]) == float(moved["log_scale"]) == -1.5
    assert not np.array_equal(found["mean"], moved["mean"])
    log_prob = jax.jit(jax.grad(lambda params: Normal(**network.apply(params, z)).log_prob(jnp.ones((4, 3, 1)))))
    leaves = jax.tree_util.tree_leaves_with_path(log_prob(params))
    slopes = [leaf for path, leaf in leaves if path[-1].key == "log_scale"]
    assert len(slopes) == 1
    squares = np.square((1 - np.asarray(found["mean"])) / np.exp(-1.5))
    np.testing.assert_allclose(slopes[0], (squares - 1).sum(), rtol=1e-4)


def test_the_output_bias_of_an_mlp_is_the_whole_image():
    decoder = mlp((4,), {"logits": (4, 3, 1), "other": (2,)})
    params = jax.jit(decoder.init)(jax.random.key(0), jnp.zeros(2))
    bias = jnp.arange(12.0).reshape(4, 3, 1)
    changed = with_output_bias(params, "logits", bias)
    found = jax.jit(decoder.apply)(changed, jnp.zeros(2))  # hidden biases start at zero: z = 0 shows the output's alone
    np.testing.assert_allclose(found["logits"], bias)
    np.testing.assert_allclose(found["other"], 0)
    assert not np.any(params["params"]["heads"]["logits"]["bias"])  # the params given are left as they were
    kernels = [p["params"]["heads"]["logits"]["kernel"] for p in (params, changed)]
    np.testing.assert_array_equal(*kernels)


def test_the_output_bias_of_a_convolution_is_the_mean_of_each_channel():
    decoder = conv_decoder((4,), {"logits": (4, 3, 2)})
    params = jax.jit(decoder.init)(jax.random.key(0), jnp.zeros(2))
    bias = jnp.arange(24.0).reshape(4, 3, 2)
    found = jax.jit(decoder.apply)(with_output_bias(params, "logits", bias), jnp.zeros(2))["logits"]
    np.testing.assert_allclose(found, np.broadcast_to(np.asarray(bias).mean(axis=(0, 1)), (4, 3, 2)), rtol=1e-6)


def test_an_output_without_a_bias_is_refused():
    decoder = mlp((4,), {"mean": (2,), "log_scale": Free(())})
    params = jax.jit(decoder.init)(jax.random.key(0), jnp.zeros(2))
    for name in ("logits", "log_scale"):
        with pytest.raises(ValueError, match=f"no layer named '{name}' with a bias"):
            with_output_bias(params, name, jnp.zeros(2))


def test_a_network_in_bfloat16_keeps_its_params_and_outputs_and_rounds_between():
    whole = networks.mlp((64, 64), {"mean": (8,), "log_scale": networks.Free(())})
    half = networks.in_bfloat16(whole)
    x = rng().normal(size=12).astype(np.float32)
    params = half.init(jax.random.key(0), x)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype("float32")}
    found, expected = half.apply(params, x), whole.apply(params, x)
    assert found["mean"].dtype == jnp.float32
    error = np.abs(found["mean"] - expected["mean"]).max()
    assert 0 < error < 0.03  # a few roundings to 8 digits of numbers near one
    products = [line for line in str(jax.make_jaxpr(half.apply)(params, x)).splitlines() if "= dot_general" in line]
    assert len(products) == 3
    assert all(line.split("=")[0].count(":f32") == 1 for line in products)  # the sums
    operands = [
        equation.invars
        for equation in jax.make_jaxpr(layers.product, static_argnums=2)(
            jnp.zeros((2, 3), jnp.bfloat16), jnp.zeros((3, 4), jnp.bfloat16), (((1,), (0,)), ((), ()))
        ).eqns
        if equation.primitive.name == "dot_general"
    ]
    assert [variable.aval.dtype for variable in operands[0]] == [jnp.bfloat16, jnp.bfloat16]
    gradient = jax.grad(lambda params: half.apply(params, x)["mean"].sum())(params)
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {np.dtype("float32")}


@pytest.mark.parametrize(
    "pair", [networks.small_pair, networks.iwae_pair, pytest.param(networks.conv_pair, marks=pytest.mark.slow)]
)
def test_every_pair_runs_in_bfloat16(pair):
    encoder, decoder = map(networks.in_bfloat16, pair({"mean": (3,)}, {"logits": (8, 8, 1)}))
    x = jnp.ones((8, 8, 1))
    with jax.numpy_dtype_promotion("standard"):  # Linen's group normalisation has its statistics in float32
        z = jax.jit(lambda key: encoder.apply(encoder.init(key, x), x)["mean"])(jax.random.key(0))
        logits = jax.jit(lambda key: decoder.apply(decoder.init(key, z), z)["logits"])(jax.random.key(1))
    assert logits.dtype == jnp.float32
    assert np.isfinite(logits).all()
