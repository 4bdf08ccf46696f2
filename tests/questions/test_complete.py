"""Completed tables, beside scikit-learn's imputers and simple densities."""

import csv
import json
from dataclasses import replace

import jax
import numpy as np
import pytest
import scipy.stats
from sklearn.impute import SimpleImputer
from small_runs import commanded

from jaxvae.questions import complete
from jaxvae.questions.parts.table_baselines import IMPUTERS, imputed_by, simple_density
from jaxvae.recipes import table
from jaxvae.run import RunError
from jaxvae.run.data import DataError
from jaxvae.run.data.schema import Column, Schema

SCHEMA = Schema(
    (
        Column("a", "number", mean=3.0, scale=2.0),
        Column("b", "number", mean=0.0, scale=5.0),
        Column("c", "class", ("x", "y", "z")),
        Column("d", "class", ("no", "yes")),
    )
)


@pytest.fixture(autouse=True)
def _standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


def random_rows(count, seed=0, share=0.2):
    """Rows whose second number is nearly the first, whose classes tell its size, with cells missing."""
    random = np.random.default_rng(seed)
    first = random.normal(size=count)
    classes = np.stack([np.digitize(first, [-0.5, 0.5]), first > 0], axis=1).astype(np.int32)
    values = {"numbers": np.stack([first, first + 0.3 * random.normal(size=count)], axis=1), "classes": classes}
    mask = {name: random.random(cells.shape) >= share for name, cells in values.items()}
    values["numbers"] -= values["numbers"].mean(axis=0, where=mask["numbers"])
    values["numbers"] /= values["numbers"].std(axis=0, where=mask["numbers"])
    return values, mask


@pytest.mark.parametrize("name", IMPUTERS)
def test_an_imputer_fills_in_blocks_and_leaves_what_is_observed(name):
    train, rows = random_rows(300), random_rows(400, 1)
    found = imputed_by(name, train, rows, SCHEMA)
    assert found["numbers"].shape == (400, 2)
    assert found["classes"].shape == (400, 2, 3)
    seen = rows[1]["numbers"]
    np.testing.assert_allclose(found["numbers"][seen], rows[0]["numbers"][seen])
    told, known = found["classes"].argmax(axis=-1), rows[1]["classes"]
    np.testing.assert_array_equal(told[known], rows[0]["classes"][known])
    assert set(np.unique(told[:, 1])) <= {0, 1}
    errors = table.errors_of(rows, {block: ~cells for block, cells in rows[1].items()}, found)
    ratio = errors["test_imputation_error"].values.sum() / errors["test_imputation_error"].over.sum()
    assert (ratio < 0.5) == (name != "mean")
    if name == "mean":
        holes = np.where(train[1]["numbers"], train[0]["numbers"], np.nan)
        expected = SimpleImputer().fit(holes).statistics_
        np.testing.assert_allclose(found["numbers"][~seen], np.broadcast_to(expected, (400, 2))[~seen])
        commonest = np.bincount(train[0]["classes"][:, 0][train[1]["classes"][:, 0]]).argmax()
        assert set(told[:, 0][~known[:, 0]]) == {commonest}


def test_the_simple_density_is_that_of_independent_columns_in_their_own_units():
    train, rows = random_rows(300), random_rows(20, 1)
    said, nats = simple_density(train, rows, SCHEMA)
    assert "independent" in said
    expected = np.zeros(20)
    for index, (mean, scale) in enumerate([(3.0, 2.0), (0.0, 5.0)]):
        own = mean + scale * rows[0]["numbers"][:, index]
        expected += np.where(rows[1]["numbers"][:, index], scipy.stats.norm.logpdf(own, mean, scale), 0)
    for index, size in enumerate((3, 2)):
        counts = np.bincount(train[0]["classes"][:, index][train[1]["classes"][:, index]], minlength=size) + 1
        logs = np.log(counts / counts.sum())[rows[0]["classes"][:, index]]
        expected += np.where(rows[1]["classes"][:, index], logs, 0)
    np.testing.assert_allclose(nats, expected, rtol=1e-6)


def test_of_numbers_without_holes_it_is_a_gaussian_with_a_covariance():
    schema = Schema(SCHEMA.columns[:2])
    random = np.random.default_rng(0)
    values = random.normal(size=(300, 2)) @ np.array([[1.0, 0.5], [0.0, 0.8]])
    rows = ({"numbers": values}, {"numbers": np.ones((300, 2), bool)})
    said, nats = simple_density(rows, rows, schema)
    assert "full covariance" in said
    own = values * [2.0, 5.0] + [3.0, 0.0]
    exact = scipy.stats.multivariate_normal(own.mean(axis=0), np.cov(own.T, ddof=0)).logpdf(own)
    np.testing.assert_allclose(nats, exact, atol=1e-3)
    assert simple_density(rows, rows, Schema((Column("n", "count"),))) is None


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on a table with holes, in the file and out of it."""
    place = tmp_path_factory.mktemp("complete")
    random = np.random.default_rng(0)
    first = random.normal(size=60)
    lines = [
        [f"{100 + 10 * value:.3f}", f"{-value:.3f}", "high" if value > 0 else "low", str(random.poisson(np.exp(value)))]
        for value in first
    ]
    for row in range(0, 60, 3):
        lines[row][row % 4] = ""
    with (place / "own.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["a", "b", "level", "n"], *lines])
    config = table.Config(
        data=table.Table(str(place / "own.csv"), counts=("n",)),
        model=table.Model(latent=2, hidden=(8,)),
        imputation=table.Imputation(num_samples=5, samples=20),
    )
    with jax.numpy_dtype_promotion("standard"):
        return commanded(replace(config, batch_size=20), place)


def cells(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_a_run_hands_back_its_table_completed_with_codes_densities_and_new_rows(run):
    before, after = cells(run.parent / "own.csv"), cells(run / "tables" / "completed.csv")
    assert sum(old != new for a, b in zip(before, after, strict=True) for old, new in zip(a, b, strict=True)) == 20
    assert all(cell for row in after for cell in row)
    assert all(row[2] in ("high", "low") and row[3].isdigit() for row in after[1:])
    assert len(cells(run / "tables" / "samples.csv")) == 21
    names, *codes = cells(run / "tables" / "codes.csv")
    assert names == ["line", "z1", "z2"]
    assert [row[0] for row in codes] == [str(line) for line in range(2, 62)]
    names, *densities = cells(run / "tables" / "densities.csv")
    assert names == ["line", "observed_cells", "log_density"]
    assert [int(row[1]) for row in densities] == [3 if row % 3 == 0 else 4 for row in range(60)]
    result = json.loads((run / "result.json").read_text())
    assert result["protocol"]["columns"] == "2 numbers; classes level (2); counts n"
    assert {"test_imputation_error", "test_imputation_accuracy", "test_nll"} <= set(result["units"])


def test_another_table_is_completed_by_several_draws_and_compared(run, capsys):
    with (run.parent / "other.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["level", "n", "b", "a"], ["high", "", "", "120"], ["", "0", "1.5", ""]])
    options = complete.Options(run, run.parent / "other.csv", draws=3, num_samples=5, samples=4)
    complete.main(options)
    place = run / "tables-other"
    assert sorted(path.name for path in place.glob("completed*")) == [
        "completed-1.csv",
        "completed-2.csv",
        "completed-3.csv",
        "completed.csv",
    ]
    found = [cells(place / f"completed-{number}.csv") for number in (1, 2, 3)]
    assert all(one[0] == ["level", "n", "b", "a"] and one[1][0] == "high" and one[2][1] == "0" for one in found)
    assert len({one[1][2] for one in found}) == 3  # numbers that are drawn differ
    said = json.loads((run / "complete.json").read_text())
    for name in ("the_model", "mean", "knn", "iterative"):
        assert np.isfinite(said[f"imputation_error_by_{name}"])
        assert 0 <= said[f"imputation_accuracy_by_{name}"] <= 1
    assert said["protocol"]["filled_in"] == 4
    assert "tables-other" in capsys.readouterr().out
    assert "Missing cells" in (run / "report.html").read_text()


def test_what_cannot_be_completed_is_refused(run):
    with pytest.raises(RunError, match=r"--share 1.0 must lie between 0 and 1"):
        complete.main(complete.Options(run, share=1.0))
    (run.parent / "wrong.csv").write_text("a,b,level,n\n1,2,middle,3\n")
    with pytest.raises(DataError, match=r"line 2, column 'level': 'middle' is none of its classes"):
        complete.main(complete.Options(run, run.parent / "wrong.csv"))
