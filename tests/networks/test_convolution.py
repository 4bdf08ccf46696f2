import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rows import first
from scipy.signal import correlate2d

from jaxvae import draws, iwae_bound, networks, vae
from jaxvae.distributions import Normal
from jaxvae.networks import Free, conv_encoder, convolution, mlp
from jaxvae.priors import standard_normal

CASES = [((1, 1), ((0, 0), (0, 0))), ((1, 1), ((1, 0), (0, 1))), ((2, 2), ((1, 1), (0, 1))), ((2, 1), ((0, 2), (1, 1)))]


def images_and_kernel():
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.normal(size=(2, 7, 6, 3))), jnp.asarray(rng.normal(size=(3, 2, 3, 4)))


def by_scipy(xs, kernel, strides, padding):
    """Every pair of an input's channel and an output's map by scipy's two-dimensional correlation."""
    padded = np.pad(xs, ((0, 0), *padding, (0, 0)))
    maps = [
        [sum(correlate2d(x[..., c], kernel[..., c, f], "valid") for c in range(3)) for f in range(4)] for x in padded
    ]
    return np.moveaxis(np.asarray(maps), 1, -1)[:, :: strides[0], :: strides[1]]


@pytest.mark.parametrize(("strides", "padding"), CASES)
def test_the_value_is_scipys(float64, strides, padding):
    xs, kernel = images_and_kernel()
    found = convolution(xs, kernel, strides, padding)
    np.testing.assert_allclose(found, by_scipy(xs, kernel, strides, padding), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("strides", "padding"), CASES)
def test_a_linear_map_s_gradient_is_its_transpose(float64, strides, padding):
    """For y = conv(x, K), linear in x and in K, <conv(x', K), y'> = <x', gradient in x> and alike for K."""
    xs, kernel = images_and_kernel()
    value, pull_back = jax.vjp(lambda xs, kernel: convolution(xs, kernel, strides, padding), xs, kernel)
    rng = np.random.default_rng(1)
    cotangent = jnp.asarray(rng.normal(size=value.shape))
    of_xs, of_kernel = pull_back(cotangent)
    other_xs, other_kernel = (jnp.asarray(rng.normal(size=array.shape)) for array in (xs, kernel))
    along_xs = jnp.vdot(by_scipy(other_xs, kernel, strides, padding), cotangent)
    along_kernel = jnp.vdot(by_scipy(xs, other_kernel, strides, padding), cotangent)
    np.testing.assert_allclose(jnp.vdot(of_xs, other_xs), along_xs, rtol=1e-10)
    np.testing.assert_allclose(jnp.vdot(of_kernel, other_kernel), along_kernel, rtol=1e-10)


def test_one_kernel_for_a_batch_and_a_kernel_for_each():
    xs, kernel = images_and_kernel()
    one = lambda x, kernel: jnp.sum(jnp.sin(convolution(x[None], kernel, (2, 2), ((0, 1), (0, 1)))))  # noqa: E731
    gradient = jax.grad(one, argnums=1)
    shared = jax.grad(lambda kernel: jnp.sum(jax.vmap(one, (0, None))(xs, kernel)))(kernel)
    np.testing.assert_allclose(shared, sum(gradient(x, kernel) for x in xs), rtol=1e-4, atol=1e-5)
    kernels = jnp.stack([kernel, 2 * kernel])
    each = jax.vmap(gradient)(xs, kernels)
    for x, kernel, found in zip(xs, kernels, each, strict=True):
        np.testing.assert_allclose(found, gradient(x, kernel), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.uint8, jnp.int32, bool])
def test_images_of_any_type_are_taken_as_a_fully_connected_layer_takes_them(dtype):
    """JAX's own convolution refuses two types; a product of them does not."""
    x = jnp.asarray(np.random.default_rng(0).integers(0, 2, (6, 5, 1)), jnp.float32)
    with jax.numpy_dtype_promotion("standard"):
        for encoder in (conv_encoder((2,), {"mean": (3,)}), mlp((2,), {"mean": (3,)})):
            params = encoder.init(jax.random.key(0), x)
            found = encoder.apply(params, x.astype(dtype))["mean"]
            assert found.dtype == jnp.float32
            np.testing.assert_allclose(found, encoder.apply(params, x)["mean"], rtol=1e-6)
        kernel = jnp.ones((3, 3, 1, 2), jnp.bfloat16)
        assert convolution(x[None], kernel, (1, 1), ((1, 1), (1, 1))).dtype == jnp.float32


@pytest.mark.parametrize("draw", [draws.pathwise, draws.doubly_reparameterized])
@pytest.mark.parametrize("pair", first(1, [networks.conv_pair, networks.residual_pair, networks.small_pair]))
def test_single_precision_stays_single_where_double_is_enabled(float64, pair, draw):
    """Images in float32 in a program that has `jax_enable_x64`: a loss with finite gradients of the params' types."""
    shape = (6, 5, 1)
    encoder, decoder = pair(Normal.parameters((2,)), Normal.parameters(shape) | {"log_scale": Free(())})
    model = vae(encoder=encoder, decoder=decoder, prior=standard_normal((2,)), likelihood=Normal, draw=draw)
    x = jnp.ones(shape, jnp.float32)
    with jax.numpy_dtype_promotion("standard"):
        params = model.init(jax.random.key(0), x)
        bound = jax.value_and_grad(lambda params: iwae_bound(model, jax.random.key(1), params, x, num_samples=3))
        value, gradient = jax.jit(bound)(params)
    assert np.isfinite(value)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params["encoder"]))
    for leaf, slope in zip(jax.tree.leaves(params), jax.tree.leaves(gradient), strict=True):
        assert leaf.dtype == slope.dtype
        assert np.all(np.isfinite(slope))
