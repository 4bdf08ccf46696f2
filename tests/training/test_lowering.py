"""What an accelerator would run, lowered for one on a machine that has none: products, and nothing of the host."""

import re
from functools import partial

import jax
import jax.export
import jax.numpy as jnp
import optax
import pytest

from jaxvae import elbo, iwae_bound, log_likelihood, networks, standard_normal, vae
from jaxvae.bounds import importance_weighted
from jaxvae.distributions import Bernoulli, Normal
from jaxvae.losses import negative_bound
from jaxvae.run.measures import mean_terms
from jaxvae.training import dynamic_binarization, make_step, start, steps

PIXELS, WIDTH, LATENT, BATCH, K = 784, 64, 8, 32, 5
KEY = jax.eval_shape(lambda: jax.random.key(0))
KEYS = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), BATCH))
XS = jax.ShapeDtypeStruct((BATCH, PIXELS), jnp.float32)
ENCODER, DECODER = networks.iwae_pair(Normal.parameters((LATENT,)), Bernoulli.parameters((PIXELS,)), width=WIDTH)
MODEL = vae(encoder=ENCODER, decoder=DECODER, prior=standard_normal((LATENT,)))
PARAMS = jax.eval_shape(MODEL.init, jax.random.key(0), jnp.zeros(PIXELS))
OF_HOST = ("callback", "infeed", "outfeed", "send", "recv", "host")

# Multiplications and additions of one example: of the encoder, and of the decoder for one draw
ENCODING = 2 * (PIXELS * WIDTH + WIDTH * WIDTH + 2 * WIDTH * LATENT)
DECODING = 2 * (LATENT * WIDTH + WIDTH * WIDTH + WIDTH * PIXELS)


def training_scan():
    """An epoch, as a run compiles it."""
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3))
    step = make_step(negative_bound(MODEL, importance_weighted, num_samples=K), optimizer, decay=0.9)
    state = jax.eval_shape(lambda params: start(params, optimizer, averaged=True), PARAMS)
    epoch = partial(steps, step=step, prepare=dynamic_binarization, batch_size=BATCH)
    return epoch, (state, KEY, jax.ShapeDtypeStruct((10 * BATCH, PIXELS), jnp.uint8))


def of_batch(bound, **options):
    """A bound of a batch."""
    return lambda: (jax.vmap(partial(bound, MODEL, **options), (0, None, 0)), (KEYS, PARAMS, XS))


# What it runs, its products, and the multiplications and additions in them, of one pass through its loop
PROGRAMS = {
    "training": (training_scan, 20, BATCH * (3 * (ENCODING + K * DECODING) - 2 * PIXELS * WIDTH)),
    "elbo": (of_batch(elbo, num_samples=K), 7, BATCH * (ENCODING + K * DECODING)),
    "iwae_bound": (of_batch(iwae_bound, num_samples=K), 7, BATCH * (ENCODING + K * DECODING)),
    "log_likelihood": (of_batch(log_likelihood, num_samples=500, chunk=K), 7, BATCH * (ENCODING + K * DECODING)),
    "a run's evaluation": (lambda: (partial(mean_terms, MODEL), (KEY, PARAMS, XS)), 7, BATCH * (ENCODING + DECODING)),
}


@pytest.fixture(autouse=True)
def optax_promotes():
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_an_accelerator_runs_the_products_and_never_waits_for_the_host(name, platform):
    made, products, flops = PROGRAMS[name]
    program, arguments = made()
    exported = jax.export.export(jax.jit(program), platforms=[platform])(*arguments)
    assert exported.platforms == (platform,)
    text = exported.mlir_module()
    found = re.findall(r"stablehlo\.dot_general.*?: \((.*?)\) -> (\S+)", text)
    assert len(found) == products
    assert sum(flops_of(operands, result) for operands, result in found) == flops
    assert not leaves_the_device(text)
    assert ("stablehlo.while" in text) == (name in ("training", "log_likelihood", "a run's evaluation"))


def leaves_the_device(text):
    """Kernels of somebody's own, which functions of the host are called by, and operations that wait for it."""
    operations = set(re.findall(r"stablehlo\.(\w+)", text))
    waiting = [name for name in operations if any(word in name for word in OF_HOST)]
    return re.findall(r"custom_call @(\S+?)\(", text) + waiting


def test_a_function_of_the_host_would_be_seen():
    def asks(x):
        return jax.pure_callback(lambda x: x, x, x)

    program = jax.jit(lambda x: jax.lax.scan(lambda carry, _: (asks(carry), ()), x, length=2))
    assert leaves_the_device(program.lower(1.0).as_text())
    with pytest.raises(ValueError, match="platform"):  # nor can it be lowered for a device that is not there
        jax.export.export(program, platforms=["tpu"])(1.0)


def flops_of(operands, result):
    """2 m n k, from the shapes as StableHLO writes them."""
    left, right = (shape_of(operand) for operand in operands.split(", "))
    rows, columns = shape_of(result)
    summed = left[0] * left[1] * right[0] * right[1] // (rows * columns)
    return 2 * rows * columns * round(summed**0.5)


def shape_of(tensor):
    return [int(length) for length in re.findall(r"(\d+)x", tensor)]


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_the_cost_of_an_accelerators_step_is_known_without_one(platform):
    """XLA counts a loop's body once: the FLOPs of the products and a little, the bytes of the params thrice."""
    _, _, flops = PROGRAMS["training"]
    program, arguments = training_scan()
    cost = jax.jit(program).trace(*arguments).lower(lowering_platforms=(platform,)).cost_analysis()
    assert flops < cost["flops"] < 1.3 * flops
    held = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(arguments[0].params))
    assert cost["bytes accessed"] > 3 * held
