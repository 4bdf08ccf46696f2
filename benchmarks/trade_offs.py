"""What less memory costs, and what 16 bits save: `python -m benchmarks.trade_offs [--run runs/NAME] [--json F]`.

Every way of training the IWAE network at k = 50 runs in turns with the plain one; so does a stream beside data on the
device, and log p(x) in bfloat16 beside float32. With a trained run, its test ELBO is computed in both precisions from
the same draws.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

from benchmarks.machine import description
from benchmarks.memory import program_bytes
from benchmarks.pictures import binarized_mnist
from benchmarks.timing import Run, in_turns, speed_ratio, timed
from benchmarks.workloads import IMAGE
from jaxvae import VAE, elbo, log_likelihood, losses, networks, standard_normal, training, vae
from jaxvae.bounds import average, importance_weighted
from jaxvae.distributions import Bernoulli, Normal
from jaxvae.run import stream
from jaxvae.run.folder.files import write_result
from jaxvae.run.folder.opening import open_run
from jaxvae.run.held_out import as_seen
from jaxvae.run.monitor import mean_bound

OPTIMIZER = optax.adam(1e-3)
EPOCHS = 4  # of a repetition with a stream
Program = tuple[Run, int | None]  # one repetition, and the bytes of its program


def main(run: Path | None = None, json: Path | None = None, quick: bool = False, repeats: int | None = None) -> None:
    """Measure each way beside the plain one.

    Args:
        run: a trained run, whose ELBO is computed in both precisions.
        json: write all numbers to this file.
        quick: small sizes, to see that everything runs; the numbers mean little.
        repeats: how often everything runs; 9, or 2 if quick.
    """
    repeats = repeats or (2 if quick else 9)
    rows: list[dict[str, Any]] = []
    for title, programs in (
        ("training, 784-200-200-50, IWAE k = 50, batch 100", importance_weighted_training(200 if quick else 1000)),
        ("training, 784-400-20, ELBO, batch 128", streamed_training(640 if quick else 50_000)),
        ("log p(x), 784-200-200-50, k = 5,000, 20 images", likelihood(200 if quick else 5000)),
    ):
        seconds = in_turns({name: program[0] for name, program in programs.items()}, repeats=repeats, title=title)
        plain, *others = programs
        print(f"{title}\n  {plain}: {_megabytes(programs[plain][1])}")
        for name in others:
            speed = speed_ratio(1, seconds[name], 1, seconds[plain])
            rows.append({"workload": title, "way": name, "bytes": programs[name][1], "speed": speed._asdict()})
            print(
                f"  {name}: {_megabytes(programs[name][1])}, "
                f"{speed.median:.2f} [{speed.lower:.2f}, {speed.upper:.2f}] times as fast"
            )
        rows.append({"workload": title, "way": plain, "bytes": programs[plain][1], "seconds": seconds[plain]})
    of_run = in_both_precisions(run) if run else None
    if of_run:
        print("test ELBO of {run}: {float32:.3f} nats in float32, {bf16:.3f} in bfloat16".format(run=run, **of_run))
    if json:
        record = {"command": sys.argv, "quick": quick, "machine": description(), "rows": rows, "elbo": of_run}
        write_result(json, record)


def model_of(pair: Callable, latent: int, *, bfloat16: bool = False) -> VAE:
    """A VAE for 28 x 28 binary pictures."""
    encoder, decoder = pair(Normal.parameters((latent,)), Bernoulli.parameters(IMAGE))
    if bfloat16:
        encoder, decoder = networks.in_bfloat16(encoder), networks.in_bfloat16(decoder)
    return vae(encoder=encoder, decoder=decoder, prior=standard_normal((latent,)))


def importance_weighted_training(images: int) -> dict[str, Program]:
    """An epoch of k = 50: plain, in parts, with few draws at once, and in bfloat16."""
    pixels = jnp.asarray(binarized_mnist(images)[0])

    def program(*, accumulate: int = 1, at_once: int | None = None, bfloat16: bool = False) -> Program:
        model = model_of(networks.iwae_pair, 50, bfloat16=bfloat16)
        loss = losses.negative_bound(model, importance_weighted, num_samples=50, at_once=at_once)
        step = training.make_step(loss, OPTIMIZER, accumulate=accumulate)
        epoch = partial(training.steps, step=step, prepare=training.grey, batch_size=100)
        return _repeated(epoch, model, pixels)

    return {
        "float32, whole batches, all draws at once": program(),
        "batches in 5 parts (accumulate)": program(accumulate=5),
        "10 draws at once (remat)": program(at_once=10),
        "both": program(accumulate=5, at_once=10),
        "bfloat16": program(bfloat16=True),
    }


def streamed_training(images: int) -> dict[str, Program]:
    """Four epochs of the small network: the data on the device, and from a stream that begins anew each time."""
    stored = binarized_mnist(images)[0]
    model = model_of(networks.small_pair, 20)
    step = training.make_step(losses.negative_bound(model, average), OPTIMIZER)
    settings: dict[str, Any] = {"step": step, "prepare": training.grey, "batch_size": 128}
    key, per_epoch = jax.random.key(1), len(stored) // 128
    length = min(per_epoch, stream.longest_call(stored, 128))
    calls = [
        (per_epoch * epoch + step, min(length, per_epoch - step))
        for epoch in range(EPOCHS)
        for step in range(0, per_epoch, length)
    ]
    over = jax.jit(partial(training.streamed, **settings))
    start = training.start(jax.jit(model.init)(jax.random.key(0), jnp.zeros(IMAGE)), OPTIMIZER)

    def epochs() -> Any:
        feed = stream.batches(stored, key, batch_size=128, calls=calls, share=losses.alone, put=jax.device_put)
        state = start
        for batches in feed:
            state, metrics = over(state, key, batches)
        return state, metrics

    shape = jax.ShapeDtypeStruct((length, 128, *IMAGE), stored.dtype)
    bytes_of_stream = program_bytes(over.lower(start, key, shape).compile())
    return {
        "data on the device": _repeated(partial(training.steps, **settings), model, jnp.asarray(stored), EPOCHS),
        "from a stream": (timed(epochs), bytes_of_stream),
    }


def likelihood(num_samples: int) -> dict[str, Program]:
    """log p(x) in both precisions."""
    xs = jnp.asarray(binarized_mnist(20)[0] / np.float32(255))
    keys = jax.random.split(jax.random.key(1), len(xs))
    programs = {}
    for name, half in (("float32", False), ("bfloat16", True)):
        model = model_of(networks.iwae_pair, 50, bfloat16=half)
        params = jax.jit(model.init)(jax.random.key(0), xs[0])
        of_batch = jax.jit(jax.vmap(partial(log_likelihood, model, num_samples=num_samples), (0, None, 0)))
        compiled = of_batch.lower(keys, params, xs).compile()
        programs[name] = timed(partial(compiled, keys, params, xs)), program_bytes(compiled)
    return programs


def in_both_precisions(place: Path) -> dict[str, float]:
    """The test ELBO of a trained run, one draw for each image and the same one in both precisions, in nats."""
    run = open_run(place)
    xs = as_seen(run.recipe, run.kind.data(run.config).test)
    found: dict[str, float] = {}
    precisions: tuple[Literal["float32", "bf16"], ...] = ("float32", "bf16")
    for precision in precisions:
        model = run.kind.recipe(replace(run.config, precision=precision), run.about).model
        found[precision] = float(mean_bound(partial(elbo, model), jax.random.key(0), run.params, xs))
    return found


def _repeated(epoch: Callable, model: VAE, data: jax.Array, epochs: int = 1) -> Program:
    """An epoch after the other, in the same memory."""
    state = training.start(jax.jit(model.init)(jax.random.key(0), jnp.zeros(IMAGE)), OPTIMIZER)
    key = jax.random.key(1)
    compiled = jax.jit(epoch, donate_argnums=0).lower(state, key, data).compile()
    held = [state]

    def run() -> Any:
        for _ in range(epochs):
            held[0], metrics = compiled(held[0], key, data)
        return held[0], metrics

    return timed(run), program_bytes(compiled)


def _megabytes(count: int | None) -> str:
    return "? MB" if count is None else f"{count / 1e6:,.0f} MB"


if __name__ == "__main__":
    tyro.cli(main)
