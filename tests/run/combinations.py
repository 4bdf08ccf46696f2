"""The command line's options as a table: rows that have every pair, or every triple, of values, and their checks."""

import dataclasses
import itertools
import random
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.recipes import plain
from jaxvae.run import RunError, refusals
from jaxvae.run.choice import members
from jaxvae.run.options.images import Images
from jaxvae.run.recipe import About, Plan

SHAPE = (4, 3, 1)
PATHS = {
    "posterior": "model.posterior",
    "likelihood": "model.likelihood",
    "prior": "model.prior",
    "bound": "objective.bound",
    "estimator": "objective.estimator",
}
MEMBERS = {name: members(plain.Config, path) for name, path in PATHS.items()}
FACTORS = {name: list(found) for name, found in MEMBERS.items()}
SMALL = {"flows": 2, "classes": 3, "components": 3, "steps": 2, "groups": 2, "intervals": 2, "radius": 1, "layers": 1}


def option(name, word):
    """A member with small settings."""
    kind = MEMBERS[name][word]
    return kind(**{field.name: SMALL[field.name] for field in dataclasses.fields(kind) if field.name in SMALL})


def config_of(row):
    of = {name: option(name, word) for name, word in row.items()}
    return plain.Config(
        data=Images(binarize="dynamic" if of["likelihood"].pixels == "binary" else "none"),
        model=plain.Model(latent=4, **{name: of[name] for name in ("posterior", "likelihood", "prior")}),
        objective=plain.Objective(num_samples=4, bound=of["bound"], estimator=of["estimator"]),
    )


DISCRETE = {"bernoulli", "one-hot"}
WITHOUT_PATH = {"score-function", "learned-baseline", "wake-wake", "wake-sleep"}
WITHOUT_DENSITY = {"auxiliary", "hamiltonian"}  # known by their draws alone


def makes_sense(row):
    """What mathematics allows, by names and by hand: the referee of what the options say of themselves."""
    posterior, prior, bound, estimator = (row[name] for name in ("posterior", "prior", "bound", "estimator"))
    if prior == "learned" and posterior == "von-mises-fisher":
        return False  # there is no such family of priors
    if prior == "vamp" and posterior == "auxiliary":
        return False  # a mixture of densities that cannot be evaluated
    if prior in ("mixture", "flow", "autoregressive", "correlated") and posterior in DISCRETE | {"von-mises-fisher"}:
        return False  # a density of real numbers
    if posterior in DISCRETE and estimator not in WITHOUT_PATH | {"straight-through"}:
        return False
    if estimator == "straight-through" and posterior not in DISCRETE:
        return False
    if posterior in WITHOUT_DENSITY and estimator != "pathwise":
        return False
    if estimator == "generalized-doubly-reparameterized" and prior != "learned":
        return False
    if estimator.endswith("doubly-reparameterized") and bound not in ("iwae", "miwae"):
        return False
    if estimator in ("wake-wake", "wake-sleep") and bound != "iwae":
        return False
    return (bound, estimator) != ("piwae", "learned-baseline")


def refusal(row):
    """The sentence that refuses this row, or None."""
    return _refusal(tuple(row[name] for name in FACTORS))


@cache
def _refusal(values):
    try:
        refusals.check(config_of(dict(zip(FACTORS, values, strict=True))))
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


def recipe_of(row):
    return plain.recipe(config_of(row), About(jax.ShapeDtypeStruct(SHAPE, jnp.uint8), {}))


def program_of(row):
    """The recipe, and (key, params) -> ((loss, (extra, metrics)), gradient) over two images of noise."""
    recipe = recipe_of(row)
    loss = recipe.loss(Plan(num_steps=10, steps_per_epoch=5))
    stored = jnp.asarray(np.random.default_rng(0).integers(0, 256, (2, *SHAPE)), jnp.uint8)

    def value_and_gradient(key, params):
        xs = jax.vmap(recipe.prepare)(jax.random.split(key, 2), stored)
        return jax.value_and_grad(loss, argnums=1, has_aux=True)(
            jax.random.split(key, 2), params, (), xs, jnp.zeros((), jnp.int32)
        )

    return recipe, value_and_gradient


def check_traces(row):
    """The loss and the metrics are numbers, and the gradient is of the params' shapes and dtypes."""
    recipe, value_and_gradient = program_of(row)
    params, _ = jax.eval_shape(recipe.init, jax.random.key(0))
    (value, (_, metrics)), gradient = jax.eval_shape(value_and_gradient, jax.random.key(1), params)
    for number in (value, *metrics.values()):
        assert (number.shape, number.dtype) == ((), jnp.float32)
    of_params, of_gradient = (jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree) for tree in (params, gradient))
    assert of_gradient == of_params


def check_works(row):
    """One compile, a finite value, finite gradients that reach both networks, and a bound."""
    recipe, value_and_gradient = program_of(row)
    params, _ = recipe.init(jax.random.key(0))
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
    bound = recipe.bound(jax.random.key(3), params, jnp.zeros(SHAPE))
    assert np.isfinite(bound)
