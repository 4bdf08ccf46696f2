"""A VAE of the rows of a table, as the shell trains it and asks it: codes, densities, missing cells, new rows."""

import zlib
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvae import bounds, evaluation, losses, training
from jaxvae.distributions import Normal
from jaxvae.likelihoods import Cells, cells, of_columns
from jaxvae.model import VAE, vae
from jaxvae.models import imputed, multiply_imputed, reading_cells
from jaxvae.networks import mlp
from jaxvae.priors import standard_normal
from jaxvae.run.data.schema import COUNT, NUMBER, Rows, Schema
from jaxvae.run.fit import recipe_of
from jaxvae.run.recipe import Recipe
from jaxvae.types import Array, Key, Network, Params

NUMBERS = {"gaussian": cells.numbers, "student-t": cells.heavy_tailed, "bernoulli": cells.bits}
AT_ONCE = 64  # rows in one call of a compiled program: one program serves tables of any length


class Architecture(NamedTuple):
    """What a compiled program depends on."""

    numbers: int  # columns
    classes: tuple[int, ...]  # of each column, how many
    counts: tuple[tuple[float, float], ...]  # of each column, the mean and the standard deviation of ln(1 + count)
    latent: int
    hidden: tuple[int, ...]  # of the encoder; the decoder has them in reverse
    likelihood: str  # of numbers, a key of `NUMBERS`
    reads_mask: bool = False
    log_units: tuple[float, ...] = ()  # of each number, ln of what it was divided by; of none, all one


def architecture_of(schema: Schema, latent: int, hidden: tuple[int, ...], likelihood: str, **more: Any) -> Architecture:
    """The architecture for rows of a schema.

    Args:
        schema: of the table.
        latent: dimensions.
        hidden: widths.
        likelihood: of numbers.
        more: `reads_mask`, `log_units`.

    Returns:
        The architecture.
    """
    counts = tuple((column.mean, column.scale) for column in schema.of(COUNT))
    return Architecture(len(schema.of(NUMBER)), schema.sizes, counts, latent, hidden, likelihood, **more)


def built(architecture: Architecture, cast: Callable[[Network], Network] = lambda network: network) -> VAE:
    """The model of rows (`Cells`).

    Args:
        architecture: of the model.
        cast: of its networks.

    Returns:
        A new model.
    """
    numbers, classes, counts, latent, hidden, likelihood, mask, units = architecture
    blocks = {}
    if numbers:
        blocks["numbers"] = NUMBERS[likelihood](numbers)
    if classes:
        blocks["classes"] = cells.classes(classes)
    if counts:
        blocks["counts"] = cells.counts([mean for mean, _ in counts])
    family, outputs = of_columns(blocks, log_units={"numbers": units} if units and numbers else None)
    encoder = mlp(hidden, Normal.parameters((latent,)))
    return vae(
        encoder=reading_cells(cast(encoder), sizes=classes, counts=counts, mask=mask),
        decoder=cast(mlp(hidden[::-1], outputs)),
        prior=standard_normal((latent,)),
        likelihood=family,
    )


model_of = lru_cache(maxsize=64)(built)  # one object for each architecture: a compiled program is found by it


def blank_of(architecture: Architecture) -> Cells:
    """A row of zeros, none of them observed: for `init`."""
    values: dict[str, Any] = {}
    if architecture.numbers:
        values["numbers"] = jnp.zeros(architecture.numbers, jnp.float32)
    if architecture.classes:
        values["classes"] = jnp.zeros(len(architecture.classes), jnp.int32)
    if architecture.counts:
        values["counts"] = jnp.zeros(len(architecture.counts), jnp.float32)
    return Cells(values, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, bool), values))


@lru_cache(maxsize=64)
def recipe_for(architecture: Architecture, num_samples: int = 1) -> Recipe:
    """How the model is trained: with one step for every learning rate and any number of steps.

    Args:
        architecture: of the model.
        num_samples: k of the importance-weighted bound; one is the ELBO.

    Returns:
        The same object at every call; the step is compiled once. Its course must have the optimizer `cosine`.
    """
    model = model_of(architecture)
    reduction = bounds.average if num_samples == 1 else bounds.importance_weighted
    loss = losses.negative_bound(model, reduction, num_samples=num_samples)
    row = jax.tree.map(lambda leaf: leaf[None], blank_of(architecture))
    # An update reads the rate and the number of steps from its state: these are not what they were made with.
    step = training.make_step(loss, cosine(1.0, 1))
    made = recipe_of(model, row, loss=loss, prepare=lambda key, stored: Cells(*stored))
    return made._replace(init=jax.jit(made.init), step=lambda *of_a_run: step)


def cosine(lr: float, num_steps: int) -> optax.GradientTransformation:
    """Adam with a learning rate that falls to zero along a cosine; both numbers lie in its state, and are traced.

    Args:
        lr: at the start.
        num_steps: at zero.

    Returns:
        The transformation.
    """
    return optax.inject_hyperparams(_adam)(lr=lr, num_steps=float(num_steps))


def _adam(lr: Array, num_steps: Array) -> optax.GradientTransformation:
    return optax.adam(partial(_fallen, lr, num_steps))


def _fallen(lr: Array, num_steps: Array, step: Array) -> Array:
    return lr * 0.5 * (1 + jnp.cos(jnp.pi * step / num_steps))


def by_rows(function: Callable[..., Any], model: VAE, params: Params, *trees: Any) -> Any:
    """A function of (model, params, rows), `AT_ONCE` rows at a time.

    Args:
        function: a jitted one of a batch.
        model: hashable.
        params: of the model.
        trees: of arrays [N, ...].

    Returns:
        A tree of arrays [N, ...].
    """
    count = len(jax.tree.leaves(trees)[0])
    padded = -(-count // AT_ONCE) * AT_ONCE
    filled = jax.tree.map(lambda leaf: np.resize(leaf, (padded, *leaf.shape[1:])), trees)
    parts = []
    for first in range(0, padded, AT_ONCE):
        some = jax.tree.map(lambda leaf, first=first: leaf[first : first + AT_ONCE], filled)
        parts.append(jax.device_get(function(model, params, *some)))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *parts)


def seeds_of(rows: Rows) -> np.ndarray:
    """[N] a number for each row that depends on its cells alone: a row gets the same draws in any company."""
    blocks = [np.ascontiguousarray(part[name]) for part in rows for name in sorted(part)]

    def of_row(index: int) -> int:  # + 0 turns -0.0 into 0.0
        return zlib.crc32(b"".join((block[index] + 0).tobytes() for block in blocks))

    return np.array([of_row(index) for index in range(len(blocks[0]))], np.uint32)


@partial(jax.jit, static_argnums=0)
def encode(model: VAE, params: Params, rows: Rows) -> Array:
    """The codes of rows, [N, latent]: the means of q(z|x)."""
    return jax.vmap(lambda row: model.posterior(params, Cells(*row)).expectation())(rows)


@partial(jax.jit, static_argnums=0)
def decode(model: VAE, params: Params, zs: Array) -> dict[str, Array]:
    """The expected cells at codes [N, latent]: block -> [N, n], of classes the probabilities [N, n, K]."""
    return jax.vmap(lambda z: model.likelihood(params, z).expectation())(zs)


@partial(jax.jit, static_argnums=0, static_argnames="num_samples")
def log_likelihood(model: VAE, params: Params, rows: Rows, seeds: Array, *, num_samples: int) -> Array:
    """log p(x_obs) of rows by importance sampling, [N], the draws by seeds [N]."""

    def of_row(row: Any, seed: Array) -> Array:
        key = jax.random.key(seed)
        return evaluation.log_likelihood(model, key, params, Cells(*row), num_samples=num_samples)

    return jax.vmap(of_row)(rows, seeds)


@partial(jax.jit, static_argnums=0, static_argnames="num_samples")
def expected(model: VAE, params: Params, rows: Rows, seeds: Array, *, num_samples: int) -> dict[str, Array]:
    """E[x|x_obs] of every cell of rows by importance weights: block -> [N, n], of classes [N, n, K]."""

    def of_row(pair: Any) -> dict[str, Array]:
        row, seed = pair
        key = _apart(seed)
        return imputed(model, key, params, Cells(*row), num_samples=num_samples).expectation

    return jax.lax.map(of_row, (rows, seeds), batch_size=8)  # k codes of a few rows are in memory


@partial(jax.jit, static_argnums=0, static_argnames=("num_samples", "num_draws"))
def drawn(
    model: VAE, params: Params, rows: Rows, seeds: Array, *, num_samples: int, num_draws: int
) -> dict[str, Array]:
    """Draws of the missing cells of rows given the observed ones: block -> [N, M, n]."""

    def of_row(pair: Any) -> dict[str, Array]:
        row, seed = pair
        more = {"num_samples": num_samples, "num_draws": num_draws}
        return multiply_imputed(model, _apart(seed), params, Cells(*row), **more)

    return jax.lax.map(of_row, (rows, seeds), batch_size=8)


@partial(jax.jit, static_argnums=0)
def sample(model: VAE, params: Params, seeds: Array) -> dict[str, Array]:
    """New rows by seeds [N, 2]: block -> [N, n]."""

    def of_seed(seed: Array) -> dict[str, Array]:
        return model.sample(jax.random.fold_in(jax.random.key(seed[0]), seed[1]), params).values  # type: ignore

    return jax.vmap(of_seed)(seeds)


def _apart(seed: Array) -> Key:
    """A key other than that of the same row's density."""
    return jax.random.fold_in(jax.random.key(seed), 1)
