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


ROWS, IMPOSSIBLE = covering()


def name_of(row):
    return ", ".join(row.values())


def each_value_once():
    """The fewest first rows that have every value of every factor."""
    missing, chosen = {item for name, values in FACTORS.items() for item in ((name, v) for v in values)}, []
    while missing:
        chosen.append(max(ROWS, key=lambda row: len(set(row.items()) & missing)))
        missing -= set(chosen[-1].items())
    return chosen


QUICK = each_value_once()


@pytest.mark.parametrize(
    "row", [pytest.param(row, marks=() if row in QUICK else pytest.mark.slow) for row in ROWS], ids=name_of
)
def test_it_compiles_once_and_its_value_and_gradients_are_finite(row):
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


@pytest.mark.parametrize("pair", IMPOSSIBLE, ids=name_of)
def test_what_makes_no_sense_is_refused_with_a_sentence(pair):
    row = {name: values[0] for name, values in FACTORS.items()} | {"bound": "iwae"} | pair
    sentence = refusal(row)
    assert sentence is not None
    assert any(value in sentence for value in pair.values()), sentence
    assert "give" in sentence or "leave" in sentence


def test_the_rows_have_what_they_should():
    assert {"prior": "standard", "estimator": "generalized-doubly-reparameterized"} in [dict(p) for p in IMPOSSIBLE]
    covered = set().union(*map(pairs_of, ROWS))
    number = sum(len(x) * len(y) for x, y in itertools.combinations(FACTORS.values(), 2))
    assert len(covered) + len(IMPOSSIBLE) == number
    assert len(QUICK) < 20
