"""The product of a linear layer is that of `einsum`, however `vmap` and derivatives are nested around it."""

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae import networks
from jaxvae.bounds import importance_weighted
from jaxvae.distributions import Bernoulli, Normal
from jaxvae.losses import negative_bound
from jaxvae.model import vae
from jaxvae.networks.products import product
from jaxvae.priors import standard_normal

LAST_AND_FIRST = (((0,), (0,)), ((), ()))
RNG = np.random.default_rng(0)
X, W, C = (RNG.normal(size=shape) for shape in ((3, 4, 5), (5, 6), (3, 4, 6)))


def of_one(x, w):
    return product(x, w, LAST_AND_FIRST)


def einsum(x, w):
    return jnp.einsum("...i,io->...o", x, w)


def of_all(x, w):
    return jax.vmap(jax.vmap(of_one, (0, None)), (0, None))(x, w)


def weighed(of, x, w):
    """Its gradient by w is Σ x (c cos y)ᵀ."""
    return jnp.sum(C * jnp.sin(of(x, w)))


def assert_same(found, expected):
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-13), found, expected)


@pytest.mark.parametrize("x", [X[0, 0], X[0], X, X[:0]])
def test_the_value_is_einsums(x, float64):
    axes = (((x.ndim - 1,), (0,)), ((), ()))
    assert_same(product(x, W, axes), einsum(x, W))
    assert_same(jax.jit(product, static_argnums=2)(x, W, axes), einsum(x, W))


@pytest.mark.parametrize(
    "derivative",
    [jax.grad, jax.jacfwd, jax.hessian, lambda f, argnums: lambda x, w: jax.linearize(f, x, w)[1](x, w)],
)
@pytest.mark.parametrize("by", [0, 1, (0, 1)])
def test_derivatives_outside_of_vmap(derivative, by, float64):
    found, expected = (derivative(lambda x, w, of=of: weighed(of, x, w), argnums=by)(X, W) for of in (of_all, einsum))
    assert_same(found, expected)


def test_derivatives_inside_of_vmap(float64):
    """Of each example by itself, as a move along a density takes it."""
    found, expected = (
        jax.vmap(jax.grad(lambda x, w, of=of: jnp.sum(jnp.sin(of(x, w))), (0, 1)), (0, None))(X[0], W)
        for of in (of_one, einsum)
    )
    assert_same(found, expected)
    assert_same(found[1][2], np.outer(X[0, 2], np.cos(X[0, 2] @ W)))


def test_weights_of_their_own(float64):
    """Seeds have each their own, alone or beside their own examples."""
    several = jnp.stack([W, 2 * W, W - 1])
    assert_same(jax.vmap(of_one, (None, 0))(X[0, 0], several), jnp.einsum("i,sio->so", X[0, 0], several))
    assert_same(jax.vmap(of_all, (None, 0))(X, several), jnp.einsum("bki,sio->sbko", X, several))
    found = jax.vmap(jax.grad(lambda w, x: jnp.sum(of_one(x, w) ** 3)), (2, 1))(jnp.moveaxis(several, 0, 2), X[:, 0].T)
    expected = jax.vmap(jax.grad(lambda w, x: jnp.sum(einsum(x, w) ** 3)))(several, X[:, 0])
    assert_same(found, expected)


def test_as_the_linear_map_itself(float64):
    """Within a derivative that is given by hand it is transposed as it stands."""
    assert_same(jax.linear_transpose(lambda x: of_all(x, W), X)(C)[0], jnp.einsum("bko,io->bki", C, W))
    assert_same(jax.linear_transpose(lambda w: of_all(X, w), W)(C)[0], jnp.einsum("bki,bko->io", X, C))


def test_bfloat16_is_summed_in_single_precision():
    x, w = jnp.asarray(X[0, 0], jnp.bfloat16), jnp.asarray(W, jnp.bfloat16)
    assert of_one(x, w).dtype == jnp.bfloat16
    (equation,) = products_of(jax.make_jaxpr(of_one)(x, w).jaxpr)
    assert equation.outvars[0].aval.dtype == jnp.float32
    gradient = jax.grad(lambda w: jnp.sum(of_one(x, w).astype(float)))(w)
    np.testing.assert_array_equal(gradient, np.broadcast_to(x[:, None], w.shape))


def products_of(jaxpr):
    """All matrix products of a program, those inside of its loops too."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation
        for inner in jax.extend.core.jaxprs_in_params(equation.params):
            yield from products_of(inner)


@pytest.mark.parametrize("k", [1, 3])
def test_a_training_step_is_products_of_matrices(k):
    """A sum over two axes of rows is one that XLA copies an operand for."""
    encoder, decoder = networks.iwae_pair(Normal.parameters((2,)), Bernoulli.parameters((4,)), width=3)
    model = vae(encoder=encoder, decoder=decoder, prior=standard_normal((2,)))
    params, keys = model.init(jax.random.key(0), jnp.zeros(4)), jax.random.split(jax.random.key(1), 5)
    loss = negative_bound(model, importance_weighted, num_samples=k)
    gradient = jax.grad(lambda params: loss(keys, params, (), jnp.ones((5, 4)), jnp.zeros(()))[0])
    found = list(products_of(jax.make_jaxpr(gradient)(params).jaxpr))
    assert len(found) == 7 + 6 + 7  # forward; by the inputs, of which the data has none; by the weights
    for equation in found:
        assert [operand.aval.ndim for operand in equation.invars] == [2, 2]
