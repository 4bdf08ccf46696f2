"""The workloads: networks of the literature, each with its matrix products, as programs that run one repetition."""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import handwritten, handwritten_likelihood
from benchmarks.limits import Layer, Product, products
from jaxvae import VAE, log_likelihood, networks, standard_normal, vae
from jaxvae.bounds import average, importance_weighted
from jaxvae.distributions import Bernoulli, Normal
from jaxvae.flows import inverse_autoregressive, orthogonal_sylvester, planar
from jaxvae.losses import negative_bound
from jaxvae.model import Terms
from jaxvae.networks import Outputs
from jaxvae.priors import vamp_prior
from jaxvae.recipes import plain
from jaxvae.run.course import Course
from jaxvae.run.data import Dataset, Split
from jaxvae.run.fit import recipe_of
from jaxvae.run.options.images import Images
from jaxvae.run.recipe import Plan, Recipe, about
from jaxvae.run.settings import Optimizer
from jaxvae.run.start import first_progress
from jaxvae.run.steps import Program, compiled, step_of
from jaxvae.training import grey, make_step, start, steps

IMAGE = (28, 28, 1)
PIXELS = 784
OPTIMIZER = optax.chain(optax.clip_by_global_norm(10.0), optax.adam(1e-3))


class Workload(NamedTuple):
    """A compiled program that has run once."""

    name: str
    description: str
    images: int  # in one repetition
    run: Callable[[], Any]  # one repetition; returns arrays that are ready when it is done
    program: jax.stages.Compiled
    first_call_seconds: float  # compilation and the first repetition
    products: list[Product]  # of one step
    images_per_step: float
    by_fit: Callable[[], Any] | None = None  # one repetition as `jaxvae.fit` makes it
    by_hand: Callable[[], Any] | None = None  # one repetition of the same arithmetic without the library
    plain: Callable[[], Any] | None = None  # one repetition of W1, for what adds to it


def model_of(pair: Callable, latent: int) -> VAE:
    """A VAE for 28 x 28 binary pictures."""
    encoder, decoder = pair(Normal.parameters((latent,)), Bernoulli.parameters(IMAGE))
    return vae(encoder=encoder, decoder=decoder, prior=standard_normal((latent,)))


def small_layers() -> list[Layer]:
    """784-400-20, of `networks.small_pair`."""
    encoder = [Layer(1, PIXELS, 400, first=True), Layer(1, 400, 20), Layer(1, 400, 20)]
    return [*encoder, Layer(1, 20, 400), Layer(1, 400, PIXELS)]


def iwae_layers(num_samples: int) -> list[Layer]:
    """784-200-200-50, of `networks.iwae_pair`: the decoder runs for every draw."""
    encoder = [Layer(1, PIXELS, 200, first=True), Layer(1, 200, 200), Layer(1, 200, 50), Layer(1, 200, 50)]
    return encoder + iwae_decoder_layers(num_samples)


def iwae_decoder_layers(num_samples: int) -> list[Layer]:
    """50-200-200-784."""
    return [Layer(num_samples, 50, 200), Layer(num_samples, 200, 200), Layer(num_samples, 200, PIXELS)]


def conv_layers() -> list[Layer]:
    """32 and 64 maps, of `networks.conv_pair` with 20 latents: 3 x 3 patches, and 7 x 7 x 64 in the middle."""
    encoder = [Layer(14 * 14, 9, 32, first=True), Layer(7 * 7, 9 * 32, 64), Layer(1, 3136, 20), Layer(1, 3136, 20)]
    # The decoder doubles an image by 2 x 2 patches to four times the channels.
    return [*encoder, Layer(1, 20, 3136), Layer(7 * 7, 4 * 64, 4 * 32), Layer(14 * 14, 4 * 32, 4)]


def residual_layers() -> list[Layer]:
    """`conv_layers` with two 3 x 3 convolutions more at 14 x 14 x 32 and at 7 x 7 x 64, on each side."""
    large, small = Layer(14 * 14, 9 * 32, 32), Layer(7 * 7, 9 * 64, 64)
    first, second, *heads, from_code, up, out = conv_layers()
    return [first, large, large, second, small, small, *heads, from_code, small, small, up, large, large, out]


def small(data: np.ndarray, length: int | None = None) -> Workload:
    """W1: 784-400-20, ReLU, ELBO, as `jaxvae train` builds it.

    Args:
        data: [N, 28, 28, 1] uint8 in {0, 255}.
        length: steps of a repetition; None for an epoch, which `jaxvae.fit` and a hand-written scan run as well.

    Returns:
        The workload.
    """
    pixels, optimizer = jnp.asarray(data), Optimizer(lr=1e-3, clip=10.0)
    config = plain.Config(data=Images(binarize="none"), optimizer=optimizer, epochs=1, batch_size=128)
    dataset = Dataset("pictures", "given", Split(pixels), None, Split(pixels[:0]))
    recipe, course = plain.recipe(config, about(dataset)), config.course()
    ours = _of_recipe("W1", "784-400-20, ELBO, batch 128", recipe, course, pixels, small_layers(), length)
    if length:
        return ours
    by_fit = _of_recipe("", "", recipe_of(recipe.model, pixels, prepare=grey), course, pixels, small_layers())
    carry = handwritten.start(jax.random.key(0), OPTIMIZER)
    epoch = functools.partial(handwritten.epoch, optimizer=OPTIMIZER, batch_size=128)
    by_hand = _repeated("", "", _jitted(epoch), carry, pixels.reshape(len(data), PIXELS), 128, small_layers())
    return ours._replace(by_fit=by_fit.run, by_hand=by_hand.run)


def iwae(data: np.ndarray, num_samples: int) -> Workload:
    """W2: 784-200-200-50, tanh, importance-weighted bound."""
    model = model_of(networks.iwae_pair, 50)
    description = f"784-200-200-50, IWAE k = {num_samples}, batch 100"
    layers = iwae_layers(num_samples)
    return _training(f"W2 k={num_samples}", description, model, importance_weighted, data, 100, num_samples, layers)


def conv(data: np.ndarray) -> Workload:
    """W4: a small convolutional VAE, ELBO."""
    model = model_of(networks.conv_pair, 20)
    description = "convolutions 32-64, 20 latents, ELBO, batch 128"
    return _training("W4", description, model, average, data, 128, 1, conv_layers())


def residual(data: np.ndarray) -> Workload:
    """W5: the convolutional VAE with residual blocks, ELBO."""
    model = model_of(networks.residual_pair, 20)
    description = "residual blocks of 32 and 64 maps, 20 latents, ELBO, batch 128"
    return _training("W5", description, model, average, data, 128, 1, residual_layers())


RICHER = ("iaf", "sylvester", "planar", "vamp")


def richer(data: np.ndarray, name: str) -> Workload:
    """W6: W1 with four transforms of a flow, or with a VampPrior of 500 components, beside W1 itself."""
    latent, flows, components = (20,), 4, 500
    prior = vamp_prior(num_components=components) if name == "vamp" else standard_normal(latent)
    families = {"iaf": inverse_autoregressive, "sylvester": orthogonal_sylvester, "planar": planar}
    family = families.get(name)
    outputs = Normal.parameters(latent) if family is None else family.parameters(latent, num_flows=flows)
    encoder, decoder = networks.small_pair(outputs, Bernoulli.parameters(IMAGE))
    model = vae(encoder=encoder, decoder=decoder, prior=prior, posterior=family or Normal)
    what = f"a VampPrior of {components}" if name == "vamp" else f"{flows} {name} transforms"
    layers = _richer_layers(name, outputs)
    workload = _training(f"W6 {name}", f"784-400-20 with {what}, batch 128", model, average, data, 128, 1, layers)
    return workload._replace(plain=small(data).run)


def _richer_layers(name: str, outputs: Outputs) -> list[Layer]:
    """Those of W1 with all heads of the encoder; the masked networks of a flow, or pseudo-inputs in rows of four."""
    hidden, *_, first, last = small_layers()
    heads = [Layer(1, 400, int(np.prod(shape))) for shape in outputs.values() if not isinstance(shape, networks.Free)]
    if name == "iaf":
        width = heads[-1].outputs // 4  # of the context, an output of the encoder for each transform
        heads += [Layer(1, 20, width), Layer(1, width, 40)] * 4
    pseudo = [layer._replace(rows=4, first=False) for layer in (hidden, *heads)] if name == "vamp" else []
    return [hidden, *heads, *pseudo, first, last]


def likelihood(data: np.ndarray, num_samples: int, chunk: int) -> Workload:
    """W3: log p(x) of a batch by importance sampling."""
    model = model_of(networks.iwae_pair, 50)
    xs = jax.vmap(grey, (None, 0))(jax.random.key(0), jnp.asarray(data))
    params = jax.jit(model.init)(jax.random.key(0), xs[0])
    estimate = functools.partial(log_likelihood, model, num_samples=num_samples, chunk=chunk)
    of_batch = jax.jit(jax.vmap(estimate, (0, None, 0)))
    keys = jax.random.split(jax.random.key(1), len(xs))
    weights = handwritten_likelihood.init(jax.random.key(0))
    by_hand = jax.jit(functools.partial(handwritten_likelihood.log_likelihood, num_samples=num_samples, chunk=chunk))
    began = time.perf_counter()
    program = of_batch.lower(keys, params, xs).compile()
    jax.block_until_ready(program(keys, params, xs))
    first_call = time.perf_counter() - began
    return Workload(
        f"W3 chunk={chunk}",
        f"784-200-200-50, log p(x), k = {num_samples:,}, {len(xs)} images at once",
        len(xs),
        lambda: program(keys, params, xs),
        program,
        first_call,
        products(iwae_decoder_layers(chunk), len(xs), training=False),
        len(xs) * chunk / num_samples,
        by_hand=lambda: by_hand(keys[0], weights, xs.reshape(len(xs), -1)),
    )


def _of_recipe(
    name: str,
    description: str,
    recipe: Recipe,
    course: Course,
    data: jax.Array,
    layers: list[Layer],
    length: int | None = None,
) -> Workload:
    """A repetition by the compiled scan of the shell."""
    per_epoch = len(data) // course.batch_size
    plan = Plan(course.epochs * per_epoch, per_epoch)
    scan = compiled(Program(step_of(recipe, course, plan), recipe.prepare, course.batch_size), False)
    state = first_progress(recipe, course, plan.num_steps).state
    of_length = functools.partial(scan.lower, length=length or per_epoch)
    return _repeated(name, description, of_length, state, data, course.batch_size, layers, length)


def _training(
    name: str,
    description: str,
    model: VAE,
    reduce: Callable[[Terms], jax.Array],
    data: np.ndarray,
    batch_size: int,
    num_samples: int,
    layers: list[Layer],
) -> Workload:
    """An epoch by the core alone, which takes any model."""
    pixels = jnp.asarray(data)
    state = start(jax.jit(model.init)(jax.random.key(0), jnp.zeros(IMAGE)), OPTIMIZER)
    step = make_step(negative_bound(model, reduce, num_samples=num_samples), OPTIMIZER)
    epoch = functools.partial(steps, step=step, prepare=grey, batch_size=batch_size)
    return _repeated(name, description, _jitted(epoch), state, pixels, batch_size, layers)


def _jitted(epoch: Callable) -> Callable[..., jax.stages.Lowered]:
    return jax.jit(epoch, donate_argnums=0).lower


def _repeated(
    name: str,
    description: str,
    lower: Callable[..., jax.stages.Lowered],
    state: Any,
    data: jax.Array,
    batch_size: int,
    layers: list[Layer],
    length: int | None = None,
) -> Workload:
    """One repetition is one epoch; the state goes on from one to the next, in the same memory."""
    key = jax.random.key(1)
    began = time.perf_counter()
    program = lower(state, key, data).compile()
    held = program(state, key, data)
    jax.block_until_ready(held)
    first_call = time.perf_counter() - began

    def run() -> Any:
        nonlocal held
        held = program(held[0], key, data)
        return held

    images = (length or len(data) // batch_size) * batch_size
    return Workload(name, description, images, run, program, first_call, products(layers, batch_size), batch_size)
