"""A step that gives the encoder a lead: against a posterior that collapses because inference lags behind.

Source: He et al., "Lagging Inference Networks and Posterior Collapse" (2019).
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxvae.losses import ALONE, Loss, Metrics, Shared
from jaxvae.training.step import State, Step, make_step
from jaxvae.types import Array, Key


def make_leading_step(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    *,
    num_encoder_steps: int,
    until: int,
    decay: float | None = None,
    shared: Shared = ALONE,
) -> Step:
    """The step of `jaxvae.training.make_step`, after several of the encoder alone.

    Before a step is taken, the batch is cut into parts, and the encoder ascends the bound of one part after the other
    while the decoder and the prior stand still. The authors draw a batch for each of these steps, and go on until the
    mutual information of x and z stops growing; here the parts of one batch serve, for a number of steps that is given.

    Args:
        loss: what is minimised; the params have the encoder under "encoder".
        optimizer: any optax transformation.
        num_encoder_steps: how many, in how many parts of the batch.
        until: the number of steps after which the encoder has no lead any more.
        decay: as for `make_step`.
        shared: as for `make_step`.

    Returns:
        (state, keys [B], xs [B, *event]) -> (state, metrics). It raises a ValueError where the batch cannot be taken in
        so many parts.

    Source: He et al. (2019), algorithm 1.
    """
    whole = make_step(loss, optimizer, decay=decay, shared=shared)

    def of_encoder(state: State, keys: Key, xs: Any) -> State:
        (_, (_, _)), gradient = shared.average(
            jax.value_and_grad(loss, argnums=1, has_aux=True)(keys, state.params, state.extra, xs, state.step)
        )
        updates, moments = optimizer.update(gradient, state.optimizer, state.params)
        moved = optax.apply_updates(state.params, updates)
        return state._replace(
            params=_with_encoder(state.params, moved), optimizer=_with_encoder(state.optimizer, moments)
        )

    def lead(state: State, keys: Key, xs: Any) -> State:
        if len(keys) % num_encoder_steps:
            raise ValueError(f"a batch of {len(keys)} cannot be taken in {num_encoder_steps} parts of one size")
        parts = jax.tree.map(lambda leaf: leaf.reshape(num_encoder_steps, -1, *leaf.shape[1:]), (keys, xs))
        return jax.lax.scan(lambda state, part: (of_encoder(state, *part), None), state, parts)[0]

    def step(state: State, keys: Key, xs: Any) -> tuple[State, Metrics]:
        own = jax.vmap(jax.random.fold_in, (0, None))(keys, 1)  # draws of the encoder's own steps
        state = jax.lax.cond(state.step < until, lead, lambda state, keys, xs: state, state, own, xs)
        return whole(state, keys, xs)

    return step


def _with_encoder(before: Any, after: Any) -> Any:
    """The tree before, with what belongs to the encoder, and every count of updates, from the tree after."""

    def choose(path: tuple, old: Array, new: Array) -> Array:
        of_encoder = any(getattr(entry, "key", None) == "encoder" for entry in path)
        return new if of_encoder or jnp.issubdtype(old.dtype, jnp.integer) else old

    return jax.tree_util.tree_map_with_path(choose, before, after)
