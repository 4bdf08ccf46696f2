"""Densities of rows of a table against scipy's, with cells missing and without."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from standard_errors import assert_mean

from jaxvae import networks
from jaxvae.distributions import Normal
from jaxvae.likelihoods import Cells, Columns, cells, of_columns

FAMILY, OUTPUTS = of_columns(
    {
        "numbers": cells.numbers(2),
        "heavy": cells.heavy_tailed(1),
        "classes": cells.classes((3, 2)),
        "counts": cells.counts((1.0,)),
        "bits": cells.bits(1),
    },
    log_units={"numbers": [np.log(5.0), 0.0]},
)
VALUES = {
    "numbers": jnp.array([0.3, -1.2]),
    "heavy": jnp.array([4.0]),
    "classes": jnp.array([2, 1]),
    "counts": jnp.array([3.0]),
    "bits": jnp.array([1.0]),
}


def random_row():
    """A density with every parameter drawn, and these parameters."""
    network = networks.mlp((4,), OUTPUTS)
    params = network.init(jax.random.key(0), jnp.zeros(2))
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    drawn = [0.5 * jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
    outputs = network.apply(jax.tree.unflatten(tree, drawn), jnp.array([0.4, -0.7]))
    return FAMILY(**outputs), {name: np.asarray(value, np.float64) for name, value in outputs.items()}


def by_scipy(o):
    """ln p of each cell of VALUES, in the units of the cells."""
    scale = np.exp(o["numbers_log_scale"]) + 1e-3
    t_scale, degrees = np.exp(o["heavy_log_scale"]) + 1e-3, np.exp(o["heavy_log_degrees"]) + 2
    mean, theta = np.exp(o["counts_log_mean"] + 1.0), np.exp(o["counts_log_inverse_dispersion"])
    three, two = o["classes_logits"][0], o["classes_logits"][1, :2]
    standardised = np.array([0.3, -1.2])
    units = np.array([5.0, 1.0])  # x = 5 u has the density N(5 μ, (5 σ)²)
    return {
        "numbers": scipy.stats.norm.logpdf(units * standardised, units * o["numbers_mean"], units * scale),
        "heavy": scipy.stats.t.logpdf([4.0], degrees, o["heavy_location"], t_scale),
        "classes": np.array([three[2] - np.log(np.exp(three).sum()), two[1] - np.log(np.exp(two).sum())]),
        "counts": scipy.stats.nbinom.logpmf([3], theta, theta / (theta + mean)),
        "bits": scipy.stats.bernoulli.logpmf([1], 1 / (1 + np.exp(-o["bits_logits"]))),
    }


def masks(seed):
    """Which cells are observed, at random."""
    random = np.random.default_rng(seed)
    return {name: jnp.asarray(random.random(len(value)) < 0.5) for name, value in VALUES.items()}


def test_each_cell_has_the_density_of_its_column():
    density, outputs = random_row()
    every = {name: jnp.ones(len(value), bool) for name, value in VALUES.items()}
    found = density.log_probs(Cells(VALUES, every))
    for name, expected in by_scipy(outputs).items():
        np.testing.assert_allclose(found[name], expected, rtol=2e-5, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("seed", range(4))
def test_missing_cells_are_left_out_whatever_they_hold(seed):
    density, outputs = random_row()
    mask = masks(seed)
    holes = {
        name: jnp.where(mask[name], value, jnp.nan if value.dtype == jnp.float32 else -7)
        for name, value in VALUES.items()
    }
    expected = sum(np.sum(nats * np.asarray(mask[name])) for name, nats in by_scipy(outputs).items())
    assert 0 < sum(int(seen.sum()) for seen in mask.values()) < 7
    np.testing.assert_allclose(density.log_prob(Cells(holes, mask)), expected, rtol=2e-5)
    slopes = jax.grad(lambda density: density.log_prob(Cells(holes, mask)))(density)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(slopes))
    assert any(np.any(leaf != 0) for leaf in jax.tree.leaves(slopes))


def test_a_row_without_cells_has_probability_one():
    density, _ = random_row()
    none = {name: jnp.zeros(len(value), bool) for name, value in VALUES.items()}
    assert float(density.log_prob(Cells(VALUES, none))) == 0


def test_draws_have_the_means_and_the_classes_that_are_possible():
    density, _ = random_row()
    drawn = jax.jit(jax.vmap(density.sample))(jax.random.split(jax.random.key(2), 4000))
    assert all(bool(jnp.all(leaf)) for leaf in jax.tree.leaves(drawn.mask))
    expected = density.expectation()
    for name in ("numbers", "counts", "bits"):
        assert_mean(drawn.values[name], expected[name])
    three, two = np.asarray(drawn.values["classes"]).T
    assert_mean(three[:, None] == np.arange(3), expected["classes"][0])
    assert_mean(two[:, None] == np.arange(3), expected["classes"][1])
    assert expected["classes"][1, 2] == 0  # the second has two classes


def test_counts_begin_at_the_mean_that_they_are_given():
    family, outputs = of_columns({"counts": cells.counts((2.0, -1.0))})
    assert outputs["counts_log_mean"] == (2,)
    zeros = {"counts_log_mean": jnp.zeros(2), "counts_log_inverse_dispersion": jnp.zeros(2)}
    np.testing.assert_allclose(family(**zeros).expectation()["counts"], np.exp([2.0, -1.0]), rtol=1e-5)


@pytest.mark.parametrize("scale", [-50.0, -10.0])
def test_no_noise_is_smaller_than_a_thousandth(scale):
    for block, known in ((cells.numbers(1), {}), (cells.heavy_tailed(1), {"log_degrees": jnp.full(1, -50.0)})):
        place = "mean" if "mean" in block.outputs else "location"
        density = block.density(**{place: jnp.zeros(1), "log_scale": jnp.full(1, scale)}, **known)
        assert float(jnp.exp(density.log_scale[0])) == pytest.approx(1e-3, rel=0.05)
        assert float(jnp.exp(getattr(density, "log_degrees", jnp.ones(1))[0])) > 1.99


def test_blocks_of_other_names_or_sizes_are_refused():
    row = Columns({"numbers": Normal(jnp.zeros(2), jnp.zeros(2))})
    with pytest.raises(ValueError, match=r"blocks \['numbers'\] was given values of \['digits'\]"):
        row.log_prob(Cells({"digits": jnp.zeros(2)}, {"digits": jnp.ones(2, bool)}))
    for values, mask in ((jnp.zeros(1), jnp.ones(1, bool)), (jnp.zeros((3, 2)), jnp.ones((3, 2), bool))):
        with pytest.raises(ValueError, match=r"numbers has 2 cells, .* rows go through jax.vmap"):
            row.log_prob(Cells({"numbers": values}, {"numbers": mask}))
