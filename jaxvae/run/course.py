"""How a run goes: what the training loop asks, whoever begins it: a command line, `jaxvae.fit`, a study."""

from collections.abc import Callable
from typing import NamedTuple

import optax

from jaxvae.types import Key


class Course(NamedTuple):
    """The course of a run, as far as it depends on no kind of VAE."""

    keys: Key  # [] of the run, or [S] of several seeds
    epochs: int
    batch_size: int
    optimizer: Callable[[int], optax.GradientTransformation]  # of the number of steps, for its schedule
    accumulate: int = 1  # every batch in so many parts
    average: float | None = None  # the decay of the moving average of the params, which is evaluated
    patience: int | None = None  # epochs without a better bound on held-out data, after which training ends
    stream: str = "auto"  # "yes", "no": whether the data stays on disk
    save_seconds: float = 15.0  # at most one checkpoint in so many
    keep: int = 2  # checkpoints

    @property
    def num_seeds(self) -> int:
        """How many models are trained."""
        return 1 if self.keys.ndim == 0 else len(self.keys)
