"""The options that every kind of VAE has: a kind's `Config` inherits `Settings` and adds its own."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import optax

from jaxvae.run import RunError, keys
from jaxvae.run.choice import EVERYDAY, Above, AtLeast, Between
from jaxvae.run.course import Course


@dataclass(frozen=True)
class Stored:
    """The data set, as far as it does not matter what it holds."""

    name: str = ""
    """The data set's name."""
    source: Path | None = None
    """A folder with the original files, read in place of the network (also: JAXVAE_DATA_SOURCE)."""
    folder: Path | None = None
    """Where prepared data is kept (also: JAXVAE_DATA); by default ~/.cache/jaxvae."""
    stream: Literal["auto", "yes", "no"] = "auto"
    """Whether the training data is read from disk as it is needed, or all lies on the device; the run is the same.
    auto: where it would take more than half of the device's memory."""


@dataclass(frozen=True)
class Optimizer:
    """How training ascends the objective: Adam, through optax."""

    lr: Annotated[float, Above(0), EVERYDAY] = 1e-3
    """The learning rate, the highest one where there is a schedule."""
    schedule: Literal["constant", "cosine"] = "constant"
    """Whether the learning rate falls to zero along a cosine over the whole run."""
    warmup_steps: Annotated[int, AtLeast(0)] = 0
    """Raise the learning rate from zero over so many steps."""
    clip: Annotated[float | None, Above(0)] = None
    """Scale gradients down to this global norm."""
    weight_decay: Annotated[float, AtLeast(0)] = 0.0
    """Shrink the parameters by this part of the learning rate at every step (AdamW)."""
    beta1: Annotated[float, Between(0, 1)] = 0.9
    """The decay of Adam's mean of gradients."""
    beta2: Annotated[float, Between(0, 1)] = 0.999
    """The decay of Adam's mean of squared gradients."""
    average: Annotated[float | None, Between(0, 1)] = None
    """Keep an exponential moving average of the parameters with this decay, and evaluate it."""

    @property
    def over_the_run(self) -> str | None:
        """What of it goes by the length of the whole run, in words."""
        return (
            "--optimizer.schedule cosine lets the rate fall over the whole run" if self.schedule == "cosine" else None
        )

    def transformation(self, num_steps: int) -> optax.GradientTransformation:
        """Adam with the configured clipping, decay and schedule.

        Args:
            num_steps: of the whole run, for the schedule.

        Returns:
            The optax transformation.

        Raises:
            RunError: the learning rate would still rise at the end.
        """
        if self.warmup_steps >= num_steps:
            raise RunError(
                f"--optimizer.warmup-steps {self.warmup_steps} is not shorter than the run of {num_steps} steps: warm "
                "up for less, or train longer"
            )
        rate: optax.ScalarOrSchedule = self.lr
        if self.schedule == "cosine":
            start = 0.0 if self.warmup_steps else self.lr
            rate = optax.warmup_cosine_decay_schedule(start, self.lr, self.warmup_steps, num_steps)
        elif self.warmup_steps:
            rate = optax.linear_schedule(0.0, self.lr, self.warmup_steps)
        betas = {"b1": self.beta1, "b2": self.beta2}
        decayed = optax.adamw(rate, **betas, weight_decay=self.weight_decay)
        adam = decayed if self.weight_decay else optax.adam(rate, **betas)
        return adam if self.clip is None else optax.chain(optax.clip_by_global_norm(self.clip), adam)


@dataclass(frozen=True)
class Evaluation:
    """What is measured on the test set at the end."""

    num_samples: Annotated[int, AtLeast(0)] = 1000
    """k of the estimate of log p(x) by importance sampling; 0 leaves it out."""
    examples: Annotated[int | None, Above(0)] = None
    """Estimate log p(x) on so many test examples only, taken from all over the test set; by default on all."""


@dataclass(frozen=True)
class Checkpoints:
    """Saving, and stopping at any moment."""

    seconds: Annotated[float, AtLeast(0)] = 15.0
    """Save at most every so many seconds; 0 saves after every call of the device."""
    keep: Annotated[int, AtLeast(1)] = 2
    """How many of the latest checkpoints are kept; with two, a run whose latest is damaged goes on from the other."""


@dataclass(frozen=True)
class Settings:
    """What every run has."""

    data: Stored = field(default_factory=Stored)
    optimizer: Optimizer = field(default_factory=Optimizer)
    evaluation: Evaluation = field(default_factory=Evaluation)
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    epochs: Annotated[int, AtLeast(1), EVERYDAY] = 100
    """Passes over the training set."""
    batch_size: Annotated[int, AtLeast(1), EVERYDAY] = 100
    """Examples in one step."""
    patience: Annotated[int | None, AtLeast(1)] = None
    """End when the bound on held-out data has not risen for so many epochs, and keep the best parameters."""
    accumulate: Annotated[int, AtLeast(1)] = 1
    """Take every batch in so many parts, one after the other: the same numbers in less memory."""
    precision: Literal["float32", "bf16"] = "float32"
    """What the networks compute in. Parameters, densities and bounds are float32 in any case."""
    seed: Annotated[int, AtLeast(0), EVERYDAY] = 0
    """All randomness of the run comes from it."""
    num_seeds: Annotated[int, AtLeast(1), EVERYDAY] = 1
    """Train so many seeds (seed, seed + 1, ...), and report their mean and standard error. An accelerator trains them
    in one program, a CPU one after another, which is faster there."""

    @property
    def takes_in_parts(self) -> tuple[str, int] | None:
        """The option by which a step takes a batch in parts, and how many."""
        return ("--accumulate", self.accumulate) if self.accumulate > 1 else None

    @property
    def seeds(self) -> list[int]:
        """Every seed."""
        return [self.seed + index for index in range(self.num_seeds)]

    def course(self) -> Course:
        """How the run goes."""
        return Course(
            keys=keys.of_seeds(self.seeds),
            epochs=self.epochs,
            batch_size=self.batch_size,
            optimizer=self.optimizer.transformation,
            accumulate=self.accumulate,
            average=self.optimizer.average,
            patience=self.patience,
            stream=self.data.stream,
            save_seconds=self.checkpoints.seconds,
            keep=self.checkpoints.keep,
        )
