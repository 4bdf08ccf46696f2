"""Rows with missing cells: what is estimated of them against closed forms, quadrature and enumeration."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from standard_errors import assert_mean

from jaxvae import networks, standard_normal, vae
from jaxvae.bounds import batched_elbo, batched_iwae_bound
from jaxvae.distributions import Normal
from jaxvae.evaluation import log_likelihood
from jaxvae.likelihoods import Cells, cells, of_columns
from jaxvae.models import imputed, multiply_imputed, reading_cells

# Factor analysis: x = W z + μ + noise, so that any part of x is Gaussian, and any other part given it.
LOADINGS = np.array([[1.5, 0.0], [0.8, 0.6], [-0.5, 1.0], [0.0, 0.7]])
CENTER, NOISE = np.array([0.5, -1.0, 0.2, 0.0]), np.array([0.6, 0.4, 0.8, 0.5])
COVARIANCE = LOADINGS @ LOADINGS.T + np.diag(NOISE**2)
ROW = np.array([1.2, -0.4, 1.0, -0.6])
OBSERVED = np.array([True, False, True, False])


def factor_analysis(*, mask=False):
    """The model, and params whose encoder reads the cells it is given and is not the exact posterior."""
    family, outputs = of_columns({"numbers": cells.numbers(4)})
    model = vae(
        encoder=reading_cells(networks.mlp((), Normal.parameters((2,))), mask=mask),
        decoder=networks.mlp((), outputs),
        prior=standard_normal((2,)),
        likelihood=family,
    )
    params = model.init(jax.random.key(3), row_of(ROW.astype(np.float32), OBSERVED))
    heads = {
        "numbers_mean": {"kernel": jnp.asarray(LOADINGS.T), "bias": jnp.asarray(CENTER)},
        "numbers_log_scale": jnp.log(jnp.asarray(NOISE) - 1e-3),
    }
    encoder = near_the_prior(params["encoder"])
    return model, as_floats(params | {"encoder": encoder, "decoder": {"params": {"heads": heads}}})


def near_the_prior(encoder):
    """So that no weight is rare, and means of them have the standard errors that they seem to have."""
    return jax.tree.map(lambda leaf: 0.2 * leaf, encoder)


def as_floats(params):
    """Linen's params are of single precision whatever is asked for."""
    return jax.tree.map(lambda leaf: leaf.astype(jnp.zeros(()).dtype), params)


def row_of(row, observed):
    """A row of numbers; what is missing is NaN."""
    values = jnp.where(jnp.asarray(observed), jnp.asarray(row), jnp.nan)
    return Cells({"numbers": values}, {"numbers": jnp.asarray(observed)})


def conditional(row, observed):
    """The mean and the covariance of the missing cells given the observed ones."""
    seen, hidden = np.flatnonzero(observed), np.flatnonzero(~observed)
    gain = COVARIANCE[np.ix_(hidden, seen)] @ np.linalg.inv(COVARIANCE[np.ix_(seen, seen)])
    mean = CENTER[hidden] + gain @ (row[seen] - CENTER[seen])
    return mean, COVARIANCE[np.ix_(hidden, hidden)] - gain @ COVARIANCE[np.ix_(seen, hidden)]


def log_density(row, observed):
    seen = np.flatnonzero(observed)
    return scipy.stats.multivariate_normal(CENTER[seen], COVARIANCE[np.ix_(seen, seen)]).logpdf(row[seen])


MASKS = [OBSERVED, np.array([True] * 4), np.array([False, False, False, True])]


@pytest.mark.parametrize("observed", MASKS, ids=str)
@pytest.mark.parametrize("mask", [False, True])
def test_the_weights_are_unbiased_for_the_density_of_the_observed_cells(observed, mask, float64):
    model, params = factor_analysis(mask=mask)
    row = row_of(ROW, observed)
    weights = jax.jit(jax.vmap(lambda key: model.terms(key, params, row).log_weight))
    found = np.exp(weights(jax.random.split(jax.random.key(0), 20_000)))
    assert_mean(found, np.exp(log_density(ROW, observed)))
    assert found.std() > 0
    estimate = jax.jit(lambda key: log_likelihood(model, key, params, row, num_samples=5000))
    assert float(estimate(jax.random.key(1))) == pytest.approx(log_density(ROW, observed), abs=0.1)


@pytest.mark.parametrize("observed", [mask for mask in MASKS if not mask.all()], ids=str)
def test_a_missing_cell_is_expected_where_the_conditional_gaussian_has_its_mean(observed, float64):
    model, params = factor_analysis()
    row, hidden = row_of(ROW, observed), ~observed
    of_key = jax.jit(jax.vmap(lambda key: imputed(model, key, params, row, num_samples=2000)))
    found = of_key(jax.random.split(jax.random.key(0), 60))
    mean, _ = conditional(ROW, observed)
    assert_mean(found.expectation["numbers"][:, hidden], mean)
    assert np.all((found.effective > 20) & (found.effective < 2000))


def test_draws_of_missing_cells_are_spread_as_the_conditional_gaussian(float64):
    model, params = factor_analysis()
    row = row_of(ROW, OBSERVED)

    def one(key):
        return multiply_imputed(model, key, params, row, num_samples=500, num_draws=1)["numbers"][0]

    drawn = np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 8000)))
    np.testing.assert_array_equal(drawn[:, OBSERVED], np.tile(ROW[OBSERVED], (8000, 1)))
    mean, covariance = conditional(ROW, OBSERVED)
    away = drawn[:, ~OBSERVED] - mean
    assert_mean(away, np.zeros(2))
    assert_mean(np.einsum("ni,nj->nij", away, away), covariance)


def test_draws_of_one_row_have_noise_of_their_own(float64):
    """Of a single code, two imputations differ by the cells' noise: N(0, 2 s²), with no correlation between cells."""
    model, params = factor_analysis()
    row = row_of(ROW, OBSERVED)

    def difference(key):
        first, second = multiply_imputed(model, key, params, row, num_samples=1, num_draws=2)["numbers"]
        return (first - second)[~OBSERVED]

    away = np.asarray(jax.jit(jax.vmap(difference))(jax.random.split(jax.random.key(1), 8000)))
    assert_mean(away, np.zeros(2))
    assert_mean(np.einsum("ni,nj->nij", away, away), np.diag(2 * NOISE[~OBSERVED] ** 2))


def test_with_no_cell_missing_it_is_the_plain_model(float64):
    model, params = factor_analysis()
    plain = vae(
        encoder=networks.mlp((), Normal.parameters((2,))),
        decoder=networks.mlp((), {"mean": (4,), "log_scale": networks.Free((4,))}),
        prior=standard_normal((2,)),
        likelihood=Normal,
    )
    heads = {"mean": params["decoder"]["params"]["heads"]["numbers_mean"], "log_scale": jnp.log(jnp.asarray(NOISE))}
    same = params | {"decoder": {"params": {"heads": heads}}}
    rows = jnp.asarray(np.random.default_rng(0).normal(size=(5, 4)))
    whole = Cells({"numbers": rows}, {"numbers": jnp.ones((5, 4), bool)})
    for bound, k in ((batched_elbo, 1), (batched_iwae_bound, 7)):
        found = bound(model, jax.random.key(0), params, whole, num_samples=k)
        np.testing.assert_allclose(found, bound(plain, jax.random.key(0), same, rows, num_samples=k), rtol=1e-10)


def test_a_row_without_cells_is_certain_and_its_imputation_is_the_models_mean(float64):
    model, params = factor_analysis()
    nothing = row_of(ROW, np.zeros(4, bool))
    of_key = jax.jit(
        jax.vmap(
            lambda key: (
                model.terms(key, params, nothing).log_weight,
                imputed(model, key, params, nothing, num_samples=200).expectation["numbers"],
            )
        )
    )
    log_weights, expected = of_key(jax.random.split(jax.random.key(0), 2000))
    assert_mean(np.exp(log_weights), 1.0)
    assert_mean(expected, CENTER)


# Cells of every kind, and a code of one dimension: the integrals over it are sums on a grid.
KINDS = {
    "numbers": cells.heavy_tailed(1),
    "classes": cells.classes((3, 2)),
    "counts": cells.counts((0.5,)),
}
MIXED = {
    "numbers": np.array([0.7], np.float32),
    "classes": np.array([2, 0], np.int32),
    "counts": np.array([2.0], np.float32),
}


def mixed():
    family, outputs = of_columns(KINDS)
    encoder = reading_cells(networks.mlp((6,), Normal.parameters((1,))), sizes=(3, 2), counts=((1.0, 0.5),), mask=True)
    model = vae(encoder=encoder, decoder=networks.mlp((6,), outputs), prior=standard_normal((1,)), likelihood=family)
    every = {name: jnp.ones(len(value), bool) for name, value in MIXED.items()}
    params = model.init(jax.random.key(0), Cells(MIXED, every))
    decoder = jax.tree.map(lambda leaf: 2.0 * leaf, params["decoder"])
    return model, as_floats(params | {"decoder": decoder, "encoder": near_the_prior(params["encoder"])})


def on_the_grid(model, params, row):
    """ln p(x_obs), and p(class | x_obs) of both cells with classes, by sums over codes."""
    zs = np.linspace(-8, 8, 2001)
    logs = np.asarray(jax.vmap(lambda z: model.likelihood(params, z).log_prob(row))(jnp.asarray(zs[:, None])))
    classes = jax.vmap(lambda z: model.likelihood(params, z).expectation()["classes"])(jnp.asarray(zs[:, None]))
    masses = np.exp(logs) * scipy.stats.norm.pdf(zs) * (zs[1] - zs[0])
    return np.log(masses.sum()), np.einsum("z,zck->ck", masses, np.asarray(classes)) / masses.sum()


@pytest.mark.parametrize("missing", [("classes",), ("classes", "counts"), ("numbers", "classes")], ids=str)
def test_classes_are_imputed_as_enumeration_has_them(missing, float64):
    model, params = mixed()
    mask = {name: jnp.full(len(value), name not in missing) for name, value in MIXED.items()}
    row = Cells({name: jnp.asarray(value, None if name == "classes" else float) for name, value in MIXED.items()}, mask)
    log_p, of_classes = on_the_grid(model, params, row)
    both = jax.jit(
        jax.vmap(
            lambda key: (
                log_likelihood(model, key, params, row, num_samples=5000),
                imputed(model, key, params, row, num_samples=5000).expectation["classes"],
            )
        )
    )
    estimates, expected = both(jax.random.split(jax.random.key(0), 60))
    assert_mean(np.exp(estimates), np.exp(log_p))
    assert_mean(expected, of_classes)
    np.testing.assert_allclose(expected.sum(axis=2), 1)

    # p(x_obs) is the sum over all classes of p(x_obs, class), by the grid as by the model
    seen = mask | {"classes": jnp.array([True, False])}
    parts = [
        on_the_grid(model, params, Cells(row.values | {"classes": jnp.array([kind, 0])}, seen))[0] for kind in range(3)
    ]
    assert np.log(np.sum(np.exp(parts))) == pytest.approx(log_p)
    np.testing.assert_allclose(np.exp(np.array(parts) - log_p), of_classes[0], rtol=1e-6)


def test_an_encoder_reads_zeros_and_the_mask_where_cells_are_missing():
    read = []
    spy = networks.mlp((), {"mean": (1,)})._replace(apply=lambda params, x: read.append(np.asarray(x)))
    encoder = reading_cells(spy, sizes=(3, 2), counts=((1.0, 0.5),), mask=True)
    nan = jnp.array([jnp.nan])
    mask = {"numbers": jnp.array([False]), "classes": jnp.array([True, False]), "counts": jnp.array([True])}
    encoder.apply({}, Cells({"numbers": nan, "classes": jnp.array([2, -7]), "counts": jnp.array([3.0])}, mask))
    np.testing.assert_allclose(read[0], [0, 0, 1, 0, 0, (np.log(4) - 1) / 0.5, 0, 1, 0, 1, 0], rtol=1e-6)


def test_gradients_are_finite_and_no_missing_cell_moves_them():
    model, params = mixed()
    mask = {"numbers": jnp.array([False]), "classes": jnp.array([False, True]), "counts": jnp.array([False])}
    holes = {"numbers": jnp.array([jnp.nan]), "classes": jnp.array([-7, 0]), "counts": jnp.array([jnp.nan])}
    slopes = [
        jax.jit(jax.grad(lambda params, row: batched_elbo(model, jax.random.key(0), params, row).sum()))(
            params, jax.tree.map(lambda leaf: leaf[None], Cells(values, mask))
        )
        for values in (
            holes,
            {name: jnp.asarray(value) for name, value in MIXED.items()} | {"classes": jnp.array([1, 0])},
        )
    ]
    for one, other in zip(*map(jax.tree.leaves, slopes), strict=True):
        np.testing.assert_array_equal(one, other)
        assert np.all(np.isfinite(one))


def test_numbers_of_draws_below_one_are_refused():
    model, params = factor_analysis()
    row = row_of(ROW.astype(np.float32), OBSERVED)
    with pytest.raises(ValueError, match="num_samples=0"):
        imputed(model, jax.random.key(0), params, row, num_samples=0)
    with pytest.raises(ValueError, match="num_draws=0"):
        multiply_imputed(model, jax.random.key(0), params, row, num_samples=1, num_draws=0)
