"""Models of examples with missing cells: MIWAE, and what it says of the cells that are missing.

p(x_obs) = ∫ p(z) Π_{j observed} p(x_j|z) dz,    q(z|x_obs) of an encoder that reads zeros where cells are missing

An example is `jaxvae.likelihoods.Cells`, and the model a plain `jaxvae.vae` of them: its encoder is made by
`reading_cells` and its likelihood by `jaxvae.likelihoods.of_columns`, so that every bound on log p(x_obs) is the
library's own. Cells are taken to be missing at random: whether one is missing depends on no value that is missing.
Source: Mattei & Frellsen, "MIWAE: Deep Generative Modelling and Imputation of Incomplete Data Sets" (2019).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import one_hot, softmax

from jaxvae.distributions import sample_and_log_prob
from jaxvae.likelihoods.cells import Cells
from jaxvae.model import VAE
from jaxvae.types import Array, Key, Network, Params


class Imputed(NamedTuple):
    """What a model expects in the cells of a row, given those that are observed."""

    expectation: dict[str, Array]  # name -> [n], of classes the probabilities [n, K]; observed cells are not put back
    effective: Array  # [] of the k draws, how many equally weighted ones they are worth: near one, it is a guess


def reading_cells(
    network: Network,
    *,
    sizes: Sequence[int] = (),
    counts: Sequence[tuple[float, float]] = (),
    mask: bool = False,
) -> Network:
    """A network of one vector that reads the cells of a row, zeros where they are missing.

    A number is read as it is, so it should be standardised: then a zero is its mean. Of a class it reads the one-hot
    vector, of a count c the standardised ln(1 + c).

    Args:
        network: that flattens what it reads, `networks.mlp`.
        sizes: of the block "classes", how many there are in each cell.
        counts: of the block "counts", the mean and the standard deviation of each cell's ln(1 + c).
        mask: whether it reads too which cells are observed.

    Returns:
        `Cells` -> its outputs.

    Example:
        >>> from jaxvae import networks
        >>> row = Cells({"numbers": jnp.array([1.0, jnp.nan])}, {"numbers": jnp.array([True, False])})
        >>> encoder = reading_cells(networks.mlp((), {"mean": (1,)}), mask=True)
        >>> params = encoder.init(jax.random.key(0), row)
        >>> jax.tree.map(jnp.shape, params)["params"]["heads"]["mean"]["kernel"]  # two cells, and two of the mask
        (4, 1)

    Source: Mattei & Frellsen (2019), whose encoder reads zeros; Nazábal et al., "Handling Incomplete Heterogeneous Data
    using VAEs" (2020).
    """

    def of_block(name: str, cells: Array, dtype: Any) -> Array:  # [n] -> [n], of classes [Σ K]
        if name == "classes":
            vectors = [one_hot(cell, size, dtype=dtype) for cell, size in zip(cells, sizes, strict=True)]
            return jnp.concatenate(vectors)
        if name == "counts":
            mean, spread = (jnp.asarray(column, cells.dtype) for column in zip(*counts, strict=True))
            return (jnp.log1p(cells) - mean) / spread
        return cells

    def observed(name: str, seen: Array) -> Array:
        """The mask of what is read of a block: a class is read as several numbers."""
        if name == "classes":
            return jnp.concatenate([jnp.broadcast_to(cell, (size,)) for cell, size in zip(seen, sizes, strict=True)])
        return seen

    def read(row: Cells) -> Array:
        kinds = [cells.dtype for cells in row.values.values() if jnp.issubdtype(cells.dtype, jnp.floating)]
        dtype = kinds[0] if kinds else jnp.zeros(()).dtype
        parts = []
        for name in sorted(row.values):
            held = jnp.where(row.mask[name], row.values[name], jnp.zeros_like(row.values[name]))
            vector = of_block(name, held, dtype)
            parts.append(jnp.where(observed(name, row.mask[name]), vector, jnp.zeros_like(vector)))
        if mask:
            parts += [row.mask[name].astype(dtype) for name in sorted(row.mask)]
        return jnp.concatenate(parts)

    return Network(
        lambda key, row: network.init(key, read(row)),
        lambda params, row: network.apply(params, read(row)),
    )


def imputed(model: VAE, key: Key, params: Params, row: Cells, *, num_samples: int) -> Imputed:
    """The expectation of every cell given the observed ones, by self-normalised importance weights.

    E[x_mis | x_obs] ≈ Σ_i w̃_i E[x_mis|z_i],    w̃_i ∝ p(x_obs|z_i) p(z_i) / q(z_i|x_obs),    z_i ~ q(z|x_obs)

    Of the observed cells it gives the decoder's weighted mean too, what the model would have expected.

    Args:
        model: made by `jaxvae.vae` of `Cells`.
        key: for the draws.
        params: the model's parameters.
        row: one example.
        num_samples: k; the error falls as its root, and its bias as 1/k.

    Returns:
        The expectation, and the effective number of draws, 1 / Σ w̃².

    Raises:
        ValueError: `num_samples` is less than one.

    Source: Mattei & Frellsen (2019), single imputation.
    """
    log_weights, zs = _weighted(model, key, params, row, num_samples=num_samples)
    weights = softmax(log_weights)  # [k]

    def expected(z: Array) -> dict[str, Array]:
        return model.likelihood(params, z).expectation()

    means = jax.tree.map(lambda leaf: jnp.tensordot(weights.astype(leaf.dtype), leaf, axes=1), jax.vmap(expected)(zs))
    return Imputed(means, 1 / jnp.sum(jnp.square(weights)))


def multiply_imputed(
    model: VAE, key: Key, params: Params, row: Cells, *, num_samples: int, num_draws: int
) -> dict[str, Array]:
    """Draws of the missing cells given the observed ones: multiple imputation, by sampling importance resampling.

    z ~ Σ_i w̃_i δ(z_i),    x_mis ~ p(x_mis|z)

    They are spread as the missing values are, where an expectation is not; statistics of a completed table, and their
    errors, are made of several such tables.

    Args:
        model: made by `jaxvae.vae` of `Cells`.
        key: for the draws.
        params: the model's parameters.
        row: one example.
        num_samples: k, the codes among which is drawn: many more than `num_draws`, as they are drawn with replacement.
        num_draws: M.

    Returns:
        Name -> [M, n], observed cells as they are.

    Raises:
        ValueError: `num_samples` or `num_draws` is less than one.

    Source: Mattei & Frellsen (2019), multiple imputation.
    """
    if num_draws < 1:
        raise ValueError(f"num_draws={num_draws} must be at least one")
    key_codes, key_chosen, key_cells = jax.random.split(key, 3)
    log_weights, zs = _weighted(model, key_codes, params, row, num_samples=num_samples)
    chosen = jax.random.categorical(key_chosen, log_weights, shape=(num_draws,))
    drawn_codes = jax.tree.map(lambda leaf: leaf[chosen], zs)

    def draw(key: Key, z: Any) -> dict[str, Array]:
        drawn = model.likelihood(params, z).sample(key).values
        return {name: jnp.where(row.mask[name], row.values[name], drawn[name]) for name in drawn}

    return jax.vmap(draw)(jax.random.split(key_cells, num_draws), drawn_codes)


def _weighted(model: VAE, key: Key, params: Params, row: Cells, *, num_samples: int) -> tuple[Array, Any]:
    """ln w_i [k] and z_i [k, ...] of posterior draws."""
    if num_samples < 1:
        raise ValueError(f"num_samples={num_samples} must be at least one draw")
    q, prior = model.posterior(params, row), model.prior(params)

    def of_draw(key: Key) -> tuple[Array, Any]:
        z, log_q = sample_and_log_prob(q, key)
        return model.likelihood(params, z).log_prob(row) + prior.log_prob(z) - log_q, z

    return jax.vmap(of_draw)(jax.random.split(key, num_samples))
