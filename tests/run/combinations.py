"""The command line's options as a table: rows that have every pair, or every triple, of values, and their checks."""

import itertools
import random
import typing
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.run import RunError, build, config_check
from jaxvae.run.config import Config, Data, Model, Objective

SHAPE = (4, 3, 1)
BINARY = ("bernoulli", "pixelcnn")


def choices(owner, name):
    return typing.get_args(typing.get_type_hints(owner)[name])


FACTORS = {
    "posterior": choices(Model, "posterior"),
    "likelihood": choices(Model, "likelihood"),
    "prior": choices(Model, "prior"),
    "bound": choices(Objective, "bound"),
    "estimator": choices(Objective, "estimator"),
}


def config_of(row):
    of_model = {name: row[name] for name in ("posterior", "likelihood", "prior")}
    of_objective = {name: row[name] for name in ("bound", "estimator")}
    small = {"latent": 4, "classes": 3, "flows": 2, "components": 3, "inference_steps": 2}
    return Config(
        data=Data(binarize="dynamic" if row["likelihood"] in BINARY else "none"),
        model=Model(pixel_radius=1, pixel_layers=1, **small, **of_model),
        objective=Objective(num_samples=4, groups=2, intervals=2, **of_objective),
    )


def refusal(row):
    """The sentence that refuses this row, or None."""
    return _refusal(tuple(row[name] for name in FACTORS))


@cache
def _refusal(values):
    try:
        config_check.check(config_of(dict(zip(FACTORS, values, strict=True))))
    except RunError as error:
        return str(error)
    return None


def parts_of(row, strength):
    """The pairs of a row, or its triples."""
    return set(itertools.combinations(row.items(), strength))


def rows_with(part):
    """Every row that has these values."""
    free = {name: [dict(part)[name]] if name in dict(part) else values for name, values in FACTORS.items()}
    return [dict(zip(free, values, strict=True)) for values in itertools.product(*free.values())]


@cache
def covering(strength):
    """Rows that have every pair (or triple) of values that can be had, and those that cannot; always the same."""
    generator = random.Random(0)
    left = {
        tuple(zip(names, values, strict=True))
        for names in itertools.combinations(FACTORS, strength)
        for values in itertools.product(*(FACTORS[name] for name in names))
    }
    rows, impossible = [], []
    for wanted in sorted(left):
        if wanted not in left:
            continue
        possible = [row for row in rows_with(wanted) if refusal(row) is None]
        if not possible:
            impossible.append(wanted)
            left.remove(wanted)
            continue
        chosen = generator.sample(possible, min(len(possible), 50))
        rows.append(max(chosen, key=lambda row: len(parts_of(row, strength) & left)))
        left -= parts_of(rows[-1], strength)
    return rows, impossible


def check_refusals(strength):
    """Every pair (or triple) is in a row, or refused by a sentence that names a value of it. Returns the rows."""
    rows, impossible = covering(strength)
    parts = itertools.combinations(FACTORS.values(), strength)
    number = sum(np.prod([len(values) for values in part]) for part in parts)
    assert len(set().union(*(parts_of(row, strength) for row in rows))) + len(impossible) == number
    for part in impossible:
        sentences = [refusal(row) for row in rows_with(part)]
        assert all("give" in sentence or "leave" in sentence for sentence in sentences), part
        assert any(value in sentence for sentence in sentences for _, value in part), part
    return rows


def failures_of(check, rows):
    """The rows that fail, each with its error."""
    failures = []
    for index, row in enumerate(rows):
        try:
            check(row)
        except Exception as error:
            failures.append((row, f"{type(error).__name__}: {error}"))
        if index % 20 == 0:
            jax.clear_caches()  # thousands of programs would fill the memory
    return failures


def program_of(row):
    """The model, and (key, params) -> ((loss, (extra, metrics)), gradient) over two images of noise."""
    config = config_of(row)
    model = build.model_of(config, SHAPE)
    loss = build.loss_of(config, model, num_steps=10)
    prepare = build.prepare_of(config)
    stored = jnp.asarray(np.random.default_rng(0).integers(0, 256, (2, *SHAPE)), jnp.uint8)

    def value_and_gradient(key, params):
        xs = jax.vmap(prepare)(jax.random.split(key, 2), stored)
        return jax.value_and_grad(loss, argnums=1, has_aux=True)(
            jax.random.split(key, 2), params, (), xs, jnp.zeros((), jnp.int32)
        )

    return model, value_and_gradient


def check_traces(row):
    """The loss and the metrics are numbers, and the gradient is of the params' shapes and dtypes."""
    model, value_and_gradient = program_of(row)
    params = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros(SHAPE))
    (value, (_, metrics)), gradient = jax.eval_shape(value_and_gradient, jax.random.key(1), params)
    for number in (value, *metrics.values()):
        assert (number.shape, number.dtype) == ((), jnp.float32)
    of_params, of_gradient = (jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree) for tree in (params, gradient))
    assert of_gradient == of_params


def check_works(row):
    """One compile, a finite value, finite gradients that reach both networks, and a bound."""
    model, value_and_gradient = program_of(row)
    params = model.init(jax.random.key(0), jnp.zeros(SHAPE))
    compiled = jax.jit(value_and_gradient)
    for seed in (1, 2):
        (value, (_, metrics)), gradient = compiled(jax.random.key(seed), params)
    assert compiled._cache_size() == 1
    assert np.isfinite(value)
    assert all(np.isfinite(metric) for metric in metrics.values())
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.all(np.isfinite(leaf)), path
    for part in ("encoder", "decoder"):
        assert any(np.any(leaf != 0) for leaf in jax.tree.leaves(gradient[part])), part
    # the bound that is reported is that of the loss, without weights
    bound = build.bound_of(config_of(row))(model, jax.random.key(3), params, jnp.zeros(SHAPE))
    assert np.isfinite(bound)
