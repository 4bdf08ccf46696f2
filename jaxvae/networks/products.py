"""The matrix product of a linear layer: whatever `vmap` adds to an example becomes rows of one matrix.

`jax.lax.dot_general` under two `vmap`s, over examples and over draws, has two axes of rows. The gradient of the weights
sums over both, and for such a sum XLA first copies the larger operand, transposed: at 50 draws a tenth of a training
step. Here every axis of a batch is laid into the rows before anything is differentiated, and no copy is made.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jaxvae.types import Array

OF_ROWS = (((1,), (0,)), ((), ()))  # [n, inputs] [inputs, outputs]


def product(left: Array, right: Array, axes: Any, precision: Any = None, **options: Any) -> Array:
    """`jax.lax.dot_general` of the last axis of x and the first of W, for `flax.linen.Dense`.

    y = x W

    What is multiplied in bfloat16 is summed in float32: more exact, and on a CPU faster.

    Args:
        left: [..., inputs] x.
        right: [inputs, outputs] W.
        axes: as `dot_general` takes them, and no others than these.
        precision: of the products.
        options: further ones of `dot_general`, none of which Linen gives.

    Returns:
        [..., outputs], of x's dtype.
    """
    sums = jnp.float32 if left.dtype == jnp.bfloat16 else None
    how = {"precision": precision, "preferred_element_type": sums}
    if options or not jax.sharding.get_abstract_mesh().empty:
        # Among several devices an array's type says where it lies: JAX's own product knows how to keep that.
        return lax.dot_general(left, right, axes, **how, **options).astype(left.dtype)
    y = of_rows.bind(_as_rows(left), right, dimension_numbers=OF_ROWS, **how)
    return y.reshape(*left.shape[:-1], right.shape[-1]).astype(left.dtype)


def _as_rows(x: Array) -> Array:
    """[..., inputs] -> [n, inputs]."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


# A primitive, because nothing else may say what `vmap` makes of it and still be differentiated inside and outside of
# one. It goes by the name of what it does, so that whoever counts the products of a program finds these.
of_rows = Primitive("dot_general")
of_rows.def_impl(lax.dot_general)
mlir.register_lowering(of_rows, mlir.lower_fun(lax.dot_general, multiple_results=False))


@of_rows.def_abstract_eval
def _shape(x: Any, w: Any, **how: Any) -> Any:
    shape = jax.eval_shape(lambda x, w: lax.dot_general(x, w, **how), *(_struct(aval) for aval in (x, w)))
    return jax.core.ShapedArray(shape.shape, shape.dtype)


def _struct(aval: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype)


def _batched(operands: Any, axes: Any, **how: Any) -> tuple[Array, int]:
    """A further axis of x lies among its rows; weights of their own, of seeds say, have their own products."""
    x, w = operands
    if axes[1] is not None:
        return jax.vmap(lambda x, w: lax.dot_general(x, w, **how), axes)(x, w), 0
    x = jnp.moveaxis(x, axes[0], 0)
    return of_rows.bind(_as_rows(x), w, **how).reshape(*x.shape[:-1], w.shape[-1]), 0


def _tangent(primals: Any, tangents: Any, **how: Any) -> tuple[Array, Any]:
    """dy = dx W + x dW, of JAX's own products: the axes of a `vmap` inside of the derivative are rows by now."""
    (x, w), (dx, dw) = primals, tangents
    parts = [(dx, w)] if not isinstance(dx, ad.Zero) else []
    parts += [(x, dw)] if not isinstance(dw, ad.Zero) else []
    changes = [lax.dot_general(*pair, **how) for pair in parts]
    return lax.dot_general(x, w, **how), sum(changes[1:], start=changes[0])


def _transposed(cotangent: Array, x: Any, w: Any, **how: Any) -> tuple[Any, Any]:
    """Where the product itself is the linear map, within a derivative that is given by hand."""
    if ad.is_undefined_primal(x):
        return *jax.linear_transpose(lambda x: lax.dot_general(x, w, **how), _struct(x.aval))(cotangent), None
    return None, *jax.linear_transpose(lambda w: lax.dot_general(x, w, **how), _struct(w.aval))(cotangent)


batching.primitive_batchers[of_rows] = _batched
ad.primitive_jvps[of_rows] = _tangent
ad.primitive_transposes[of_rows] = _transposed
