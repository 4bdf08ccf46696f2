"""A second VAE on the codes of a trained run, and what it draws: `jaxvae two-stage runs/NAME`."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

from jaxvae import evaluation, networks
from jaxvae.bounds import iwae_bound
from jaxvae.distributions import Normal
from jaxvae.model import VAE, vae
from jaxvae.networks import Free
from jaxvae.priors import standard_normal
from jaxvae.questions.parts.code_densities import drawn_codes, fitted_mixture, mixture_draws, prior_density
from jaxvae.questions.parts.examined import REALS, at_least, each_of, mean_and_error, open_examined, seen
from jaxvae.run import RunError
from jaxvae.run.figures.images import decode
from jaxvae.run.figures.rows import blocks
from jaxvae.run.fit import fit
from jaxvae.run.folder.opening import Run
from jaxvae.run.report import section
from jaxvae.run.train import Diverged
from jaxvae.types import Array, Key, Params

PRIOR, MIXTURE, SECOND = "prior", "Gaussian mixture", "second VAE"
FIRST_LOG_SCALE = -1.5  # of the second decoder's noise: starting from one, the codes' own scale, it needs no latents
KINDS = ("plain",)  # of runs that it is about


@dataclass(frozen=True)
class Options:
    """Train a small VAE on the codes of a trained one, draw codes from it, and decode them."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    train_examples: int = 20_000
    """Training images, from all over the set, whose codes the second VAE and the mixture are made of."""
    test_examples: int = 1000
    """Test images, from all over the set: their codes are what the densities must explain."""
    epochs: int = 100
    """Passes of the second VAE over the training images; at every visit an image has a new code, from its posterior."""
    batch_size: int = 128
    """Of the second VAE."""
    learning_rate: float = 3e-3
    """Of Adam, at its first step; it falls to zero along a cosine."""
    draws: int = 8
    """Importance samples of the bound that trains it. With one, the ELBO, it often learns to do without its latents."""
    width: int = 256
    """Units in each of two hidden layers, on both sides; as many latent dimensions as the codes have."""
    k: int = 500
    """Importance samples of its density of held-out codes, which is a lower bound."""
    components: int | None = None
    """Of the Gaussian mixture, as in `jaxvae generate`."""
    num_images: int = 64
    """Images of each kind in the figure."""
    seed: int = 0
    """Of the second VAE and all draws."""


def main(options: Options) -> None:
    """Train, measure, draw, add a section to the report.

    Args:
        options: of the command line.
    """
    _check(options)
    run, dataset = open_examined(options.run, KINDS, needs=REALS)
    train, _ = seen(run, dataset.train, options.train_examples)
    test, _ = seen(run, dataset.test, options.test_examples)
    for name, count in (("batch-size", options.batch_size), ("components", options.components or 1)):
        if count > len(train):
            raise RunError(f"--{name} {count} is more than the {len(train)} training codes")
    key_train, key_codes, key_test, key_density, key_draws = jax.random.split(jax.random.key(options.seed), 5)

    codes = drawn_codes(run.model, key_codes, run.params, train)
    mixture = fitted_mixture(np.asarray(codes, np.float64), options.components, options.seed)
    second = second_stage(codes.shape[1], options.width)
    params, bound = _trained(second, key_train, run, train, options)

    held_out = drawn_codes(run.model, key_test, run.params, test)
    log_density = partial(_log_density, second, params, options.k)
    densities = {
        PRIOR: np.asarray(prior_density(run.model, run.params, held_out)),
        MIXTURE: mixture.score_samples(np.asarray(held_out, np.float64)),
        SECOND: each_of(log_density, key_density, held_out, "density of held-out codes", batch_size=50),
    }
    keys = jax.random.split(key_draws, options.num_images)
    new_codes = {
        PRIOR: jax.vmap(run.model.prior(run.params).sample)(keys),
        MIXTURE: jnp.asarray(mixture_draws(mixture, options.num_images, options.seed), jnp.float32),
        SECOND: jax.jit(jax.vmap(second.sample, (0, None)))(keys, params),
    }
    blocks(
        run.folder / "figures" / "two_stage.png",
        {name: np.asarray(decode(run.model, run.params, zs)) for name, zs in new_codes.items()},
        title="Two stages",
        caption="The decoder's mean at codes from the prior, from a Gaussian mixture fitted to the codes of training "
        "images, and from a second VAE trained on these codes. Look for shapes that are no digits, letters, faces...: "
        "they would come from places where no image has its code.",
    )
    numbers, rows = _numbers(densities)
    page = section.add(
        run,
        "two_stage",
        title="A second stage",
        text=_text(),
        numbers=numbers | {"second_stage_bound_on_training_codes": bound},
        protocol={
            "train_examples": len(train),
            "test_examples": len(test),
            "codes": "draws from q(z|x); for training a new one at every visit",
            "second_stage": f"2 hidden layers of {options.width} units, {options.epochs} passes, batch "
            f"{options.batch_size}, Adam {options.learning_rate:g} with a cosine, IWAE bound of {options.draws} draws",
            "second_stage_density": "importance-weighted, a lower bound",
            "second_stage_k": options.k,
            "mixture_components": mixture.n_components,
            "standard_error": "over test images",
            "draw_seed": options.seed,
        },
        columns=["density", "-log density of held-out codes (nats)", "gain over the prior"],
        rows=rows,
        figures=["two_stage.png"],
    )
    for name, cost, gain in rows:
        print(f"  -log density of held-out codes, {name}: {cost} nats; gain over the prior: {gain}")
    print(f"report: {page}")


def second_stage(latent: int, width: int) -> VAE:
    """A VAE of vectors whose latent space has as many dimensions as they have, and one learned noise scale.

    Args:
        latent: dimensions of a code.
        width: units in each hidden layer.

    Returns:
        The model.

    Source: Dai & Wipf, "Diagnosing and Enhancing VAE Models" (2019), section 4.
    """
    return vae(
        encoder=networks.mlp((width, width), Normal.parameters((latent,))),
        decoder=networks.mlp((width, width), {"mean": (latent,), "log_scale": Free((), FIRST_LOG_SCALE)}),
        prior=standard_normal((latent,)),
        likelihood=Normal,
    )


def _check(options: Options) -> None:
    at_least(
        1, draws=options.draws, epochs=options.epochs, batch_size=options.batch_size, width=options.width, k=options.k
    )
    at_least(1, num_images=options.num_images, components=1 if options.components is None else options.components)
    at_least(2, train_examples=options.train_examples, test_examples=options.test_examples)
    at_least(0, seed=options.seed)
    if not options.learning_rate > 0:
        raise RunError(f"--learning-rate {options.learning_rate} must be positive")


def _trained(second: VAE, key: Key, run: Run, xs: Array, options: Options) -> tuple[Params, float]:
    """The params of the second VAE after training, and the mean of its bound over the last pass, in nats for a code."""
    steps_per_epoch = len(xs) // options.batch_size
    rate = optax.cosine_decay_schedule(options.learning_rate, options.epochs * steps_per_epoch)

    def code_of(key: Key, x: Array) -> Array:
        return run.model.posterior(run.params, x).sample(key)

    try:
        params, history = fit(
            second,
            xs,
            key=key,
            epochs=options.epochs,
            batch_size=options.batch_size,
            optimizer=optax.adam(rate),
            bound=iwae_bound,
            num_samples=options.draws,
            prepare=code_of,
        )
    except Diverged as error:
        raise RunError(
            f"the second VAE diverged ({error}): give a smaller --learning-rate than {options.learning_rate:g}"
        ) from None
    return params, float(history.train[-1])


def _log_density(second: VAE, params: Params, k: int, key: Key, z: Array) -> Array:
    return evaluation.log_likelihood(second, key, params, z, num_samples=k, chunk=min(k, 100))


def _numbers(densities: dict[str, np.ndarray]) -> tuple[dict[str, float | None], list[list]]:
    """The numbers, and a line of the table for each density."""
    numbers: dict[str, float | None] = {}
    rows = []
    for name, log_density in densities.items():
        key = name.lower().replace(" ", "_")
        cost, gain = mean_and_error(-log_density), mean_and_error(log_density - densities[PRIOR])
        numbers |= cost.under(f"cost_{key}") | ({} if name == PRIOR else gain.under(f"gain_over_prior_{key}"))
        at_most, at_least_so_much = ("≤ ", "≥ ") if name == SECOND else ("", "")
        gained = "–" if name == PRIOR else at_least_so_much + gain.said()
        rows.append([name, at_most + cost.said(), gained])
    return numbers, rows


def _text() -> str:
    return (
        "Where the codes of images do not fill the prior, a draw from it falls where the decoder has never been. A "
        "second, small VAE is trained on codes, drawn anew from the posteriors of training images at every visit. A "
        "draw from it is a code, which the first decoder turns into an image. The Gaussian mixture is fitted to codes "
        "of the same images.\n\n"
        "What a density costs is told by the codes of test images, which none of them saw: by so much the ELBO would "
        "rise if the prior were replaced by it. The second VAE's density is itself a bound, so it costs no more than "
        "what is written."
    )
