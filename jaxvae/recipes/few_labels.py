"""Few labels: a class that is known for some images and summed out for the rest (M2, and M1+M2)."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae import networks
from jaxvae.bounds import average, bound
from jaxvae.distributions import Normal
from jaxvae.model import VAE
from jaxvae.models import (
    adding_both,
    analogies,
    balanced_labels,
    classify,
    drawn_features,
    extended_objective,
    held,
    labelled_vae,
    repeated,
    stacked,
)
from jaxvae.models.few_labels import UNKNOWN
from jaxvae.priors import standard_normal
from jaxvae.run import RunError
from jaxvae.run.choice import EVERYDAY, AtLeast
from jaxvae.run.data import Dataset, Split
from jaxvae.run.figures.rows import labelled_rows
from jaxvae.run.folder.opening import Run, open_run
from jaxvae.run.held_out import prepared, spread
from jaxvae.run.measures import of_terms
from jaxvae.run.options import likelihoods
from jaxvae.run.options.images import ImageSettings, binarization, check_classes, load_images, prepare_of
from jaxvae.run.options.parts import cast_to
from jaxvae.run.options.words import said
from jaxvae.run.recipe import About, Asked, Kind, Measured, Plan, Recipe
from jaxvae.training import grey
from jaxvae.types import Array, Key, Params

SHOWN = 8  # rows of analogies


@dataclass(frozen=True)
class Model:
    """The model."""

    labels: Annotated[int, AtLeast(1), EVERYDAY] = 100
    """How many training images have a label, as many of every class, chosen by --seed."""
    features: Annotated[Path | None, EVERYDAY] = None
    """A run folder of the plain kind (M1), of whose codes the model is made (M1+M2); by default it is made of pixels
    (M2)."""
    together: Annotated[bool, EVERYDAY] = False
    """Train M1 of --model.features on, with M2 as its prior, by one bound; by default M2 reads its codes only."""
    held: Annotated[int, AtLeast(0)] = 3
    """With --model.together: epochs at the beginning in which M1 stays as it is, until M2 has learned something."""
    latent: Annotated[int, AtLeast(1), EVERYDAY] = 50
    """The latent dimensions beside the class."""
    classes: Annotated[int, AtLeast(2)] = 10
    """How many classes there are."""
    width: Annotated[int, AtLeast(1), EVERYDAY] = 500
    """Units of every hidden layer."""
    depth: Annotated[int, AtLeast(1)] = 1
    """Hidden layers of every network."""
    alpha: Annotated[float, AtLeast(0), EVERYDAY] = 0.1
    """The weight of the classifier's log probability of the known labels, in the loss only."""
    repeats: Annotated[int, AtLeast(1)] = 20
    """How often an epoch visits each labelled image, each time with one such part of its weight."""
    least: Annotated[float, AtLeast(0)] = 0.1
    """A code of --model.features is kept where the standard deviation of its means is above this; with
    --model.together all are."""
    likelihood: likelihoods.Bernoulli = field(default_factory=likelihoods.Bernoulli)
    """The density of pixels; of codes it is a Gaussian."""


@dataclass(frozen=True)
class Config(ImageSettings):
    """Train a classifier and a model of images together where few labels are known, and write a report."""

    model: Model = field(default_factory=Model)
    batch_size: Annotated[int, AtLeast(1), EVERYDAY] = 200
    """Examples in one step, with and without labels."""


def load(config: Config) -> Dataset:
    """The images of a configuration, or their codes, most of them without their labels.

    Args:
        config: of a run.

    Returns:
        The data set. An example is (image, label), or ((mean, log scale) of q(z|image), label), the label -1 where it
        is not known; of held-out examples none is. A split's own `labels` are the true ones.

    Raises:
        RunError: there are no labels, or not enough of each class.
    """
    images, settings = load_images(config), config.model
    if settings.together and settings.features is None:
        raise RunError("--model.together trains M1 and M2: give a run of the plain kind with --model.features RUN")
    splits = {name: split for name, split in images._asdict().items() if isinstance(split, Split)}
    if any(split.labels is None for split in splits.values()):
        raise RunError(f"{images.name} has no labels, of which some are to be known: take data that has")
    for split in splits.values():
        check_classes(images.name, np.asarray(split.labels), settings.classes)
    known = {name: np.full(split.size, UNKNOWN, np.int32) for name, split in splits.items()}
    try:
        known["train"] = balanced_labels(
            config.seed, np.asarray(splits["train"].labels), count=settings.labels, classes=settings.classes
        )
    except ValueError as error:
        raise RunError(f"--model.labels {settings.labels}: {error}") from None
    rows = {name: np.arange(split.size) for name, split in splits.items()}
    rows["train"] = repeated(known["train"], settings.repeats)
    seen, kept = codes_of(settings, splits)
    made = {
        name: Split(
            (jax.tree.map(lambda leaf, name=name: leaf[rows[name]], seen[name]), known[name][rows[name]]),
            np.asarray(split.labels)[rows[name]],
        )
        for name, split in splits.items()
    }
    facts = {"examples": splits["train"].size, "labelled": settings.labels, "kept": kept}
    return Dataset(images.name, images.split, made["train"], made.get("valid"), made["test"], facts)


def codes_of(settings: Model, splits: dict[str, Split]) -> tuple[dict[str, Any], list[int]]:
    """What the model reads of every split: images, or the Gaussians that are their codes, and which codes are kept.

    Args:
        settings: of a configuration.
        splits: of images.

    Returns:
        Name -> images [N, H, W, C] or (mean, log scale) [N, D] each; and D numbers of codes, none for images.
    """
    if settings.features is None or settings.together:
        return {name: split.examples for name, split in splits.items()}, []
    run = first_stage(settings.features)

    @jax.jit
    def encode(images: Array) -> Array:
        def of_image(image: Array) -> Array:
            q = run.model.posterior(run.params, image)
            assert isinstance(q, Normal)
            return jnp.stack([q.mean, q.log_scale])

        return jax.lax.map(of_image, images, batch_size=1000)

    found = {name: np.asarray(encode(prepared(run.recipe.prepare, split.examples))) for name, split in splits.items()}
    kept = np.flatnonzero(found["train"][:1000, 0].std(axis=0) > settings.least)
    if not len(kept):
        raise RunError(f"no code of {settings.features} varies by more than --model.least {settings.least}: lower it")
    return {name: (of[:, 0][:, kept], of[:, 1][:, kept]) for name, of in found.items()}, kept.tolist()


def first_stage(folder: Path) -> Run:
    """The trained M1.

    Args:
        folder: of its run.

    Returns:
        The run.

    Raises:
        RunError: it is no plain run with Gaussian codes.
    """
    run = open_run(folder)
    if run.kind.name != "plain" or said(run.config.model.posterior) != "normal":
        raise RunError(
            f"--model.features {folder} is a run of the kind {run.kind.name}: give one of the kind plain with "
            "--model.posterior normal"
        )
    return run


def model_of(config: Config, about: About, first: Run | None) -> VAE:
    """The model of a configuration, M2.

    Args:
        config: of a run.
        about: the examples.
        first: M1, where it is trained on together with M2.

    Returns:
        The model of (image or code, label).
    """
    settings, cast = config.model, cast_to(config.precision)
    # With ReLU or softplus, whose features are not bounded, the first epoch of a learned scale has infinite gradients.
    activation, hidden = jnp.tanh, (settings.width,) * settings.depth
    if settings.features is None:
        density, outputs = settings.likelihood.of(about.example[0].shape)
    else:
        codes = about.example[0][0].shape if first is None else (first.config.model.latent,)
        density, outputs = Normal, Normal.parameters(codes)

    def of_two(outputs: Any) -> Any:
        first, second = (networks.mlp((), {"features": (settings.width,)}) for _ in range(2))
        return cast(adding_both(first, second, networks.mlp(hidden[1:], outputs, activation=activation), activation))

    second = labelled_vae(
        classes=settings.classes,
        classifier=cast(networks.mlp(hidden, {"logits": (settings.classes,)}, activation=activation)),
        encoder=of_two(Normal.parameters((settings.latent,))),
        decoder=of_two(outputs),
        prior=standard_normal((settings.latent,)),
        likelihood=density,
    )
    return second if first is None else stacked(first.model, second)


def recipe(config: Config, about: About) -> Recipe:
    """The recipe of a model with few labels.

    Args:
        config: of a run.
        about: the examples.

    Returns:
        The recipe.
    """
    settings, facts, of_image = config.model, about.facts, prepare_of(config)
    of_codes = settings.features is not None and not settings.together
    first = first_stage(settings.features) if settings.features is not None and settings.together else None
    model = model_of(config, about, first)
    shape = jax.tree.leaves(about.example)[0].shape

    def prepare(key: Key, stored: Any) -> tuple[Array, Array]:
        seen, label = stored
        return drawn_features(key, (Normal(*seen), label)) if of_codes else (of_image(key, seen), label)

    def init(key: Key) -> tuple[Params, Any]:
        params = model.init(key, (jnp.zeros(shape), jnp.asarray(UNKNOWN, jnp.int32)))
        return params if first is None else params | {"first": first.params}, ()

    def loss(plan: Plan) -> Any:
        counts = {"examples": facts["examples"], "labelled": facts["labelled"]}
        objective = extended_objective(model, average, alpha=settings.alpha, times=settings.repeats, **counts)
        return held(objective, "first", settings.held * plan.steps_per_epoch) if settings.together else objective

    return Recipe(
        model=model,
        init=init,
        loss=loss,
        prepare=prepare,
        bound=partial(bound(average), model, num_samples=1),
        measure=partial(measure, model, prepare),
        draw=partial(draw, config, model, facts["kept"]),
        protocol={
            "kind": "few-labels",
            "labels": settings.labels,
            "of": said_of(settings, facts["kept"]),
            "binarisation": binarization(config),
            "alpha": settings.alpha,
            "repeats": settings.repeats,
            "network": f"tanh, width {settings.width}, depth {settings.depth}",
            "latent": settings.latent,
            "bound": "elbo",
        },
    )


def said_of(settings: Model, kept: list[int]) -> str:
    """What the model is made of, in words."""
    if settings.features is None:
        return "pixels"
    if settings.together:
        return f"pixels, together with {settings.features}, which is held for {settings.held} epochs"
    return f"codes of {settings.features}, {len(kept)} kept"


def measure(model: VAE, prepare: Any, params: Params, test: Split, asked: Asked) -> dict[str, Measured]:
    """The share of test examples whose class is told, of grey images or of mean codes; and the bounds."""
    seen, _ = test.examples
    # the most probable pixels, or codes, are those that are not drawn
    xs = jnp.asarray(seen[0]) if isinstance(seen, tuple) else prepared(grey, seen)
    told = jax.jit(lambda xs: jax.lax.map(lambda x: classify(model, params, x), xs, batch_size=1000))(xs)
    right = np.asarray(told) == test.labels
    found = of_terms(model, lambda split: prepared(prepare, split.examples))(params, test, asked)
    return {"test_accuracy": Measured(right.astype(np.float64), "of the images")} | found


def draw(config: Config, model: VAE, kept: list[int], place: Path, params: Params, dataset: Dataset) -> None:
    """Analogies: test images, and what each would look like as every class."""
    chosen, _ = spread(dataset.test, SHOWN).examples
    if config.model.features is None or config.model.together:
        originals = prepared(prepare_of(config), chosen)
        rows = np.asarray(jax.vmap(lambda image: analogies(model, params, image))(originals))
    else:
        run = first_stage(config.model.features)

        def image_of(codes: Array) -> Array:
            whole = jnp.zeros(run.config.model.latent).at[jnp.asarray(kept)].set(codes)
            return run.model.likelihood(run.params, whole).expectation()

        means = jnp.asarray(chosen[0])
        originals = jax.vmap(image_of)(means)
        rows = np.asarray(jax.vmap(lambda x: jax.vmap(image_of)(analogies(model, params, x)))(means))
    shown = [(f"image {i + 1}", np.concatenate([np.asarray(originals[i : i + 1]), rows[i]])) for i in range(len(rows))]
    labelled_rows(
        place / "analogies.png",
        shown,
        title="Analogies",
        caption="Each row: a test image (of codes: its reconstruction), then what its style looks like as every class. "
        "Look for ten classes from left to right, and one hand in a row.",
    )


KIND = Kind("few-labels", Config, load, recipe)
