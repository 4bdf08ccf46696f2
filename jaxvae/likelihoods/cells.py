"""The density of a row of a table: a product over its columns, of several kinds, from which missing cells are left out.

The cells of a row lie in blocks of one kind each: numbers, classes, counts. A block is named, and so are its density's
parameters, "numbers_mean" for instance, which are outputs of one network.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxvae.distributions import Bernoulli, Categorical, Normal, StudentT
from jaxvae.likelihoods.counts import NegativeBinomial
from jaxvae.networks import Free, Outputs
from jaxvae.types import Array, Distribution, Key

SMALLEST_SCALE = (
    1e-3  # of a number's noise, in the units of its column: the density of a value that repeats is unbounded
)
FEWEST_DEGREES = 2.0  # of Student's t: above, there are a mean and a variance


class Cells(NamedTuple):
    """A row of a table: what its cells hold, and which of them are observed. Both are blocks by their names."""

    values: dict[str, Array]  # name -> [n]; classes int32; in a missing cell anything, NaN too
    mask: dict[str, Array]  # name -> [n] booleans, true where a cell is observed


class Block(NamedTuple):
    """The density of the cells of one kind, independent given a code."""

    density: Callable[..., Distribution]  # named outputs -> the density of [n] cells, every field with an axis [n]
    outputs: Outputs  # of the network that gives its parameters


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Columns:
    """The density of the observed cells of a row.

    log p(x_obs) = Σ_{j observed} [log p_j(x_j) - ln s_j]

    A cell of a standardised number is u = x / s; s is the unit it is measured in, and the density is that of x. A row
    without an observed cell has log p = 0.

    Args:
        blocks: name -> the density of [n] independent cells, whose fields all have the leading axis [n].
        log_units: name -> [n] ln s; a block that is left out has s = 1.

    Example:
        >>> row = Columns({"numbers": Normal(jnp.zeros(2), jnp.zeros(2))})
        >>> half = Cells({"numbers": jnp.array([0.0, jnp.nan])}, {"numbers": jnp.array([True, False])})
        >>> round(float(row.log_prob(half)), 4)  # -½ ln 2π, of one cell
        -0.9189

    Source: Mattei & Frellsen, "MIWAE: Deep Generative Modelling and Imputation of Incomplete Data Sets" (2019); for
    columns of several kinds Nazábal et al., "Handling Incomplete Heterogeneous Data using VAEs" (2020).
    """

    blocks: dict[str, Distribution]
    log_units: dict[str, Array] = field(default_factory=dict)

    def sample(self, key: Key) -> Cells:
        """One draw of every cell; all of them count as observed."""
        keys = dict(zip(self.blocks, jax.random.split(key, max(1, len(self.blocks))), strict=False))
        values = {name: block.sample(keys[name]) for name, block in self.blocks.items()}
        return Cells(values, jax.tree.map(lambda leaf: jnp.ones(leaf.shape, bool), values))

    def log_prob(self, value: Cells) -> Array:
        """The log density of the observed cells: [], in nats."""
        of_cells = jax.tree.leaves(self.log_probs(value))
        return jnp.sum(jnp.concatenate(of_cells)) if of_cells else jnp.zeros(())

    def log_probs(self, value: Cells) -> dict[str, Array]:
        """The log density of each cell, name -> [n] nats; zero where it is missing.

        Raises:
            ValueError: a block is missing, or has another number of cells.
        """
        if set(value.values) != set(self.blocks) or set(value.mask) != set(self.blocks):
            raise ValueError(
                f"a row of the blocks {sorted(self.blocks)} was given values of {sorted(value.values)} and a mask of "
                f"{sorted(value.mask)}: give all three the same blocks"
            )
        return {name: self._of_block(name, block, value) for name, block in self.blocks.items()}

    def _of_block(self, name: str, block: Distribution, value: Cells) -> Array:
        cells, observed = value.values[name], value.mask[name]
        count = len(jax.tree.leaves(block)[0])
        if jnp.shape(cells) != (count,) or jnp.shape(observed) != (count,):
            raise ValueError(
                f"the block {name} has {count} cells, and was given values of shape {jnp.shape(cells)} with a mask of "
                f"shape {jnp.shape(observed)}: give one of each for every cell; rows go through jax.vmap"
            )
        held = jnp.where(observed, cells, jnp.zeros_like(cells))  # what lies in a missing cell moves no gradient
        nats = jax.vmap(lambda density, cell: density.log_prob(cell))(block, held)
        if name in self.log_units:
            nats = nats - self.log_units[name].astype(nats.dtype)
        return jnp.where(observed, nats, jnp.zeros_like(nats))

    def expectation(self) -> dict[str, Array]:
        """The mean of each cell, name -> [n]; of classes the probabilities, [n, K]."""
        return {name: block.expectation() for name, block in self.blocks.items()}


def of_columns(
    blocks: Mapping[str, Block], *, log_units: Mapping[str, Sequence[float]] | None = None
) -> tuple[Callable[..., Columns], dict[str, Any]]:
    """The family of densities of a row that is made of blocks, and the outputs that a decoder must give for it.

    Args:
        blocks: name -> a block: `numbers`, `heavy_tailed`, `bits`, `classes` or `counts`.
        log_units: name -> ln of the unit of each of its cells, where it is not one.

    Returns:
        Named outputs -> `Columns`, to be given as `likelihood` to `jaxvae.vae`; and those outputs, for a network.

    Example:
        >>> from jaxvae import networks
        >>> family, outputs = of_columns({"numbers": numbers(2), "classes": classes((3,))})
        >>> sorted(outputs)
        ['classes_logits', 'numbers_log_scale', 'numbers_mean']
        >>> decoder = networks.mlp((8,), outputs)
        >>> params = decoder.init(jax.random.key(0), jnp.zeros(1))
        >>> family(**decoder.apply(params, jnp.zeros(1))).expectation()["classes"].shape
        (1, 3)
    """
    units = {name: jnp.asarray(values) for name, values in (log_units or {}).items()}

    def family(**outputs: Array) -> Columns:
        return Columns(
            {
                name: block.density(**{inner: outputs[f"{name}_{inner}"] for inner in block.outputs})
                for name, block in blocks.items()
            },
            units,
        )

    named = {f"{name}_{inner}": shape for name, block in blocks.items() for inner, shape in block.outputs.items()}
    return family, named


def numbers(count: int) -> Block:
    """Gaussians N(μ_j(z), σ_j²), each with a scale that all rows share, at least a thousandth.

    Args:
        count: of cells.
    """
    return Block(_normal, {"mean": (count,), "log_scale": Free((count,), start=-0.5)})


def heavy_tailed(count: int) -> Block:
    """Student's t around m_j(z), whose scale (at least a thousandth) and degrees of freedom (above two) all rows share.

    Args:
        count: of cells.
    """
    shared = {"log_scale": Free((count,), start=-0.5), "log_degrees": Free((count,), start=1.5)}
    return Block(_student_t, {"location": (count,), **shared})


def bits(count: int) -> Block:
    """Cells of zeros and ones.

    Args:
        count: of cells.
    """
    return Block(Bernoulli, {"logits": (count,)})


def classes(sizes: Sequence[int]) -> Block:
    """Cells that hold one of some classes, 0, 1, ..., int32.

    Args:
        sizes: how many classes each cell has. Logits beyond them count as minus infinity.
    """
    most = max(sizes)
    possible = jnp.arange(most)[None, :] < jnp.asarray(sizes)[:, None]  # [n, K]

    def density(logits: Array) -> Categorical:
        return Categorical(jnp.where(possible, logits, jnp.full_like(logits, jnp.finfo(logits.dtype).min)))

    return Block(density, {"logits": (len(sizes), most)})


def counts(log_means: Sequence[float]) -> Block:
    """Counts 0, 1, ... by negative binomials, whose dispersions all rows share.

    Args:
        log_means: ln of the count about which each cell's mean begins; a decoder's output is added to it.
    """

    def density(log_mean: Array, log_inverse_dispersion: Array) -> NegativeBinomial:
        return NegativeBinomial(log_mean + jnp.asarray(log_means, log_mean.dtype), log_inverse_dispersion)

    count = len(log_means)
    return Block(density, {"log_mean": (count,), "log_inverse_dispersion": Free((count,))})


def _normal(mean: Array, log_scale: Array) -> Normal:
    return Normal(mean, _above(log_scale, SMALLEST_SCALE))


def _student_t(location: Array, log_scale: Array, log_degrees: Array) -> StudentT:
    return StudentT(location, _above(log_scale, SMALLEST_SCALE), _above(log_degrees, FEWEST_DEGREES))


def _above(logarithm: Array, least: float) -> Array:
    """ln(e^l + least), a logarithm that is smoothly kept above that of a number."""
    return jnp.logaddexp(logarithm, jnp.log(jnp.asarray(least, logarithm.dtype)))
