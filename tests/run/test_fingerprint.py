"""A run knows the data that it was begun on: on other data it neither goes on nor is asked, and no file changes."""

import json
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxvae.recipes import class_conditional, plain
from jaxvae.run import RunError, launch
from jaxvae.run.data import Dataset, Split
from jaxvae.run.folder import about as about_file
from jaxvae.run.folder import lock
from jaxvae.run.folder.fingerprint import check, fingerprint
from jaxvae.run.folder.opening import data_of, open_run
from jaxvae.run.options import networks
from jaxvae.run.options.images import Images
from jaxvae.run.recipe import about
from jaxvae.run.settings import Evaluation

REPOSITORY = Path(__file__).parents[2]
IMAGES = np.random.default_rng(0).integers(0, 256, (60, 6, 5), np.uint8)
QUICK = {"epochs": 1, "batch_size": 10, "evaluation": Evaluation(num_samples=0)}


@pytest.fixture(autouse=True)
def _standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


def train(kind, config, runs, **place):
    options = launch.options_of(kind)
    settings = {field.name: getattr(config, field.name) for field in fields(config)}
    return launch.run(kind, options(**settings, runs=runs, name="run", **place))


def contents(folder):
    """Every file of a folder, to the byte."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and path.name != lock.NAME}


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A finished run on images of one's own, with labels, and a way to put other arrays in their place."""
    place = tmp_path_factory.mktemp("own")
    data = {"images": IMAGES, "labels": np.arange(60) % 3}
    np.savez(place / "own.npz", **data)
    model = class_conditional.Model(networks.Small(width=8), latent=2, classes=4)
    config = class_conditional.Config(model=model, data=Images(str(place / "own.npz")), **QUICK)
    with jax.numpy_dtype_promotion("standard"):
        assert train(class_conditional.KIND, config, place) == 0

    def put(**changes):
        np.savez(place / "own.npz", **(data | changes))
        return config

    yield place / "run", put
    put()


OTHERS = {
    "other images": ({"images": IMAGES[::-1]}, "the training examples are others; the validation examples are others"),
    "one other image": ({"images": np.concatenate([IMAGES[:1] ^ 1, IMAGES[1:]])}, "the test examples are others"),
    "another number": ({"images": IMAGES[:50], "labels": np.arange(50) % 3}, "48 training examples then and 40 now"),
    "another size": ({"images": IMAGES[:, :5]}, r"training examples of 6 x 5 x 1 .uint8. then and of 5 x 5 x 1"),
    "another type": ({"images": IMAGES / 255.0}, r"of 6 x 5 x 1 .uint8. then and of 6 x 5 x 1 .float32. now"),
    "other labels": ({"labels": (np.arange(60) + 1) % 3}, "the labels of the training examples are others"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_run_does_not_go_on_with_other_data_and_keeps_its_files(name, begun):
    folder, put = begun
    changes, sentence = OTHERS[name]
    before, config = contents(folder), put(**changes)
    with pytest.raises(RunError, match=f"run was begun on other data than own.npz is now: .*{sentence}"):
        train(class_conditional.KIND, config, folder.parent, resume=True)
    with pytest.raises(RunError, match=sentence):
        data_of(open_run(folder))
    assert contents(folder) == before


def test_a_run_goes_on_with_its_own_data_written_anew_and_its_about_is_not_touched(begun):
    folder, put = begun
    config, before = put(), (folder / "about.json").stat().st_mtime_ns
    assert train(class_conditional.KIND, config, folder.parent, resume=True) == 0
    assert (folder / "about.json").stat().st_mtime_ns == before
    assert data_of(open_run(folder)).train.size == 48


def test_a_run_killed_before_its_configuration_was_written_is_begun_anew(tmp_path):
    np.save(tmp_path / "own.npy", IMAGES)
    config = plain.Config(
        model=plain.Model(networks.Small(width=8), latent=2), data=Images(str(tmp_path / "own.npy")), **QUICK
    )
    (tmp_path / "run").mkdir()
    for name in lock.BEFORE_A_RUN:
        (tmp_path / "run" / name).write_text("cut")
    assert train(plain.KIND, config, tmp_path) == 0
    assert json.loads((tmp_path / "run" / "about.json").read_text())["data"]["train"]["count"] == 48


def test_at_the_command_line_it_is_one_sentence(begun):
    folder, put = begun
    put(images=IMAGES[:, :, :4])
    words = ["class-conditional", "--runs", str(folder.parent), "--name", "run", "--resume"]
    done = subprocess.run(
        [sys.executable, "-m", "jaxvae", "train", *words], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert re.fullmatch(r"reading \S+own\.npz\n", done.stdout)
    assert done.stderr.startswith(f"error: {folder} was begun on other data than own.npz is now: training examples of")
    assert len(done.stderr.splitlines()) == 1


# --- the sums


def of(examples, **more):
    return Dataset("made", "whole", Split(examples, **more), None, Split(jax.tree.map(lambda leaf: leaf[:2], examples)))


def stored(place, dataset):
    about_file.write(about(dataset), place / "about.json", fingerprint(dataset))


def test_floats_may_differ_in_their_last_digits_and_no_more(tmp_path):
    """Codes that a network computes are examples too, and no two machines round alike."""
    codes = np.random.default_rng(0).normal(size=(2000, 7)).astype(np.float32)
    stored(tmp_path, of((codes, np.zeros(2000, np.int32))))
    check(tmp_path, of((codes * np.float32(1 + 1e-6), np.zeros(2000, np.int32))))
    others = [codes[::-1], np.roll(codes, 1, axis=1), codes + np.float32(0.01), np.concatenate([-codes[:9], codes[9:]])]
    for other in others:
        with pytest.raises(RunError, match="the training examples are others"):
            check(tmp_path, of((other, np.zeros(2000, np.int32))))


def test_of_large_arrays_a_sample_from_all_over_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("jaxvae.run.folder.fingerprint.SAMPLE", 1000)
    images = np.random.default_rng(0).integers(0, 256, (1000, 10), np.uint8)
    stored(tmp_path, of(images))
    check(tmp_path, of(images.copy()))
    with pytest.raises(RunError, match="the training examples are others"):
        check(tmp_path, of(np.concatenate([images[:-1], 255 - images[-1:]])))


def test_facts_and_a_missing_split_count_too_and_the_name_does_not(tmp_path):
    dataset = of(IMAGES)._replace(facts={"vocabulary": 12})
    stored(tmp_path, dataset)
    check(tmp_path, dataset._replace(name="moved"))
    with pytest.raises(RunError, match="vocabulary 12 then and 13 now"):
        check(tmp_path, dataset._replace(facts={"vocabulary": 13}))
    with pytest.raises(RunError, match="no validation examples then"):
        check(tmp_path, dataset._replace(valid=Split(IMAGES[:3])))


def test_a_folder_without_a_fingerprint_is_held_to_its_shapes(tmp_path):
    about_file.write(about(of(IMAGES)), tmp_path / "about.json")
    check(tmp_path, of(IMAGES[::-1]))
    with pytest.raises(RunError, match=r"examples of 6 x 5 .uint8. then and of 5 x 5 .uint8. now"):
        check(tmp_path, of(IMAGES[:, :5]))
