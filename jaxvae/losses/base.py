"""What training descends: a bound with a minus sign, or another function of the terms of a batch.

A loss may weigh, cap or anneal the terms; the "bound" among its metrics never is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax

from jaxvae.bounds import Reduction, draw_terms, temper
from jaxvae.model import VAE, Terms
from jaxvae.types import Array, Key, Params

Metrics = dict[str, Array]


def alone(tree: Any) -> Any:
    """The tree itself: one device has the whole batch."""
    return tree


class Shared(NamedTuple):
    """How a batch lies on the devices: on one device, which has all of it, each function is the identity.

    A loss that looks at many examples at once (an aggregated posterior, a permutation of codes) looks at `rows(z)`. A
    gradient through `rows`, averaged over the devices, is that of one device.
    """

    average: Callable[[Any], Any] = alone  # a tree of means over this device's part of the batch -> over all of it
    rows: Callable[[Any], Any] = alone  # a tree of this device's rows [b, ...] -> of all devices' rows [B, ...]
    part: Callable[[Any], Any] = alone  # a tree of all rows [B, ...] -> of this device's rows [b, ...]


ALONE = Shared()


class Loss(Protocol):
    """What the step differentiates: a mean over the batch, in nats."""

    def __call__(
        self, keys: Key, params: Params, extra: Any, xs: Array, step: Array
    ) -> tuple[Array, tuple[Any, Metrics]]:
        """Keys [B], one for each example -> (loss [], (extra, metrics)); no gradient touches the tree `extra`."""
        ...


@dataclass(frozen=True)
class OfWholeBatch:
    """A loss that is no mean of what each example loses by itself: of parts of a batch it makes other numbers.

    It is the loss, and says so: `jaxvae.training.make_step` refuses to take a batch in parts for it. A loss of your own
    that looks at several examples at once is to say so too: `OfWholeBatch(loss, "the mean code")`.
    """

    loss: Loss
    looks_at: str  # what of the whole batch, in words

    def __call__(
        self, keys: Key, params: Params, extra: Any, xs: Array, step: Array
    ) -> tuple[Array, tuple[Any, Metrics]]:
        """As the loss itself."""
        return self.loss(keys, params, extra, xs, step)


def lifted(objective: Callable[[Key, Params, Array, Array], tuple[Array, Metrics]]) -> Loss:
    """What is ascended for one example, as a loss: one key for each example, the mean over the batch, a minus sign.

    Args:
        objective: (key, params, x, step) -> ([] nats, metrics of this example).

    Returns:
        The loss, with the means of the metrics.
    """

    def loss(keys: Key, params: Params, extra: Any, xs: Array, step: Array) -> tuple[Array, tuple[Any, Metrics]]:
        values, metrics = jax.vmap(objective, (0, None, 0, None))(keys, params, xs, step)
        return -jnp.mean(values), (extra, jax.tree.map(jnp.mean, metrics))

    return loss


def negative_bound(
    model: VAE,
    reduce: Reduction,
    *,
    num_samples: int = 1,
    beta: optax.Schedule | None = None,
    at_once: int | None = None,
) -> Loss:
    """A bound, lifted to a loss.

    Args:
        model: the model.
        reduce: a reduction of terms, `bounds.average` (the ELBO) or `bounds.importance_weighted` (IWAE).
        num_samples: k.
        beta: step -> the weight of the latent part in the loss, a warm-up for instance; None for the bound itself.
        at_once: how many draws are held at once (see `jaxvae.bounds.draw_terms`); None for all.

    Returns:
        The loss. Its metrics are the means over the batch of the untempered "bound", and of "log_likelihood" and "kl".
    """

    def of_example(key: Key, params: Params, x: Array, step: Array) -> tuple[Array, Metrics]:
        terms = draw_terms(model, key, params, x, num_samples=num_samples, at_once=at_once)
        bound = reduce(terms)
        return bound if beta is None else reduce(temper(terms, beta(step))), metrics_of(bound, terms)

    return lifted(of_example)


def parted(model: VAE, *, for_decoder: Reduction, for_encoder: Reduction, num_samples: int) -> Loss:
    """One bound for the decoder and the prior, another one for the encoder, of the same draws.

    With the importance-weighted bound of all draws for the decoder and that of groups for the encoder
    (`jaxvae.bounds.grouped`) it is PIWAE.

    Args:
        model: whose params have the encoder under "encoder".
        for_decoder: ascended by all but the encoder; it is the "bound" that is reported.
        for_encoder: ascended by the encoder.
        num_samples: k.

    Returns:
        The loss.

    Source: Rainforth et al., "Tighter Variational Bounds are Not Necessarily Better" (2018), section 5 (PIWAE).
    """

    def of_example(key: Key, params: Params, x: Array, step: Array) -> tuple[Array, Metrics]:
        fixed = jax.lax.stop_gradient(params)
        # The same draws twice: the compiler evaluates them once, and goes back through them twice.
        of_decoder = draw_terms(model, key, params | {"encoder": fixed["encoder"]}, x, num_samples=num_samples)
        of_encoder = draw_terms(model, key, fixed | {"encoder": params["encoder"]}, x, num_samples=num_samples)
        bound, tighter = for_decoder(of_decoder), for_encoder(of_encoder)
        return bound + tighter - jax.lax.stop_gradient(tighter), metrics_of(bound, of_decoder)

    return lifted(of_example)


def metrics_of(bound: Array, terms: Terms) -> Metrics:
    """What every loss reports of an example: the bound itself, and its two parts."""
    return {
        "bound": bound,
        "log_likelihood": jnp.mean(terms.log_likelihood),
        "kl": jnp.mean(jnp.sum(terms.kl, axis=-1)),
    }
