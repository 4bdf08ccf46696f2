"""Anomaly detection with a run: its scores, the error of an AUROC, and a class that the model never saw."""

import json
import math
from dataclasses import replace

import jax
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from jaxvae.questions.anomaly import Options, main, other_images
from jaxvae.questions.parts.anomaly_scores import auroc_standard_error, png_nats
from jaxvae.recipes import plain
from jaxvae.run import RunError, launch
from jaxvae.run.folder.opening import open_run
from jaxvae.run.options import likelihoods
from jaxvae.run.options.images import Images, binarization
from jaxvae.run.settings import Checkpoints, Evaluation


@pytest.fixture(autouse=True)
def _standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A quick model of the digits, and beside it a data set of noise of their size."""
    runs = tmp_path_factory.mktemp("runs")
    noise = np.random.default_rng(0).integers(0, 256, size=(60, 8, 8, 1), dtype=np.uint8)
    np.savez(runs / "noise.npz", train=noise[:30], test=noise[30:])
    np.save(runs / "wide.npy", np.random.default_rng(1).integers(0, 256, size=(20, 9, 8, 1), dtype=np.uint8))
    options = launch.options_of(plain.KIND)(
        model=plain.Model(latent=4),
        epochs=15,
        evaluation=Evaluation(num_samples=0),
        checkpoints=Checkpoints(seconds=60),
        runs=runs,
        name="digits",
    )
    with jax.numpy_dtype_promotion("standard"):
        assert launch.run(plain.KIND, options) == 0
    return runs / "digits"


@pytest.mark.slow
def test_noise_is_an_anomaly_of_digits(run):
    assert main(Options(run, other=str(run.parent / "noise.npz"), num_samples=20, examples=60)) is None
    numbers = json.loads((run / "anomaly-noise.json").read_text())
    assert (run / "figures" / "anomaly-noise.png").is_file()
    assert "Anomalies: noise" in (run / "report.html").read_text()
    assert numbers["likelihood"]["auroc"] > 0.95
    assert numbers["protocol"]["normal_examples"] == 60
    assert numbers["protocol"]["anomalous_examples"] == 30
    assert numbers["protocol"]["binarisation_of_anomalies"] == "dynamic"
    assert numbers["mean_negative_log_likelihood_anomalous"] > numbers["mean_negative_log_likelihood_normal"]


@pytest.mark.slow
def test_a_class_is_left_out_of_training_and_found(run):
    options = Options(run, held_out_class=3, num_samples=5, examples=40)
    assert main(options) is None
    twin = run.parent / "digits-without-3"
    trained = open_run(twin)
    own = trained.kind.data(trained.config)
    assert not any(np.isin(3, split.labels) for split in (own.train, own.valid, own.test))
    whole = plain.KIND.data(open_run(run).config)
    assert len(own.train.examples) == np.sum(whole.train.labels != 3)
    assert trained.config.model == open_run(run).config.model
    numbers = json.loads((twin / "anomaly-class-3.json").read_text())
    assert numbers["protocol"]["anomalies"] == "class 3"
    assert numbers["protocol"]["anomalous_examples"] == min(40, np.sum(whole.test.labels == 3))
    assert not (run / "anomaly-class-3.json").exists()

    checkpoints = {path: path.stat().st_mtime_ns for path in (twin / "checkpoints").iterdir()}
    assert main(options) is None
    assert {path: path.stat().st_mtime_ns for path in (twin / "checkpoints").iterdir()} == checkpoints
    assert json.loads((twin / "anomaly-class-3.json").read_text()) == numbers

    written = (twin / "config.json").read_text()
    (twin / "config.json").write_text(written.replace('"epochs": 15', '"epochs": 16'))
    with pytest.raises(RunError, match="was trained with other values of --epochs"):
        main(options)
    (twin / "config.json").write_text(written)


def test_other_data_gets_the_pixels_that_the_likelihood_needs(run):
    opened = open_run(run)
    noise = str(run.parent / "noise.npz")
    for binarize, expected in (("dynamic", "dynamic"), ("static", "static"), ("none", "dynamic")):
        config = replace(opened.config, data=Images(name="digits", binarize=binarize))
        images, theirs = other_images(opened._replace(config=config), noise)
        word = binarization(theirs)
        assert word == expected
        assert set(np.unique(images.examples)) == {0, 255} if word == "static" else len(np.unique(images.examples)) > 2
    of_grey = plain.Model(likelihood=likelihoods.GaussianShared())
    grey = replace(opened.config, data=Images(binarize="none"), model=of_grey)
    assert binarization(other_images(opened._replace(config=grey), noise)[1]) == "none"


def test_what_cannot_be_is_refused_and_nothing_written(run):
    before = sorted(run.parent.rglob("*"))
    for options, sentence in [
        (Options(run), "--other DATASET, or --held-out-class CLASS, and not both"),
        (Options(run, other="digits", held_out_class=3), "not both"),
        (Options(run, other="digits", num_samples=0), "--num-samples 0 must be at least 1"),
        (Options(run, other="digits", examples=1), "--examples 1 must be at least 2"),
        (Options(run, other="digits", seed=-1), "--seed -1 must be at least 0"),
        (Options(run.parent, other="digits"), "is no run folder"),
        (Options(run, other=str(run.parent / "wide.npy")), "9 x 8 x 1, and the run of 8 x 8 x 1"),
        (Options(run, held_out_class=10), "is no class of digits, whose classes are 0, 1, 2"),
    ]:
        with pytest.raises(RunError, match=sentence):
            main(options)
    assert sorted(run.parent.rglob("*")) == before


@pytest.mark.slow
def test_the_standard_error_of_an_auroc_is_that_of_repeated_experiments():
    # Exponential scores are what the formula is derived for: the area is then r / (1 + r).
    random = np.random.default_rng(0)
    truth = np.repeat([0, 1], [50, 80])
    areas = [
        roc_auc_score(truth, np.concatenate([random.exponential(1, 50), random.exponential(3, 80)]))
        for _ in range(1500)
    ]
    assert np.mean(areas) == pytest.approx(0.75, abs=5 * np.std(areas) / math.sqrt(1500))
    assert auroc_standard_error(0.75, positives=80, negatives=50) == pytest.approx(np.std(areas), rel=0.1)
    assert auroc_standard_error(1.0, positives=5, negatives=5) == 0


def test_png_length_orders_images_by_complexity():
    random = np.random.default_rng(0)
    flat, noise = np.zeros((3, 28, 28, 1)), random.random((3, 28, 28, 1))
    assert np.all(png_nats(flat) < png_nats(noise))
    assert np.all(png_nats(noise) > 28 * 28 * 8 * math.log(2))  # noise cannot be compressed, and a file has a header
    bits = (noise > 0.5).astype(float)
    assert np.all(png_nats(bits) > 28 * 28 * math.log(2))
    assert np.all(png_nats(bits) < 2 * (28 * 28 + 8 * 100) * math.log(2))  # one bit a pixel, not eight
    assert png_nats(random.random((2, 5, 6, 3))).shape == (2,)
    assert png_nats(random.random((2, 5, 6, 2))).shape == (2,)
