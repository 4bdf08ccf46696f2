"""The questions on generation, latent space, codes and imputation: their files, their numbers, what they refuse."""

import json
import shutil
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy
from PIL import Image

from jaxvae.distributions import Normal
from jaxvae.questions import codes, generate, impute, latent, two_stage
from jaxvae.questions.parts import code_densities
from jaxvae.questions.parts.examined import open_examined, seen
from jaxvae.recipes import plain
from jaxvae.run import RunError, launch
from jaxvae.run.figures import images
from jaxvae.run.options import likelihoods
from jaxvae.run.options.images import Images
from jaxvae.run.settings import Evaluation

QUICK = {"epochs": 2, "evaluation": Evaluation(num_samples=0), "name": "run"}
OPTIONS = {
    generate: {"train_examples": 200, "test_examples": 60, "num_samples": 64, "components": 3},
    two_stage: {
        "train_examples": 300,
        "test_examples": 60,
        "num_images": 16,
        "epochs": 20,
        "width": 16,
        "k": 20,
        "draws": 2,
        "components": 3,
        "batch_size": 50,
    },
    latent: {"train_examples": 300, "test_examples": 60, "pairs": 2, "steps": 5, "traversed": 3},
    codes: {"train_examples": 300, "test_examples": 60, "tsne_examples": 0, "map_examples": 10, "map_steps": 20},
    impute: {"examples": 20, "rounds": 4},
}
FIGURES = {
    generate: {"generated", "nearest"},
    two_stage: {"two_stage"},
    latent: {"interpolations", "traversals", "near", "attributes", "resynthesis"},
    codes: {"map_codes"},
    impute: {"imputed", "imputation_error"},
}
COMMANDS = list(OPTIONS)


@pytest.fixture(autouse=True)
def _standard_promotion():
    """Optax itself mixes Python floats with integer counts, which strict promotion forbids."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def run_by(**options):
    assert launch.run(plain.KIND, launch.options_of(plain.KIND)(**QUICK, **options)) == 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A labelled run with a latent plane, and one on grey rows of numbers without labels."""
    runs = tmp_path_factory.mktemp("runs")
    table = runs / "table.npy"
    np.save(table, np.random.default_rng(0).uniform(size=(400, 6)).astype(np.float32))
    with jax.numpy_dtype_promotion("standard"):
        run_by(runs=runs / "digits", model=plain.Model(latent=2))
        grey = plain.Model(latent=3, likelihood=likelihoods.Gaussian())
        run_by(runs=runs / "table", data=Images(name=str(table)), model=grey)
    return SimpleNamespace(digits=runs / "digits" / "run", table=runs / "table" / "run", data=table)


def name_of(command):
    return command.__name__.split(".")[-1]


def examine(command, run, **options):
    command.main(command.Options(run=run, **(OPTIONS[command] | options)))
    return json.loads((run / f"{name_of(command)}.json").read_text())


@pytest.fixture(scope="module")
def examined(trained):
    """Every command once on the labelled run."""
    with jax.numpy_dtype_promotion("standard"):
        return {command: examine(command, trained.digits) for command in COMMANDS}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=name_of)
def test_a_command_leaves_numbers_with_their_protocol_figures_and_a_section(command, trained, examined):
    numbers = examined[command]
    assert {"dataset", "binarisation", "bound", "standard_error", "draw_seed"} <= set(numbers["protocol"])
    assert all(np.isfinite(value) for value in numbers.values() if isinstance(value, float))
    captions = json.loads((trained.digits / "figures" / "captions.json").read_text())
    for figure in FIGURES[command]:
        with Image.open(trained.digits / "figures" / f"{figure}.png") as image:
            assert np.asarray(image.convert("L")).std() > 1
        assert captions[figure]["caption"]
    section = json.loads((trained.digits / "sections" / f"{name_of(command)}.json").read_text())
    assert {f"{figure}.png" for figure in FIGURES[command]} == set(section["figures"])
    assert section["title"] in (trained.digits / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=name_of)
def test_without_labels_what_needs_them_is_left_out_with_a_word(command, trained, capsys):
    options = {"missing": "top"} if command is impute else {}
    numbers = examine(command, trained.table, **options)
    assert not [name for name in numbers if "accuracy" in name or "class" in name]
    printed = capsys.readouterr().out
    assert ("has no labels" in printed) == (command in (latent, codes))


def test_codes_npy_holds_the_posterior_means_of_every_split(trained, examined):
    run, dataset = open_examined(trained.digits)
    kept, rows = np.load(trained.digits / "codes.npy"), examined[codes]["rows"]
    assert kept.dtype == np.float32
    assert kept.shape == (1797, 2)
    assert rows == {"train": [0, 1297], "valid": [1297, 1497], "test": [1497, 1797]}
    test, _ = seen(run, dataset.test, dataset.test.size)
    np.testing.assert_allclose(kept[slice(*rows["test"])], images.encode(run.model, run.params, test), atol=1e-5)


def test_the_map_code_explains_no_less_than_the_mean(examined):
    numbers = examined[codes]
    assert numbers["log_joint_at_the_MAP_code"] > numbers["log_joint_at_the_posterior_mean"]
    difference = numbers["accuracy_codes"] - numbers["accuracy_pixels"]
    assert numbers["accuracy_codes_less_pixels"] == pytest.approx(difference)
    assert numbers["accuracy_pixels"] > 0.5


def test_the_densities_are_of_the_codes_of_the_test_set(examined):
    """Under N(0, I), E_q ln p(z) is at most its value at the mode, -D/2 ln 2π."""
    numbers = examined[generate]
    assert numbers["log_density_prior"] < -np.log(2 * np.pi)
    gain = numbers["log_density_aggregated_posterior"] - numbers["log_density_prior"]
    assert numbers["gain_over_prior_aggregated_posterior"] == pytest.approx(gain)
    assert gain > 0, "in two dimensions the mixture over 200 training images beats the prior"
    assert all(0 <= value <= 1 for name, value in numbers.items() if name.startswith("share_nearer"))


@pytest.mark.slow
def test_the_second_stage_learns_the_density_of_the_codes_and_stays_below_it():
    """Codes about two points, each with a known posterior: the truth is a mixture that no single Gaussian fits."""
    random = np.random.default_rng(0)
    points, noise = np.array([[-2.0, 0.0], [2.0, 0.0]], np.float32), 0.3
    model = two_stage.second_stage(2, 4)._replace(posterior=lambda params, x: Normal(x, jnp.log(noise)))
    xs = jnp.asarray(points[random.integers(0, 2, 1000)])
    options = two_stage.Options(run=None, epochs=60, width=32, batch_size=50)
    second = two_stage.second_stage(2, options.width)
    run = SimpleNamespace(model=model, params={})
    params, bound = two_stage._trained(second, jax.random.key(1), run, xs, options)
    codes = points[random.integers(0, 2, 500)] + noise * random.normal(size=(500, 2))
    each = [scipy.stats.multivariate_normal(point, noise**2 * np.eye(2)).logpdf(codes) for point in points]
    truth = np.logaddexp(*each) - np.log(2)
    codes, keys = jnp.asarray(codes, jnp.float32), jax.random.split(jax.random.key(2), 500)
    found = jax.jit(jax.vmap(lambda key, z: two_stage._log_density(second, params, 200, key, z)))(keys, codes)
    one = scipy.stats.multivariate_normal(np.zeros(2), np.cov(codes.T)).logpdf(codes)
    assert one.mean() + 0.3 < found.mean() < truth.mean() + 5 * np.std(found - truth) / np.sqrt(500)
    assert one.mean() < bound < truth.mean() + 5 * np.std(truth) / np.sqrt(500)  # of other codes


def test_the_costs_of_two_stages_are_of_the_same_codes(examined):
    numbers = examined[two_stage]
    for name in ("gaussian_mixture", "second_vae"):
        gain = numbers["cost_prior"] - numbers[f"cost_{name}"]
        assert numbers[f"gain_over_prior_{name}"] == pytest.approx(gain, abs=1e-5)
    assert numbers["protocol"]["second_stage_k"] == 20
    assert "bound" in numbers["protocol"]["second_stage_density"]


def test_a_copy_is_nearer_than_every_new_image():
    held_out = np.linspace(1, 2, 100)
    assert generate._share_nearer(np.zeros(50), held_out)[0] == 1
    assert generate._share_nearer(np.full(50, 3.0), held_out)[0] == 0
    share, error = generate._share_nearer(np.linspace(1, 2, 50), held_out)
    assert abs(share - 0.5) < error


@pytest.mark.slow
def test_the_number_of_components_is_chosen_on_left_out_codes():
    random = np.random.default_rng(0)
    two = np.concatenate([random.normal(-5, 0.5, size=(100, 2)), random.normal(5, 0.5, size=(100, 2))])
    assert code_densities.fitted_mixture(random.permutation(two), None, 0).n_components == 2
    assert code_densities.fitted_mixture(two, 1, 0).n_components == 1


def test_the_error_of_imputation_is_that_of_the_missing_pixels(examined):
    numbers = examined[impute]
    assert len(numbers["mse_draw_of_each_round"]) == 4
    assert numbers["mse_draw_of_each_round"][-1] == pytest.approx(numbers["mse_draw"])
    assert numbers["mse_draw"] > numbers["mse_mean"], "a draw of a binary pixel errs more than its mean"
    assert 0 < numbers["mse_mean_image"] < 0.25, "no more than a coin's variance"


@pytest.mark.parametrize(
    ("missing", "hidden"), [("left", np.s_[:, :2]), ("right", np.s_[:, 2:]), ("top", np.s_[:3]), ("bottom", np.s_[3:])]
)
def test_the_half_that_is_named_is_hidden(missing, hidden):
    options = impute.Options(run=None, missing=missing)
    observed = np.asarray(impute._observed(jax.random.key(0), 3, (6, 4, 2), options))
    expected = np.ones((6, 4, 2), bool)
    expected[hidden] = False
    np.testing.assert_array_equal(observed, np.broadcast_to(expected, (3, 6, 4, 2)))


def test_pixels_are_hidden_at_random_with_all_their_channels():
    options = impute.Options(run=None, missing="random", share=0.3)
    observed = np.asarray(impute._observed(jax.random.key(0), 200, (8, 8, 3), options))
    assert np.array_equal(observed[..., 0], observed[..., 2])
    others = np.delete(observed[..., 0].reshape(200, 64), 4 * 8 + 4, axis=1)
    assert np.mean(~others) == pytest.approx(0.3, abs=5 * np.sqrt(0.21 / others.size))


def test_only_missing_pixels_count():
    xs = np.zeros((1, 2, 1, 1), np.float32)
    observed = np.array([True, False]).reshape(1, 2, 1, 1)
    states = np.array([7.0, 3.0], np.float32).reshape(1, 1, 2, 1, 1)
    assert float(impute._mean_squares(states, xs, observed)[0, 0]) == 9


REFUSED = [
    (generate, {"num_samples": 3}, "--num-samples 3 must be at least 64"),
    (generate, {"components": 0}, "--components 0 must be at least 1"),
    (generate, {"components": 999}, "--components 999 is more than the 200 training codes"),
    (generate, {"seed": -1}, "--seed -1 must be at least 0"),
    (two_stage, {"epochs": 0}, "--epochs 0 must be at least 1"),
    (two_stage, {"draws": 0}, "--draws 0 must be at least 1"),
    (two_stage, {"k": 0}, "--k 0 must be at least 1"),
    (two_stage, {"batch_size": 500}, "--batch-size 500 is more than the 300 training codes"),
    (two_stage, {"learning_rate": 0.0}, "--learning-rate 0.0 must be positive"),
    (two_stage, {"components": 999}, "--components 999 is more than the 300 training codes"),
    (latent, {"steps": 1}, "--steps 1 must be at least 2"),
    (latent, {"spread": -1.0}, "--spread -1.0 must be at least 0"),
    (latent, {"reach": 0.0}, "--reach 0.0 must be positive"),
    (latent, {"pairs": 1000}, "--pairs 1000 needs 2000 test images, and there are 300"),
    (latent, {"classes": (3, 8, 12)}, "there is no class 12"),
    (latent, {"classes": (3, 3, 8)}, "the first must differ"),
    (codes, {"neighbours": 0}, "--neighbours 0 must be at least 1"),
    (codes, {"neighbours": 5000}, "--neighbours 5000 is more than the training images"),
    (codes, {"map_steps": -3}, "--map-steps -3 must be at least 1"),
    (codes, {"tsne_examples": 2}, "--tsne-examples 2 must be at least 10"),
    (impute, {"rounds": 0}, "--rounds 0 must be at least 2"),
    (impute, {"share": 1.0, "missing": "random"}, "--share 1.0 must lie between 0 and 1"),
]


@pytest.mark.parametrize(("command", "options", "sentence"), REFUSED)
def test_bad_options_are_refused_before_anything_is_written(command, options, sentence, trained, examined):
    before = state_of(trained.digits)
    with pytest.raises(RunError, match=sentence):
        examine(command, trained.digits, **options)
    assert state_of(trained.digits) == before


def state_of(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("command", COMMANDS, ids=name_of)
def test_a_folder_that_is_no_run_is_refused(command, tmp_path):
    with pytest.raises(RunError, match="is no run folder"):
        examine(command, tmp_path)
    assert not list(tmp_path.iterdir())


def test_half_of_a_single_column_cannot_be_hidden(trained):
    with pytest.raises(RunError, match="--missing right hides half of an image that is 1 pixel across"):
        examine(impute, trained.table, missing="right")


def test_labels_that_are_not_there_cannot_be_named(trained):
    with pytest.raises(RunError, match="--classes 0 1 2 needs labels, and this data has none"):
        examine(latent, trained.table, classes=(0, 1, 2))


def test_data_of_another_shape_is_refused(trained, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(trained.table, moved)
    other = tmp_path / "other.npy"
    np.save(other, np.zeros((400, 7), np.float32))
    config = json.loads((moved / "config.json").read_text())
    config["data"]["name"] = str(other)
    (moved / "config.json").write_text(json.dumps(config))
    with pytest.raises(RunError, match=r"was begun on other data than other.npy is now: .*of 6 x .*of 7 x"):
        examine(impute, moved)
