"""What `--objective.bound` names: the bound on log p(x) that training ascends."""

from dataclasses import dataclass
from math import inf
from typing import Annotated, ClassVar, Literal

from jaxvae import bounds
from jaxvae.bounds import Reduction
from jaxvae.run.choice import AtLeast, Below, Within

WEIGHTED = frozenset({"one bound"})


@dataclass(frozen=True)
class Elbo:
    """The evidence lower bound."""

    has: ClassVar = frozenset({"terms", "one bound"})

    def reduction(self) -> Reduction:
        """The reduction of terms that the bound is."""
        return bounds.average


@dataclass(frozen=True)
class Iwae:
    """The importance-weighted bound of all draws."""

    has: ClassVar = frozenset({"equal draws", "all weights", "one bound"})

    def reduction(self) -> Reduction:
        """The reduction of terms that the bound is."""
        return bounds.importance_weighted


@dataclass(frozen=True)
class Renyi:
    """Renyi's bound."""

    has: ClassVar = WEIGHTED
    alpha: Annotated[float, Below(inf)] = 0.5
    """1 is the ELBO, 0 IWAE, -inf the largest weight alone."""

    def reduction(self) -> Reduction:
        """The reduction of terms that the bound is."""
        return bounds.renyi(alpha=self.alpha)


@dataclass(frozen=True)
class Ciwae:
    """The ELBO and IWAE mixed."""

    has: ClassVar = WEIGHTED
    elbo_share: Annotated[float, Within(0, 1)] = 0.5
    """The share of the ELBO."""

    def reduction(self) -> Reduction:
        """The reduction of terms that the bound is."""
        return bounds.combined(beta=self.elbo_share)


@dataclass(frozen=True)
class Miwae:
    """IWAE averaged over groups of draws."""

    has: ClassVar = frozenset({"equal draws", "one bound"})
    groups: Annotated[int, AtLeast(1)] = 5
    """How many: a divisor of --objective.num-samples."""

    def reduction(self) -> Reduction:
        """The reduction of terms that the bound is."""
        return bounds.grouped(num_groups=self.groups)


@dataclass(frozen=True)
class Piwae:
    """IWAE for the decoder, and its average over groups of draws for the encoder."""

    needs: ClassVar = {"objective.price": {"unit weight"}}
    groups: Annotated[int, AtLeast(1)] = 5
    """How many: a divisor of --objective.num-samples."""

    def reduction(self) -> Reduction:
        """The decoder's, which is the bound that is reported."""
        return bounds.importance_weighted

    def of_encoder(self) -> Reduction:
        """The encoder's."""
        return bounds.grouped(num_groups=self.groups)


@dataclass(frozen=True)
class Tvo:
    """The thermodynamic bound."""

    has: ClassVar = WEIGHTED
    intervals: Annotated[int, AtLeast(1)] = 5
    """Of the partition, which adapts to every image."""
    rule: Literal["left", "right", "trapezoid"] = "left"
    """The rectangles' height: left is a lower bound, right an upper one."""

    def reduction(self) -> Reduction:
        """The reduction of terms that the bound is."""
        return bounds.thermodynamic(self.intervals, rule=self.rule)


AnyBound = Elbo | Iwae | Renyi | Ciwae | Miwae | Piwae | Tvo
