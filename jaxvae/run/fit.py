"""`jaxvae.fit`: any model trained on arrays by one call, the training loop of a run without a folder."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvae import training
from jaxvae.bounds import elbo
from jaxvae.losses import Loss, lifted
from jaxvae.model import VAE
from jaxvae.run.course import Course
from jaxvae.run.data import Dataset, Split
from jaxvae.run.recipe import Recipe
from jaxvae.run.train import Trained, train
from jaxvae.types import Array, Key, Params


class History(NamedTuple):
    """What a training went through, in nats per example."""

    train: np.ndarray  # [epochs] the mean bound over the steps of each epoch; of a loss without one, minus the loss
    valid: np.ndarray | None  # [epochs] on the held-out examples after it, where there are some
    best_epoch: int  # whose params were kept, counted from one; the last one without patience
    extra: Any  # the loss's state that no gradient touches


def fit(
    model: VAE | None,
    xs: Any,
    *,
    key: Key,
    epochs: int = 100,
    batch_size: int = 100,
    optimizer: optax.GradientTransformation | None = None,
    bound: Callable[..., Array] = elbo,
    num_samples: int = 1,
    loss: Loss | None = None,
    valid: Any = None,
    patience: int | None = None,
    params: Params | None = None,
    extra: Any = (),
    prepare: training.Prepare | None = None,
    show: bool = True,
) -> tuple[Params, History]:
    """Train a model on arrays: an epoch is one compiled scan, as that of a run by the command line is.

    Args:
        model: any model of this library, or your own; None where `params` begin, and `bound` or `loss` asks for none.
        xs: [N, *event] the examples, or a tree of such arrays.
        key: of the first params, the order of the examples, and all noise.
        epochs: passes over the examples; the last incomplete batch of each is left out.
        batch_size: B.
        optimizer: any optax transformation; Adam with a rate of 1e-3 by default.
        bound: (model, key, params, x, *, num_samples) -> [] nats, which is ascended: `elbo`, `iwae_bound`, or
            `jaxvae.bound` of any reduction.
        num_samples: k, the draws of the bound.
        loss: descended in place of the bound, one of `jaxvae.losses` or your own; `valid` is still judged by `bound`.
        valid: held-out examples, of which the mean bound is watched.
        patience: end when it has not risen for so many epochs, and hand back the params with the highest one.
        params: to begin from; the model's own by default.
        extra: the loss's state that no gradient touches.
        prepare: (key, stored example) -> x, at every visit: `jaxvae.training.grey` of bytes, `dynamic_binarization`.
        show: a progress bar.

    Returns:
        The params, and the history.

    Raises:
        ValueError: the examples do not fill a batch, patience has nothing to watch, bytes come without `prepare`, or
            there is neither a model nor params.
        Diverged: a term is not finite.

    Example:
        >>> from jaxvae.models import linear
        >>> xs = jax.random.normal(jax.random.key(0), (200, 3))
        >>> model = linear.linear_vae(latent=1)
        >>> params, history = fit(model, xs, key=jax.random.key(1), epochs=2, batch_size=20, show=False)
        >>> history.train.shape
        (2,)
    """
    if patience is not None and valid is None:
        raise ValueError(f"patience={patience} watches held-out examples: give some as valid=")
    if training.num_examples(xs) < batch_size:
        raise ValueError(
            f"{training.num_examples(xs)} examples do not fill a batch of {batch_size}: give a smaller batch_size"
        )
    recipe = recipe_of(
        model, xs, bound=bound, num_samples=num_samples, loss=loss, params=params, extra=extra, prepare=prepare
    )
    chosen = optax.adam(1e-3) if optimizer is None else optimizer
    course = Course(key, epochs, batch_size, lambda num_steps: chosen, patience=patience)
    dataset = Dataset("arrays", "given", Split(xs), None if valid is None else Split(valid), Split(()))
    trained = train(recipe, course, dataset, show="training" if show else None)
    return trained.params, history_of(trained)


def recipe_of(
    model: VAE | None,
    xs: Any,
    *,
    bound: Callable[..., Array] = elbo,
    num_samples: int = 1,
    loss: Loss | None = None,
    params: Params | None = None,
    extra: Any = (),
    prepare: training.Prepare | None = None,
) -> Recipe:
    """What `fit` trains.

    Args:
        model: as of `fit`, and so the others.
        xs: the examples.
        bound: that is ascended.
        num_samples: its draws.
        loss: in its place.
        params: to begin from.
        extra: the loss's state.
        prepare: of an example.

    Returns:
        The recipe.

    Raises:
        ValueError: bytes come without `prepare`, or there is neither a model nor params.
    """
    if model is None and params is None:
        raise ValueError("without a model nothing says where to begin: give params=")
    if prepare is None:
        if any(leaf.dtype == np.uint8 for leaf in jax.tree.leaves(xs)):
            raise ValueError("xs holds bytes: give prepare=jaxvae.training.grey for pixels, or numbers as floats")
        prepare = as_it_is
    known = cast(VAE, model)  # nobody asks it anything where there is none
    of_example = partial(bound, known, num_samples=num_samples)
    descended = loss or lifted(partial(_ascended, of_example))
    one = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), xs)

    def init(of_params: Key) -> tuple[Params, Any]:
        if params is None:
            return jax.jit(known.init)(of_params, prepare(of_params, one)), jax.tree.map(jnp.copy, extra)
        return jax.tree.map(jnp.copy, (params, extra))  # the first step gives its buffers away, and these are yours

    return Recipe(
        model=known,
        init=init,
        loss=lambda plan: descended,
        prepare=prepare,
        bound=of_example,
        measure=lambda *arguments: {},
        draw=lambda *arguments: None,
        protocol={},
        num_samples=num_samples,
    )


def as_it_is(key: Key, stored: Any) -> Any:
    """A stored example is what the model sees."""
    return stored


def _ascended(of_example: Callable[[Key, Params, Any], Array], key: Key, params: Params, x: Any, step: Array) -> Any:
    value = of_example(key, params, x)
    return value, {"bound": value}


def history_of(trained: Trained) -> History:
    """What a training went through: the rows of its calls as numbers of epochs.

    Args:
        trained: of one seed.

    Returns:
        The history.
    """
    steps = np.diff([0, *(row["step"] for row in trained.rows)])
    of_call = np.array([row["train_bound"] if "train_bound" in row else -row["train_loss"] for row in trained.rows])
    epoch_of = np.ceil([row["epoch"] - 1e-9 for row in trained.rows]).astype(int) - 1
    total = np.bincount(epoch_of, steps * of_call)
    watched = [row["valid_bound"] for row in trained.rows if "valid_bound" in row]
    best = len(total) if trained.best_epoch is None else trained.best_epoch
    return History(
        total / np.bincount(epoch_of, steps), np.array(watched) if watched else None, best, trained.state.extra
    )
