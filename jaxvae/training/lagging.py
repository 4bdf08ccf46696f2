"""A step that gives one entry of the params a lead: against a posterior that collapses because inference lags behind.

Source: He et al., "Lagging Inference Networks and Posterior Collapse" (2019).
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxvae.loops import scan
from jaxvae.losses import ALONE, Loss, Metrics, Shared
from jaxvae.training.step import State, Step, make_step
from jaxvae.types import Array, Key, Params


def make_leading_step(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    *,
    num_encoder_steps: int,
    until: int,
    leads: str = "encoder",
    decay: float | None = None,
    shared: Shared = ALONE,
) -> Step:
    """The step of `jaxvae.training.make_step`, after several of one entry of the params alone.

    Before a step is taken, the batch is cut into parts, and the encoder descends the loss of one part after the other
    while the decoder and the prior stand still. Each counts its own updates: Adam's correction for its first moments
    is that of as many as an entry has had. A schedule of the learning rate goes by whole steps for all. The authors
    draw a batch for each of these steps, and go on until the mutual information of x and z stops growing; here the
    parts of one batch serve, for a number of steps that is given.

    Args:
        loss: what is minimised; the params are a dict.
        optimizer: any optax transformation.
        num_encoder_steps: how many, in how many parts of the batch.
        until: the number of steps after which there is no lead any more.
        leads: the entry of the params that has it: "encoder", or an adversary's.
        decay: as for `make_step`.
        shared: as for `make_step`.

    Returns:
        (state, keys [B], xs [B, *event]) -> (state, metrics). It raises a ValueError where the batch cannot be taken in
        so many parts, or the params have no such entry.

    Source: He et al. (2019), algorithm 1.
    """

    def of_one(state: State, keys: Key, xs: Any, ahead: Array) -> State:
        (_, (_, _)), gradient = shared.average(
            jax.value_and_grad(loss, argnums=1, has_aux=True)(keys, state.params, state.extra, xs, state.step)
        )
        updates, moments = optimizer.update(gradient, _counted_on(state.optimizer, ahead), state.params)
        moved = optax.apply_updates(state.params, updates)
        of_params, of_moments = _marks(state, leads)
        return state._replace(
            params=_chosen(of_params, moved, state.params), optimizer=_chosen(of_moments, moments, state.optimizer)
        )

    def lead(state: State, keys: Key, xs: Any) -> State:
        if len(keys) % num_encoder_steps:
            raise ValueError(f"a batch of {len(keys)} cannot be taken in {num_encoder_steps} parts of one size")
        parts = jax.tree.map(lambda leaf: leaf.reshape(num_encoder_steps, -1, *leaf.shape[1:]), (keys, xs))
        ahead = num_encoder_steps * state.step + jnp.arange(num_encoder_steps, dtype=state.step.dtype)
        return scan(lambda state, part: (of_one(state, *part), None), state, (*parts, ahead))[0]

    def step(state: State, keys: Key, xs: Any) -> tuple[State, Metrics]:
        if not isinstance(state.params, dict) or leads not in state.params:
            raise ValueError(
                f"leads={leads!r} is no entry of these params, which are {', '.join(state.params)}: name one of them"
            )
        own = jax.vmap(jax.random.fold_in, (0, None))(keys, 1)  # draws of the leading entry's own steps
        state = jax.lax.cond(state.step < until, lead, lambda state, keys, xs: state, state, own, xs)
        ahead = num_encoder_steps * jnp.minimum(state.step + 1, until)
        counting = _ahead(optimizer, _marks(state, leads), ahead)
        return make_step(loss, counting, decay=decay, shared=shared)(state, keys, xs)

    return step


def _ahead(
    optimizer: optax.GradientTransformation, marks: tuple[Any, Any], updates_more: Array
) -> optax.GradientTransformation:
    """The optimizer, for which the marked entry has had more updates than the others; the state counts the others'."""

    def update(gradient: Params, state: Any, params: Params | None = None) -> tuple[Params, Any]:
        of_params, of_moments = marks
        here = optimizer.update(gradient, state, params)
        there = optimizer.update(gradient, _counted_on(state, updates_more), params)
        return _chosen(of_params, there[0], here[0]), _chosen(of_moments, there[1], here[1])

    return optax.GradientTransformation(optimizer.init, update)


def _counted_on(state: Any, updates_more: Array) -> Any:
    """The optimizer's state as if it had seen more updates; a schedule goes by steps, which are the same for all."""

    def count(path: tuple, leaf: Any) -> Any:
        if isinstance(leaf, optax.ScaleByScheduleState):
            return leaf
        counts = path and getattr(path[-1], "name", None) == "count"
        return leaf + updates_more.astype(leaf.dtype) if counts else leaf

    return jax.tree_util.tree_map_with_path(
        count, state, is_leaf=lambda leaf: isinstance(leaf, optax.ScaleByScheduleState)
    )


def _marks(state: State, leads: str) -> tuple[Any, Any]:
    """Which leaves of the params, and which of the optimizer's state, belong to the leading entry.

    A moment lies at the path of its parameter, behind the optimizer's own names: the longest path that fits is its.
    """
    paths = {path: path[0].key == leads for path, _ in jax.tree_util.tree_leaves_with_path(state.params)}

    def mark(path: tuple, _: Any) -> bool:
        fitting = [path[start:] for start in range(len(path)) if path[start:] in paths]
        return bool(fitting) and paths[fitting[0]]

    return tuple(jax.tree_util.tree_map_with_path(mark, tree) for tree in (state.params, state.optimizer))


def _chosen(marks: Any, marked: Any, others: Any) -> Any:
    """A tree of the marked leaves of one and the other leaves of the other."""
    return jax.tree.map(lambda mark, one, other: one if mark else other, marks, marked, others)
