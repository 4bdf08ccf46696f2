"""Values of a person's own data that are no numbers, labels or cells, and results that are none: told, or null."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from own_files import IMAGES, REPOSITORY

from jaxvae.recipes import class_conditional, few_labels, plain
from jaxvae.run import RunError, launch, measures, refusals
from jaxvae.run.data import DataError
from jaxvae.run.data.columns import read_text, table_of
from jaxvae.run.data.loading import load
from jaxvae.run.figures import history
from jaxvae.run.folder import logs
from jaxvae.run.options import likelihoods, networks
from jaxvae.run.options.images import Images
from jaxvae.run.settings import Evaluation


@pytest.fixture(autouse=True)
def _prepared_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXVAE_DATA", str(tmp_path / "prepared"))


# --- numbers that there are none of: null, for which every reader of JSON has a word


def strictly(text):
    """JSON as everyone but Python reads it."""

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def trained_on(tmp_path, **content):
    np.savez(tmp_path / "own.npz", **content)
    options = launch.options_of(plain.KIND)(
        model=plain.Model(networks.Small(width=8), latent=2),
        data=Images(str(tmp_path / "own.npz")),
        evaluation=Evaluation(num_samples=3),
        batch_size=10,
        epochs=1,
        runs=tmp_path,
        name="run",
    )
    with jax.numpy_dtype_promotion("standard"):
        assert launch.run(plain.KIND, options) == 0
    return tmp_path / "run"


def test_one_test_example_has_no_standard_error(tmp_path, capfd):
    folder = trained_on(tmp_path, train=IMAGES, valid=IMAGES[:1], test=IMAGES[:1])
    for file in folder.rglob("*.json*"):
        for text in file.read_text().splitlines() if file.suffix == ".jsonl" else [file.read_text()]:
            strictly(text)
    result = strictly((folder / "result.json").read_text())
    assert np.isfinite(result["test_elbo"])
    assert result["test_elbo_standard_error"] is None
    out = capfd.readouterr().out
    assert "ELBO" in out
    assert "nan" not in out + (folder / "report.html").read_text()


def test_a_number_that_is_not_finite_is_null_and_named_so(tmp_path, capfd, monkeypatch):
    """An example whose estimate overflows leaves a run with its report and not with a traceback at its end."""
    of_terms = measures.mean_terms

    def overflowing(*arguments, **more):
        found = of_terms(*arguments, **more)
        return jax.tree.map(lambda values: values * np.inf, found)

    monkeypatch.setattr(measures, "mean_terms", overflowing)
    folder = trained_on(tmp_path, train=IMAGES, test=IMAGES[:5])
    assert strictly((folder / "result.json").read_text())["test_elbo"] is None
    assert "not finite" in (folder / "report.html").read_text()
    assert "± nan" not in capfd.readouterr().out


def test_the_log_holds_null_too_and_is_drawn(tmp_path):
    log = logs.Log(tmp_path)
    log.write({"step": 1, "epoch": 0.5, "train_bound": [-3.0, float("nan")], "valid_bound": float("-inf")})
    log.write({"step": 2, "epoch": 1.0, "train_bound": [-2.0, -1.0], "valid_bound": -4.0})
    log.close()
    rows = [strictly(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows[0]["train_bound"] == [-3.0, None]
    assert rows[0]["valid_bound"] is None
    (tmp_path / "figures").mkdir()
    history.draw(tmp_path)
    assert (tmp_path / "figures" / "curves.png").exists()


# --- tables, and values that are none


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("1,2\n3_4,5\n", "line 2, column 1: '3_4' is no number; write a decimal point"),
        ("3_4,5_6\n1,2\n", "line 1, column 1: '3_4' is no number; write a decimal point"),
        ("a;b\n1,5;2\n", "line 2, column 'a': '1,5' is no number; write a decimal point"),
        ("1,5;2,5\n3,5;4,5\n", "line 1, column 1: '1,5' is no number; write a decimal point"),
        ('a,b\n1,"1,234.5"\n', "'1,234.5' is no number; write a decimal point, and nothing between thousands: 1234.5"),
        ("a,b\n1,1 234\n", "'1 234' is no number; write a decimal point"),
        ("a,b\n1,\u0663\n", "'\u0663' is no number; write"),
        ("a,b\n1,2\n3,red\n", "line 3, column 'b': 'red' is no number, and line 2 has '2' there; .* --data.missing"),
        ("a,b\n1,-inf\n", "'-inf' is not finite"),
        ("a,b\n1,1e200\n", r"'1e200' is above 1e\+100, .* give the column in larger units"),
        ("a,b\n1,1e999\n", r"'1e999' is above 1e\+100"),
    ],
)
def test_what_is_no_number_says_what_to_write(tmp_path, text, sentence):
    (tmp_path / "table.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=sentence):
        table_of(read_text(tmp_path / "table.csv"))


def test_numbers_as_people_and_programs_write_them_are_read(tmp_path):
    (tmp_path / "table.csv").write_text("1, -2. ,+.5\n1e3,-1.5E-3,007\n")
    columns = table_of(read_text(tmp_path / "table.csv")).columns
    np.testing.assert_array_equal(np.stack(columns, axis=1), [[1, -2, 0.5], [1000, -0.0015, 7]])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_no_numbers_are_not_to_be_scaled(tmp_path, value):
    images = IMAGES / 255.0
    images[3, 2, 1] = value
    np.save(tmp_path / "own.npy", images)
    with pytest.raises(DataError, match="put a number into every pixel that has none") as refused:
        load(str(tmp_path / "own.npy"))
    assert "scale" not in str(refused.value)


@pytest.mark.parametrize("recipe", [class_conditional, few_labels])
def test_labels_that_are_no_class_are_refused_with_what_helps(tmp_path, recipe):
    def begun(labels):
        np.savez(tmp_path / "own.npz", images=IMAGES, labels=labels)
        more = {} if recipe is class_conditional else {"labels": 2}
        model = recipe.Model(classes=2, likelihood=likelihoods.Bernoulli(), **more)
        config = recipe.Config(model=model, data=Images(str(tmp_path / "own.npz")), batch_size=4)
        return refusals.recipe_of(recipe.KIND, config, recipe.KIND.data(config))

    with pytest.raises(RunError, match="run from -1 to 1, and a class is a number from 0 on: give them such numbers"):
        begun(np.arange(40) % 3 - 1)
    with pytest.raises(RunError, match=r"run from 0 to 2, .*give --model.classes 3"):
        begun(np.arange(40) % 3)
    with jax.numpy_dtype_promotion("standard"):
        begun(np.arange(40) % 2)


# --- a run that is opened in a program of one's own


def test_a_run_is_loaded_without_a_warning(tmp_path):
    folder = trained_on(tmp_path, train=IMAGES, test=IMAGES[:5])
    code = (
        "import logging, sys, jaxvae\n"
        "model, params = jaxvae.load(sys.argv[1])\n"
        "logging.getLogger('absl').warning('absl speaks on')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, folder], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr.splitlines()) == ("", ["WARNING:absl:absl speaks on"])
