"""Any prior x any posterior x any likelihood x any bound x any estimator: what passes the checks works.

The product has thirty thousand members. Two things that do not go together show in any row that has both, so the rows
are chosen to have every pair that can be had; pairs that no row can have must be refused with a sentence.
"""

import itertools
import random
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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
    return Config(
        data=Data(binarize="dynamic" if row["likelihood"] in BINARY else "none"),
        model=Model(latent=4, flows=2, components=3, pixel_radius=1, pixel_layers=1, **of_model),
        objective=Objective(num_samples=4, groups=2, intervals=2, **of_objective),
    )


def refusal(row):
    """The sentence that refuses this row, or None."""
    try:
        config_check.check(config_of(row))
    except RunError as error:
        return str(error)
    return None


def pairs_of(row):
    return {frozenset(pair) for pair in itertools.combinations(row.items(), 2)}


def covering():
    """Rows that have every pair of values that can be had, and the pairs that cannot; the same at every call."""
    generator = random.Random(0)
    left = {
        frozenset([(a, x), (b, y)])
        for a, b in itertools.combinations(FACTORS, 2)
        for x, y in itertools.product(FACTORS[a], FACTORS[b])
    }
    rows, impossible = [], []
    for wanted in sorted(left, key=sorted):
        if wanted not in left:
            continue
        candidates = []
        for _ in range(60):
            row = {name: generator.choice(values) for name, values in FACTORS.items()} | dict(wanted)
            if refusal(row) is None:
                candidates.append(row)
            if len(candidates) == 8:
                break
        if not candidates:
            impossible.append(dict(wanted))
            left.remove(wanted)
            continue
        best = max(candidates, key=lambda row: len(pairs_of(row) & left))
        rows.append(best)
        left -= pairs_of(best)
    return rows, impossible


QUICK = [
    ("sylvester-orthogonal", "gaussian-shared", "mixture", "ciwae", "score-function"),
    ("full", "student-t", "vamp", "tvo", "sticking-the-landing"),
    ("radial", "pixelcnn", "learned", "iwae", "generalized-doubly-reparameterized"),
]
REFUSED = [
    ({"prior": "standard", "estimator": "generalized-doubly-reparameterized"}, "give --model.prior learned"),
    ({"bound": "tvo", "estimator": "doubly-reparameterized"}, "give --objective.bound iwae"),
    ({"posterior": "von-mises-fisher", "prior": "flow"}, "leave it out, for the uniform density"),
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
    rows, impossible = covering()
    number = sum(len(x) * len(y) for x, y in itertools.combinations(FACTORS.values(), 2))
    assert len(set().union(*map(pairs_of, rows))) + len(impossible) == number
    for pair in impossible:
        sentence = refusal({name: values[0] for name, values in FACTORS.items()} | {"bound": "iwae"} | pair)
        assert any(value in sentence for value in pair.values()), sentence
        assert "give" in sentence or "leave" in sentence, sentence
    failures = []
    for row in rows:
        try:
            check_works(row)
        except AssertionError as error:
            failures.append((row, str(error)))
    assert not failures


def check_works(row):
    """One compile, a finite value, finite gradients that reach both networks, and a bound."""
    config = config_of(row)
    model = build.model_of(config, SHAPE)
    loss = build.loss_of(config, model, num_steps=10)
    prepare = build.prepare_of(config)
    stored = jnp.asarray(np.random.default_rng(0).integers(0, 256, (2, *SHAPE)), jnp.uint8)
    params = model.init(jax.random.key(0), jnp.zeros(SHAPE))

    @jax.jit
    def value_and_gradient(key, params):
        xs = jax.vmap(prepare)(jax.random.split(key, 2), stored)
        return jax.value_and_grad(loss, argnums=1, has_aux=True)(
            jax.random.split(key, 2), params, (), xs, jnp.zeros((), jnp.int32)
        )

    for seed in (1, 2):
        (value, (_, metrics)), gradient = value_and_gradient(jax.random.key(seed), params)
    assert value_and_gradient._cache_size() == 1
    assert np.isfinite(value)
    assert all(np.isfinite(metric) for metric in metrics.values())
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.all(np.isfinite(leaf)), path
    for part in ("encoder", "decoder"):
        assert any(np.any(leaf != 0) for leaf in jax.tree.leaves(gradient[part])), part
    # the bound that is reported is that of the loss, without weights
    bound = build.bound_of(config)(model, jax.random.key(3), params, jnp.zeros(SHAPE))
    assert np.isfinite(bound)
