"""The rate-distortion curve: a grid of models by one compiled step equals the models trained by command."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compilations import compilations

from experiments import rate_distortion
from experiments.rate_distortion import Options, Points, check, main, measure, row, settings_of, train_grid
from jaxvae import bounds
from jaxvae.models import linear
from jaxvae.recipes.plain import KIND, Model
from jaxvae.run import RunError, launch
from jaxvae.run.folder import opening
from jaxvae.run.held_out import as_seen
from jaxvae.run.options import likelihoods, prices
from jaxvae.run.options.images import Images
from jaxvae.run.options.objective import Objective
from jaxvae.run.recipe import about
from jaxvae.run.settings import Checkpoints, Evaluation, Optimizer
from jaxvae.run.train import train

BETAS = (4.0, 0.05, 1.0)
QUICK = Options(
    betas=BETAS,
    num_seeds=2,
    seed=3,
    epochs=8,
    num_samples=4,
    model=Model(latent=4, mean_bias=True),
    optimizer=Optimizer(lr=3e-3, average=0.5),
)


@pytest.fixture(autouse=True)
def _standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    place = tmp_path_factory.mktemp("rate_distortion") / "new"
    with jax.numpy_dtype_promotion("standard"):
        assert main(Options(**{**vars(QUICK), "folder": place})) is None
    return place, json.loads((place / "result.json").read_text())


@pytest.mark.slow
def test_it_leaves_numbers_with_their_protocol_and_a_picture(result):
    place, stored = result
    assert sorted(path.name for path in place.iterdir()) == [
        "captions.json",
        "rate_distortion.png",
        "rate_distortion.svg",
        "report.html",
        "result.json",
    ]
    assert [point["beta"] for point in stored["points"]] == sorted(BETAS)
    assert stored["protocol"]["seeds"] == [3, 4]
    assert stored["protocol"]["binarisation"] == "dynamic"
    for point in stored["points"]:
        for split in ("train", "test"):
            of_seeds = np.array(point[f"{split}_rate_of_each_seed"])
            assert point[f"{split}_rate"] == pytest.approx(of_seeds.mean())
            assert point[f"{split}_rate_standard_error"] == pytest.approx(abs(of_seeds[0] - of_seeds[1]) / 2)
            total = point[f"{split}_rate"] + point[f"{split}_distortion"]
            assert point[f"{split}_negative_elbo"] == pytest.approx(total)


@pytest.mark.slow
def test_the_rate_falls_and_the_distortion_rises_with_beta(result):
    points = result[1]["points"]
    rates, distortions = (np.array([point[f"train_{name}"] for point in points]) for name in ("rate", "distortion"))
    assert np.all(np.diff(rates) < 0)
    assert np.all(np.diff(distortions) > 0)


@pytest.mark.slow
@pytest.mark.parametrize(("position", "beta"), [(1, 1.0), (2, 4.0)])
def test_a_model_of_the_grid_is_the_model_that_the_training_command_trains(result, tmp_path, position, beta):
    code = launch.run(
        KIND,
        launch.options_of(KIND)(
            model=QUICK.model,
            optimizer=QUICK.optimizer,
            objective=Objective(price=prices.Weight(beta=beta)),
            epochs=QUICK.epochs,
            seed=4,
            evaluation=Evaluation(num_samples=0),
            checkpoints=Checkpoints(seconds=60),
            runs=tmp_path,
            name="single",
        ),
    )
    assert code == 0
    run = opening.open_run(tmp_path / "single")
    xs = as_seen(run.recipe, run.kind.data(run.config).test)
    alone = measure(run.model, jax.tree.map(lambda leaf: leaf[None, None], run.params), xs, QUICK.num_samples)
    numbers = result[1]["points"][position]
    # Rounding, carried through 96 steps of Adam: a ten-thousandth of the number, not more.
    np.testing.assert_allclose(numbers["test_rate_of_each_seed"][1], alone.rate[0, 0], rtol=1e-3)
    np.testing.assert_allclose(numbers["test_distortion_of_each_seed"][1], alone.distortion[0, 0], rtol=1e-3)
    other = result[1]["points"][3 - position]  # and another beta's numbers are not within that tolerance
    assert abs(other["test_rate_of_each_seed"][1] / alone.rate[0, 0] - 1) > 0.1


@pytest.mark.slow
def test_one_program_trains_every_beta_which_is_no_constant_of_it(monkeypatch):
    settings = settings_of(Options(num_seeds=2, epochs=1, model=Model(latent=2)))
    dataset = KIND.data(settings)
    counts = []
    with compilations() as count:

        def counted(*arguments, **options):
            trained = train(*arguments, **options)
            counts.append(count())
            return trained

        monkeypatch.setattr(rate_distortion, "train", counted)
        grid = train_grid(settings, KIND.recipe(settings, about(dataset)), dataset, [0.1, 9.0, 0.1])
    assert counts[0] > 0
    assert counts == [counts[0]] * 3
    for leaf in jax.tree.leaves(grid):
        assert leaf.shape[:2] == (3, 2)
        np.testing.assert_array_equal(leaf[0], leaf[2])
        assert not np.array_equal(leaf[0], leaf[1])


@pytest.mark.slow
def test_rate_and_distortion_are_those_of_the_linear_model_in_closed_form():
    model = linear.linear_vae(latent=1)
    loadings, xs = jnp.array([[1.0], [0.5]]), jax.random.normal(jax.random.key(0), (50, 2))
    params = linear.parameters(loadings, jnp.zeros(2), jnp.asarray(0.7))
    points = measure(model, jax.tree.map(lambda leaf: leaf[None, None], params), xs, num_samples=2000)
    mean = np.asarray(xs @ params["encoder"]["V"].T)[:, 0]
    variance = math.exp(2 * float(params["encoder"]["log_scale"][0]))
    rate = np.mean(0.5 * (mean**2 + variance - 1 - math.log(variance)))
    np.testing.assert_allclose(points.rate, [[rate]], rtol=1e-5)
    # The exact posterior makes -ELBO the exact -log p(x) for every draw's mean weight.
    exact = -np.mean([float(linear.log_marginal(params, x)) for x in xs])
    one_draw = jax.vmap(lambda key, x: bounds.draw_terms(model, key, params, x, num_samples=2000).log_likelihood)
    spread = one_draw(jax.random.split(jax.random.key(1), 50), xs)
    error = float(np.std(np.asarray(spread), axis=1).mean() / math.sqrt(2000 * 50))
    assert abs(points.rate[0, 0] + points.distortion[0, 0] - exact) < 5 * error


def test_one_seed_has_no_standard_error():
    numbers = row(0, 1.0, {"test": Points(np.array([[2.0]]), np.array([[3.0]]))})
    assert numbers["test_negative_elbo"] == 5
    assert numbers["test_rate_standard_error"] is None


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (Options(betas=(1.0, -0.5)), "--betas -0.5 must be zero or a positive number"),
        (Options(betas=(1.0, math.nan)), "--betas nan must be zero or a positive"),
        (Options(betas=(1.0, math.inf)), "--betas inf must be zero or a positive"),
        (Options(betas=(1.0, 1.0)), "--betas has 1 twice"),
        (Options(betas=(1.0,)), "two --betas or more"),
        (Options(num_samples=0), "--num-samples 0 must be at least 1"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(options, sentence):
    with pytest.raises(RunError, match=sentence):
        check(options)


def test_nothing_is_written_on_bad_input_and_nothing_overwritten(tmp_path):
    place = tmp_path / "out"
    with pytest.raises(RunError, match="--num-seeds 0 must be at least 1"):
        main(Options(num_seeds=0, folder=place))
    with pytest.raises(ValueError, match="no data set"):
        main(Options(data=Images(name="nothing"), folder=place))
    assert not place.exists()
    place.mkdir()
    (place / "mine.txt").write_text("kept")
    with pytest.raises(RunError, match="exists already"):
        main(Options(folder=place))
    assert [path.name for path in place.iterdir()] == ["mine.txt"]


@pytest.mark.slow
def test_a_divergence_is_told_and_leaves_no_folder(tmp_path, capsys):
    options = Options(
        betas=(1.0, 2.0),
        num_seeds=1,
        epochs=2,
        model=Model(latent=2, likelihood=likelihoods.GaussianShared()),
        optimizer=Optimizer(lr=1e6),
        folder=tmp_path / "out",
    )
    assert main(options) == 1
    assert "is not finite" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
