"""Sequences with a latent variable at every step: deep Markov models, variational recurrent networks."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax.scipy.special import logit

from jaxvae import networks
from jaxvae.distributions import Bernoulli
from jaxvae.model import VAE
from jaxvae.models import Sequence, deep_markov, variational_recurrent
from jaxvae.run import RunError, keys
from jaxvae.run.choice import EVERYDAY, AtLeast
from jaxvae.run.data import Dataset, Split
from jaxvae.run.data.jsb_chorales import LOWEST, SPLIT, chorales
from jaxvae.run.data.midi import midi
from jaxvae.run.figures.page import INK, MARGIN, WIDE, page
from jaxvae.run.held_out import spread
from jaxvae.run.measures import of_terms
from jaxvae.run.options.objective import PathObjective, ascending, objective_said
from jaxvae.run.options.parts import cast_to
from jaxvae.run.options.words import said
from jaxvae.run.recipe import About, Asked, Kind, Measured, Recipe
from jaxvae.run.settings import Settings, Stored
from jaxvae.types import Array, Key, Params

SHOWN = 3  # chorales of Bach's, and as many of the model's
LOW, HIGH = 42, 97  # MIDI numbers between which the chorales lie, with some room


@dataclass(frozen=True)
class Chorales(Stored):
    """The sequences."""

    name: Annotated[str, tyro.conf.arg(aliases=["--data"]), EVERYDAY] = "jsb_chorales"
    """jsb_chorales: Bach's chorales as piano rolls of quarter notes, 229 for training, 76 and 77 held out."""


@dataclass(frozen=True)
class DeepMarkov:
    """A state-space model of networks, whose posterior reads the steps to come (Krishnan et al. 2017)."""

    hidden: Annotated[int, AtLeast(1)] = 100
    """Units of the transition's and the decoder's hidden layers."""
    width: Annotated[int, AtLeast(1)] = 128
    """Units of the recurrent network that reads a sequence from its end."""

    def model(self, latent: int, pitches: int, length: int, cast: Any) -> VAE:
        """The model of sequences of binary vectors."""
        parts = networks.markov_networks(latent, Bernoulli.parameters((pitches,)), hidden=self.hidden, width=self.width)
        return deep_markov(
            **{name: cast(part) for name, part in parts._asdict().items()}, latent=(latent,), length=length
        )


@dataclass(frozen=True)
class VariationalRecurrent:
    """A VAE at every step, whose parts all know the steps before (Chung et al. 2015)."""

    width: Annotated[int, AtLeast(1)] = 128
    """Units of the recurrent network and of every hidden layer."""

    def model(self, latent: int, pitches: int, length: int, cast: Any) -> VAE:
        """The model of sequences of binary vectors."""
        parts = networks.recurrent_networks(latent, Bernoulli.parameters((pitches,)), width=self.width)
        cast_parts = {name: cast(part) for name, part in parts._asdict().items()}
        return variational_recurrent(**cast_parts, state=(self.width,), length=length)


@dataclass(frozen=True)
class Model:
    """The model."""

    chain: Annotated[DeepMarkov | VariationalRecurrent, EVERYDAY] = field(default_factory=DeepMarkov)
    """How one step follows another."""
    latent: Annotated[int, AtLeast(1), EVERYDAY] = 32
    """The latent dimensions of every step."""
    length: Annotated[int, AtLeast(1), EVERYDAY] = 64
    """The steps of a sequence that is drawn."""
    mean_bias: bool = False
    """Start the decoder's output bias from how often each pitch sounds. It helps a deep Markov model; a variational
    recurrent network then needs no code at first, and its posterior collapses."""


@dataclass(frozen=True)
class Config(Settings):
    """Train a model of sequences, evaluate it, and write a report, with new pieces as MIDI files, into a run folder."""

    data: Chorales = field(default_factory=Chorales)
    model: Model = field(default_factory=Model)
    objective: PathObjective = field(default_factory=PathObjective)
    batch_size: Annotated[int, AtLeast(1), EVERYDAY] = 20
    """Sequences in one step."""


def load(config: Config) -> Dataset:
    """The chorales of a configuration.

    Args:
        config: of a run.

    Returns:
        The data set; an example is (values [T, 88], mask [T]), padded to the longest of its split.

    Raises:
        RunError: there is no such data set.
    """
    if config.data.name != "jsb_chorales":
        raise RunError(f"--data {config.data.name} is no data set of sequences: give --data jsb_chorales")
    parts = {name: Split(part) for name, part in chorales(config.data.source).items()}
    return Dataset("jsb_chorales", SPLIT, parts["train"], parts["valid"], parts["test"])


def recipe(config: Config, about: About) -> Recipe:
    """The recipe of a model of sequences.

    Args:
        config: of a run.
        about: the sequences.

    Returns:
        The recipe.
    """
    settings, values = config.model, about.example[0]
    model = settings.chain.model(settings.latent, values.shape[-1], settings.length, cast_to(config.precision))
    blank = Sequence(*(jnp.zeros(leaf.shape) for leaf in about.example))
    return Recipe(
        model=model,
        init=lambda key: (model.init(key, blank), ()),
        prepare=prepare,
        measure=partial(measure, model),
        draw=partial(draw, model, settings.length),
        protocol={
            "kind": "sequence",
            "chain": said(settings.chain),
            "latent": settings.latent,
            **objective_said(config.objective),
            "mean_bias": settings.mean_bias,
            "normalisation": "sum over test sequences / sum of their steps; by_sequence: mean of each sequence's own",
        },
        start=partial(start, settings.mean_bias),
        **ascending(config, model),
    )


def prepare(key: Key, stored: tuple[Array, Array]) -> Sequence:
    """A stored sequence as the model reads it."""
    values, mask = stored
    return Sequence(values.astype(jnp.float32), mask.astype(jnp.float32))


def start(mean_bias: bool, params: Params, extra: Any, train: Split) -> tuple[Params, Any]:
    """New params, whose decoder begins at how often each pitch sounds in the training set where that is asked for."""
    if not mean_bias:
        return params, extra
    values, mask = train.examples
    rates = np.einsum("ntp,nt->p", values.astype(np.float64), mask) / mask.sum()
    bias = logit(jnp.clip(jnp.asarray(rates, jnp.float32), 1e-3, 1 - 1e-3))
    return params | {"decoder": networks.with_output_bias(params["decoder"], "logits", bias)}, extra


def as_x(split: Split) -> Sequence:
    """The sequences of a split as the model reads them."""
    return jax.vmap(prepare, (None, 0))(keys.held_out(), jax.tree.map(jnp.asarray, split.examples))


def measure(model: VAE, params: Params, test: Split, asked: Asked) -> dict[str, Measured]:
    """Nats per step in the two normalisations that papers have: of all steps alike, and of all sequences alike."""
    of_steps = of_terms(model, as_x, over=lambda xs: xs.mask.sum(axis=1), unit="nats per step")(params, test, asked)
    by_sequence = {
        f"{name}_by_sequence": found._replace(values=found.values / found.over, over=None)
        for name, found in of_steps.items()
        if name in ("test_elbo", "test_nll")
    }
    return of_steps | by_sequence


def draw(model: VAE, length: int, place: Path, params: Params, dataset: Dataset) -> None:
    """Piano rolls of Bach's chorales and of new ones, and the new ones as MIDI files beside the figures."""
    of_each = jax.random.split(keys.of_pictures(), SHOWN)
    drawn = np.asarray(jax.jit(jax.vmap(model.sample, (0, None)))(of_each, params).values)
    values, mask = spread(dataset.test, SHOWN).examples
    bach = [roll[: min(int(steps.sum()), length)] for roll, steps in zip(values, mask, strict=True)]
    caption = (
        "Left: test chorales, their first steps; right: new ones, drawn from the model. Pitch upwards, a quarter note "
        "to the right. Look for four voices that move by small steps and rest on chords."
    )
    with page(place / "rolls.png", "Piano rolls", caption, width=WIDE, height=SHOWN * 240) as panel:
        across = (WIDE - 2 * MARGIN) // 2
        for column, (name, rolls) in enumerate({"Bach": bach, "the model": list(drawn)}.items()):
            for row, roll in enumerate(rolls):
                axes = panel(column * across + 70, row * 240 + 26, across - 90, 176)
                shown = np.asarray(roll)[:, LOW - LOWEST : HIGH - LOWEST + 1].T
                axes.imshow(
                    shown,
                    cmap="Blues",
                    vmin=0,
                    vmax=1,
                    origin="lower",
                    aspect="auto",
                    extent=(0, len(roll), LOW, HIGH + 1),
                )
                axes.set_xlim(0, length)
                axes.set_ylabel("MIDI pitch" if column == 0 else "")
                axes.set_title(name if row == 0 else "", color=INK, loc="left")
    folder = place.parent / "samples"
    folder.mkdir(exist_ok=True)
    for number, roll in enumerate(drawn, start=1):
        (folder / f"{number}.mid").write_bytes(midi(roll))


KIND = Kind("sequence", Config, load, recipe)
