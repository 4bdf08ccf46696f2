"""Any prior x any posterior x any likelihood x any bound x any estimator: what passes the checks works.

The product has ninety thousand members. Two things that do not go together show in any row that has both, and three in
any row that has all three, so the rows are chosen to have every pair, or every triple, that can be had; those that no
row can have must be refused with a sentence. `make combinations` compiles and runs every triple, for hours.
"""

import itertools
import random
import typing
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.run import RunError, build, config_check
from jaxvae.run.config import Config, Data, Model, Objective

SHAPE = (4, 3, 1)
BINARY = ("bernoulli", "pixelcnn")
SHARDS = 40  # of the triples, so that workers share them


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


QUICK = [
    ("sylvester-orthogonal", "gaussian-shared", "mixture", "ciwae", "score-function"),
    ("full", "student-t", "vamp", "tvo", "sticking-the-landing"),
    ("radial", "pixelcnn", "learned", "iwae", "generalized-doubly-reparameterized"),
    ("hamiltonian", "laplace", "flow", "piwae", "pathwise"),
    ("semi-amortised", "gaussian", "learned", "iwae", "doubly-reparameterized"),
    ("one-hot", "bernoulli", "vamp", "renyi", "straight-through"),
    ("bernoulli", "bernoulli", "learned", "iwae", "wake-sleep"),
]
REFUSED = [
    ({"prior": "standard", "estimator": "generalized-doubly-reparameterized"}, "give --model.prior learned"),
    ({"bound": "tvo", "estimator": "doubly-reparameterized"}, "give --objective.bound iwae"),
    ({"posterior": "von-mises-fisher", "prior": "flow"}, "leave it out, for the uniform density"),
    ({"posterior": "auxiliary", "estimator": "sticking-the-landing"}, "give --objective.estimator pathwise"),
    ({"posterior": "hamiltonian", "estimator": "score-function"}, "give --objective.estimator pathwise"),
    ({"posterior": "auxiliary", "prior": "vamp"}, "give another prior, or --model.posterior normal"),
    ({"posterior": "bernoulli", "estimator": "pathwise"}, "give --objective.estimator straight-through, or one of"),
    ({"posterior": "one-hot", "estimator": "straight-through", "prior": "flow"}, "standard, learned or vamp"),
    ({"posterior": "full", "estimator": "straight-through"}, "give --model.posterior bernoulli or one-hot"),
    ({"bound": "elbo", "estimator": "wake-sleep"}, "give --objective.bound iwae"),
    ({"bound": "piwae", "estimator": "learned-baseline"}, "give another --objective.bound"),
]


@pytest.mark.slow
@pytest.mark.parametrize("values", QUICK)
def test_one_of_each_works(values):
    check_works(dict(zip(FACTORS, values, strict=True)))


@pytest.mark.parametrize(("pair", "sentence"), REFUSED, ids=lambda value: str(value)[:30])
def test_what_makes_no_sense_is_refused(pair, sentence):
    assert sentence in refusal({name: values[0] for name, values in FACTORS.items()} | {"bound": "iwae"} | pair)


@pytest.mark.slow
def test_every_pair_works_or_is_refused_with_a_sentence():
    rows = check_refusals(2)
    assert not failures_of(check_works, rows)


@pytest.mark.slow
def test_every_triple_is_traced_or_refused_with_a_sentence():
    rows = check_refusals(3)
    assert not failures_of(check_traces, rows)


@pytest.mark.combinations
@pytest.mark.parametrize("shard", range(SHARDS))
def test_every_triple_works(shard):
    assert not failures_of(check_works, covering(3)[0][shard::SHARDS])


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
    for row in rows:
        try:
            check(row)
        except Exception as error:
            failures.append((row, f"{type(error).__name__}: {error}"))
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
