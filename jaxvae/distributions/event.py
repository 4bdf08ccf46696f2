"""The shape of what a distribution is over. Arrays of other shapes broadcast, and a sum over them is a wrong number."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxvae.types import Distribution, Event, Shape


def check_event(density: Any, value: Any, shape: Shape, *, name: str = "value") -> None:
    """Refuses a value that is no event of a density. It looks at shapes alone, so a compiled program holds none of it.

    Args:
        density: that the sentence names; or its name.
        value: an array; a parameter of the density, where `name` says so.
        shape: that it must have.
        name: what it is called.

    Raises:
        ValueError: it has another shape.

    Example:
        >>> from jaxvae.distributions import Bernoulli
        >>> Bernoulli(jnp.zeros((8, 8, 1))).log_prob(jnp.zeros((8, 8)))
        Traceback (most recent call last):
        ...
        ValueError: a Bernoulli with events of shape (8, 8, 1) was given a value of shape (8, 8): ...
    """
    found = jnp.shape(value)
    if found == tuple(shape):
        return
    kind = density if isinstance(density, str) else type(density).__name__
    if name != "value":
        raise ValueError(f"{name} of a {kind} must have the shape {tuple(shape)}, and this one has {found}")
    raise ValueError(
        f"a {kind} with events of shape {tuple(shape)} was given a value of shape {found}: give both one shape, by "
        "reshaping the data or by the shapes of the network's outputs; a batch goes through jax.vmap, one event at a "
        "time"
    )


def event_shapes(distribution: Distribution) -> Any:
    """The shape of a distribution's events, or a tree of shapes, by what a draw would be; nothing is drawn.

    Args:
        distribution: any.

    Example:
        >>> from jaxvae.distributions import Normal
        >>> event_shapes(Normal(jnp.zeros(3), jnp.zeros(3)))
        (3,)
    """
    return shapes_of(jax.eval_shape(distribution.sample, jax.eval_shape(lambda: jax.random.key(0))))


def shapes_of(event: Event) -> Any:
    """The shape of an array, or a tree of shapes."""
    return jax.tree.map(jnp.shape, event)


def check_same_events(q: Any, p: Any, p_name: str = "prior", q_name: str = "posterior") -> None:
    """Refuses two distributions that are not over the same events.

    Args:
        q: the shapes of one's events.
        p: the shapes of the other's.
        p_name: what it is called.
        q_name: what the first is called.

    Raises:
        ValueError: the shapes differ.
    """
    if q != p:
        raise ValueError(
            f"the {p_name} is over events of shape {p}, and the {q_name} over those of shape {q}: give both the same"
        )
