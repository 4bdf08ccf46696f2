"""Where the time of a training step goes: `python -m benchmarks.profile`.

The step of W1 (784-400-20, batch 128) runs in turns with the same step less one of its parts, and with its bare matrix
products. What a part costs is what its absence saves; parts that overlap do not sum to the whole.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

from benchmarks import limits
from benchmarks.pictures import binarized_mnist
from benchmarks.timing import Run, in_turns, spread, timed
from benchmarks.workloads import IMAGE, OPTIMIZER, small_layers
from jaxvae import losses, networks, standard_normal, training, vae
from jaxvae.bounds import average
from jaxvae.distributions import Bernoulli, Normal
from jaxvae.draws import Draw, pathwise
from jaxvae.types import Array, Distribution, Key

BATCH = 128


def main(images: int = 60_000, repeats: int = 9) -> None:
    """Measure the step with all its parts, and without each.

    Args:
        images: in one repetition, at most 60,000.
        repeats: how often everything runs.
    """
    stored = binarized_mnist(images)[0]
    length = len(stored) // BATCH
    runs: dict[str, Run] = {
        "the whole step": step_of(stored),
        "Adam and clipping": step_of(stored, optimizer=optax.set_to_zero()),
        "shuffling, gathering, casting": step_of(stored, gather=False),
        "the draw's random numbers": step_of(stored, draw=mean_of),
        "the likelihood's softplus": step_of(stored, likelihood=Linear),
        "the bare matrix products": limits.in_xla(limits.products(small_layers(), BATCH), steps=length),
    }
    seconds = in_turns(runs, repeats=repeats, title="W1")
    whole = np.array(seconds["the whole step"]) / length * 1e6
    print(f"the whole step: {np.median(whole):,.0f} us for {BATCH} images")
    for name in [name for name in runs if name != "the whole step"]:
        without = np.array(seconds[name]) / length * 1e6
        took = spread(list(without / whole if name.startswith("the bare") else 1 - without / whole))
        print(f"{name}: {took.median:.0%} [{took.lower:.0%}, {took.upper:.0%}]")


def mean_of(key: Key, posterior: Distribution) -> Draw:
    """The posterior's mean for a draw."""
    value = posterior.expectation()
    return Draw(value, posterior, posterior.log_prob(value))


class Linear(Bernoulli):
    """Σ x l: a Bernoulli without its normaliser, which is no likelihood but has the same gradients to compute."""

    def log_prob(self, value: Array) -> Array:
        """[] and meaningless."""
        return jnp.sum(jnp.ravel(value) * jnp.ravel(self.logits))


jax.tree_util.register_dataclass(Linear)


def step_of(
    stored: np.ndarray,
    *,
    optimizer: optax.GradientTransformation = OPTIMIZER,
    draw: Any = pathwise,
    likelihood: Any = Bernoulli,
    gather: bool = True,
) -> Run:
    """An epoch of the small network, with a part exchanged for nothing."""
    encoder, decoder = networks.small_pair(Normal.parameters((20,)), Bernoulli.parameters(IMAGE))
    model = vae(encoder=encoder, decoder=decoder, prior=standard_normal((20,)), draw=draw, likelihood=likelihood)
    step = training.make_step(losses.negative_bound(model, average), optimizer)
    state = training.start(jax.jit(model.init)(jax.random.key(0), jnp.zeros(IMAGE)), optimizer)
    settings: dict[str, Any] = {"step": step, "prepare": training.grey, "batch_size": BATCH}
    if gather:
        run, data = partial(training.steps, **settings), jnp.asarray(stored)
    else:
        length = len(stored) // BATCH
        run = partial(training.streamed, **settings)
        data = jnp.asarray(stored[: length * BATCH].reshape(length, BATCH, *IMAGE), jnp.float32) / 255
    compiled = jax.jit(run, donate_argnums=0).lower(state, jax.random.key(1), data).compile()
    held = [state]

    def repetition() -> Any:
        held[0], metrics = compiled(held[0], jax.random.key(1), data)
        return held[0], metrics

    return timed(repetition)


if __name__ == "__main__":
    tyro.cli(main)
