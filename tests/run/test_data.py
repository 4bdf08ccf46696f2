"""The data layer: against the original files where they are, and against files made here."""

import functools
import gzip
import hashlib
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxvae.run.data import DataError, Dataset, Split, arrays, originals
from jaxvae.run.data.binarization import binarized
from jaxvae.run.data.loading import load
from jaxvae.run.data.protocols import STANDARD

SOURCE = Path(os.environ.get("JAXVAE_DATA_SOURCE") or Path(__file__).resolve().parents[3] / "shared" / "data").resolve()


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch):
    for variable in ("JAXVAE_DATA", "JAXVAE_DATA_SOURCE", "TFDS_DATA_DIR"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder of prepared data for all tests, so that data sets that could be mixed up are beside each other."""
    return tmp_path_factory.mktemp("prepared")


def needs(name):
    return pytest.mark.skipif(
        not (SOURCE / name).is_dir(), reason=f"the originals of {name} are not in {SOURCE}; set JAXVAE_DATA_SOURCE"
    )


def run_python(code, *arguments, **variables):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | {"JAX_PLATFORMS": "cpu"} | variables,
        cwd=Path(__file__).resolve().parents[2],
    )


# --- the standard data sets, against their original bytes


def raw_idx(path, header):
    return np.frombuffer(gzip.open(path).read()[header:], np.uint8)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("mnist", marks=needs("mnist")),
        pytest.param("fashion_mnist", marks=[needs("fashion_mnist"), pytest.mark.slow]),
    ],
)
def test_every_image_and_label_is_the_original_one(name, folder):
    before = {path: path.stat() for path in (SOURCE / name).iterdir()}
    data = load(name, split="60k/10k", source=SOURCE, folder=folder)
    for split, prefix, length in ((data.train, "train", 60_000), (data.test, "t10k", 10_000)):
        images = raw_idx(SOURCE / name / f"{prefix}-images-idx3-ubyte.gz", 16).reshape(length, 28, 28, 1)
        labels = raw_idx(SOURCE / name / f"{prefix}-labels-idx1-ubyte.gz", 8)
        assert split.examples.dtype == np.uint8
        np.testing.assert_array_equal(split.examples, images)
        np.testing.assert_array_equal(split.labels, labels)
    assert data.valid is None
    assert {path: path.stat().st_mtime_ns for path in (SOURCE / name).iterdir()} == {
        path: status.st_mtime_ns for path, status in before.items()
    }


@needs("mnist")
def test_the_split_with_validation_is_the_same_images(folder):
    whole = load("mnist", split="60k/10k", source=SOURCE, folder=folder)
    data = load("mnist", source=SOURCE / "mnist", folder=folder)
    assert (data.name, data.split) == ("mnist", "50k/10k/10k")
    assert [len(part.examples) for part in (data.train, data.valid, data.test)] == [50_000, 10_000, 10_000]
    np.testing.assert_array_equal(np.concatenate([data.train.labels, data.valid.labels]), whole.train.labels)
    np.testing.assert_array_equal(data.valid.examples, whole.train.examples[50_000:])
    assert isinstance(data.train.examples, np.memmap)
    assert not data.train.examples.flags.writeable


@needs("binarized_mnist")
def test_binarized_mnist_written_as_text_is_larochelles_file(folder):
    data = load("binarized_mnist", source=SOURCE, folder=folder)
    published = {
        "train": "ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d",
        "valid": "1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2",
        "test": "e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c",
    }
    for part, sha256 in published.items():
        images, labels = getattr(data, part)
        assert labels is None
        assert set(np.unique(images)) == {0, 255}
        text = np.full((len(images), 2 * 784), ord(" "), np.uint8)
        text[:, ::2] = images.reshape(-1, 784) // 255 + ord("0")
        text[:, -1] = ord("\n")
        assert hashlib.sha256(text).hexdigest() == sha256
    for same in ("static", "threshold"):
        again = load("binarized_mnist", source=SOURCE, folder=folder, binarize=same)
        np.testing.assert_array_equal(again.test.examples, data.test.examples)
    with pytest.raises(DataError, match="already 0 or 1"):
        load("binarized_mnist", source=SOURCE, folder=folder, binarize="dynamic")


@needs("omniglot")
@pytest.mark.slow
def test_omniglot_is_its_drawings_averaged_over_areas(folder):
    data = load("omniglot", source=SOURCE, folder=folder)
    whole = load("omniglot", split="19280/13180", source=SOURCE, folder=folder)
    assert [len(part.examples) for part in (data.train, data.valid, data.test)] == [17_352, 1_928, 13_180]
    assert len(whole.train.examples) == 19_280
    assert whole.valid is None
    assert len(np.unique(whole.train.labels)) == 964
    assert len(np.unique(data.test.labels)) == 659
    assert not set(data.train.labels) & set(data.test.labels)
    np.testing.assert_array_equal(np.bincount(data.valid.labels), np.full(964, 2))

    with zipfile.ZipFile(SOURCE / "omniglot" / "images_evaluation.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".png")][::97]
        for name in names:
            character, drawer = (int(number) for number in Path(name).stem.split("_"))
            ink = 1.0 - np.asarray(Image.open(archive.open(name)), float)
            (place,) = np.flatnonzero(data.test.labels == character - 1)[[drawer - 1]]
            # 105 * 4 = 28 * 15: of each pixel's 4 x 4 copies, means over 15 x 15.
            mean = ink.repeat(4, axis=0).repeat(4, axis=1).reshape(28, 15, 28, 15).mean((1, 3))
            assert np.abs(data.test.examples[place, ..., 0] - 255 * mean).max() <= 0.5 + 1e-9
    assert 0.05 < data.train.examples.mean() / 255 < 0.15  # a thin pen on an empty sheet


@needs("frey_faces")
def test_frey_faces_parts_are_all_frames_once(folder):
    data = load("frey_faces", source=SOURCE, folder=folder)
    assert data.split == "1565/200/200"
    parts = [part.examples for part in (data.train, data.valid, data.test)]
    assert [len(part) for part in parts] == [1565, 200, 200]
    frames = np.load(SOURCE / "frey_faces" / "frey_faces.npz")["images"]
    assert sorted(face.tobytes() for face in np.concatenate(parts)) == sorted(face.tobytes() for face in frames)
    # Frames of a film: unshuffled, the test frames would be neighbours.
    assert parts[2].tobytes() != frames[-200:].tobytes()


@needs("frey_faces")
def test_frey_faces_are_the_same_from_the_origins_matlab_file(tmp_path):
    from scipy.io import savemat

    from jaxvae.run.data.frey_faces import read_faces

    frames = np.load(SOURCE / "frey_faces" / "frey_faces.npz")["images"]
    savemat(tmp_path / "frey_rawface.mat", {"ff": frames.reshape(-1, 560).T})
    np.testing.assert_array_equal(read_faces(tmp_path / "frey_rawface.mat"), frames)
    savemat(tmp_path / "frey_rawface.mat", {"ff": frames[::-1].reshape(-1, 560).T})
    with pytest.raises(DataError, match="2438ba4f"):
        load("frey_faces", source=tmp_path, folder=tmp_path / "prepared")


def test_text_of_binary_digits_is_read_and_refused_when_cut(tmp_path):
    from jaxvae.run.data.binarized_mnist import read_amat

    bits = np.random.default_rng(0).integers(0, 2, (3, 784))
    path = tmp_path / "digits.amat"
    np.savetxt(path, bits, fmt="%d")
    np.testing.assert_array_equal(read_amat(path), bits)
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(DataError, match="784 digits"):
        read_amat(path)


def test_digits_are_scikit_learns_in_a_fixed_order():
    from sklearn.datasets import load_digits

    data = load("digits")
    parts = (data.train, data.valid, data.test)
    assert [len(part.examples) for part in parts] == [1297, 200, 300]
    back = np.concatenate([part.examples for part in parts]).reshape(-1, 64) * (16 / 255)
    labels = np.concatenate([part.labels for part in parts])
    content = load_digits()
    ours = sorted(zip(map(tuple, np.round(back)), labels, strict=True))
    theirs = sorted(zip(map(tuple, content.data), content.target, strict=True))
    assert ours == theirs
    assert set(np.unique(data.train.examples)) == {round(v * 255 / 16) for v in range(17)}


# --- where the originals come from


def test_checksums_are_those_of_tensorflow_datasets():
    import tensorflow_datasets as tfds

    ours = {row.address: (row.size, row.sha256, row.name) for row in originals.registered()}
    root = Path(tfds.__file__).parent
    theirs = {}
    for path in (
        "url_checksums/mnist.txt",
        "url_checksums/fashion_mnist.txt",
        "url_checksums/omniglot.txt",
        "datasets/binarized_mnist/checksums.tsv",
    ):
        for line in (root / path).read_text().splitlines():
            address, size, sha256, name = line.split("\t")
            theirs[address] = (int(size), sha256, name)
    for name, standard in STANDARD.items():
        for address in standard.originals[0].values() if standard.originals else ():
            if name != "frey_faces":  # no sum was published; the frames themselves are verified
                assert ours[address] == theirs[address]


def test_builders_have_registered_checksums_and_leave_the_stock_ones_alone():
    import tensorflow_datasets as tfds

    from jaxvae.run.data.idx import MNIST

    assert set(MNIST.url_infos) == {row.address for row in originals.registered()}
    assert tfds.builder_cls("mnist").__module__.startswith("tensorflow_datasets.")


@needs("mnist")
def test_a_wrong_file_is_refused_with_both_sums(tmp_path):
    for path in (SOURCE / "mnist").glob("*.gz"):
        (tmp_path / path.name).symlink_to(path)
    labels = tmp_path / "t10k-labels-idx1-ubyte.gz"
    wrong = bytearray(labels.read_bytes())
    wrong[100] ^= 1
    labels.unlink()
    labels.write_bytes(wrong)
    with pytest.raises(DataError) as caught:
        load("mnist", source=tmp_path, folder=tmp_path / "prepared")
    assert "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6" in str(caught.value)
    assert hashlib.sha256(wrong).hexdigest() in str(caught.value)
    assert not list((tmp_path / "prepared").rglob("*.npy"))


@needs("mnist")
def test_mnist_is_no_fashion_mnist(tmp_path):
    with pytest.raises(DataError, match="SHA-256"):
        load("fashion_mnist", source=SOURCE / "mnist", folder=tmp_path)


def test_a_source_without_the_files_says_which(tmp_path):
    with pytest.raises(DataError, match=r"images_background.zip, images_evaluation.zip: put the files there"):
        load("omniglot", source=tmp_path, folder=tmp_path / "prepared")


@needs("frey_faces")
def test_environment_variables_name_source_and_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXVAE_DATA_SOURCE", str(SOURCE))
    monkeypatch.setenv("JAXVAE_DATA", str(tmp_path))
    assert len(load("frey_faces").train.examples) == 1565
    assert (tmp_path / "arrays" / "frey_faces").is_dir()


@needs("frey_faces")
def test_a_folder_that_cannot_be_written_gets_a_sentence(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DataError, match="choose another folder with folder= or JAXVAE_DATA"):
        load("frey_faces", source=SOURCE, folder=tmp_path / "file")


def served_from(monkeypatch, address):
    standard = STANDARD["frey_faces"]
    monkeypatch.setitem(STANDARD, "frey_faces", standard._replace(originals=({"packed": address},)))


def test_without_a_network_a_sentence_comes_soon(tmp_path, monkeypatch):
    with socket.socket() as closed:  # bound but not listening: a port that nobody answers
        closed.bind(("127.0.0.1", 0))
        served_from(monkeypatch, f"http://127.0.0.1:{closed.getsockname()[1]}/frey_faces.npz")
        start = time.monotonic()
        with pytest.raises(DataError, match=r"cannot be downloaded.*refused.*JAXVAE_DATA_SOURCE"):
            load("frey_faces", folder=tmp_path)
        assert time.monotonic() - start < 10


def test_an_origin_that_never_answers_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/file.npz"
        with pytest.raises(DataError, match="cannot be downloaded"):
            originals.check_reachable("frey_faces", {"packed": address}, seconds=0.3)


@pytest.fixture
def server(tmp_path):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    (tmp_path / "served").mkdir()
    handler = functools.partial(Quiet, directory=tmp_path / "served")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield tmp_path / "served", f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@needs("frey_faces")
def test_a_download_is_verified_and_prepared(server, tmp_path, monkeypatch, folder):
    served, address = server
    served_from(monkeypatch, f"{address}/frey_faces.npz")
    with pytest.raises(DataError, match="HTTP Error 404"):
        load("frey_faces", folder=tmp_path / "a")
    np.savez(served / "frey_faces.npz", images=np.zeros((1965, 28, 20), np.uint8))
    with pytest.raises(DataError, match="2438ba4f"):
        load("frey_faces", folder=tmp_path / "b")
    shutil.copy(SOURCE / "frey_faces" / "frey_faces.npz", served / "frey_faces.npz")
    data = load("frey_faces", folder=tmp_path / "c")
    np.testing.assert_array_equal(data.test.examples, load("frey_faces", source=SOURCE, folder=folder).test.examples)


@needs("frey_faces")
def test_a_download_that_breaks_off_is_refused_and_begun_again(server, tmp_path, monkeypatch, folder):
    served, address = server
    served_from(monkeypatch, f"{address}/frey_faces.npz")
    shutil.copy(SOURCE / "frey_faces" / "frey_faces.npz", served / "frey_faces.npz")

    def half(handler, source, outputfile):  # after the header that promises all of it
        outputfile.write(source.read(100_000))

    with monkeypatch.context() as broken:
        broken.setattr(http.server.SimpleHTTPRequestHandler, "copyfile", half)
        with pytest.raises(DataError, match="frey_faces cannot be prepared"):
            load("frey_faces", folder=tmp_path)
    data = load("frey_faces", folder=tmp_path)  # in the same folder: nothing of the half is taken for whole
    np.testing.assert_array_equal(data.test.examples, load("frey_faces", source=SOURCE, folder=folder).test.examples)


# --- the array on disk


def test_an_array_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "array.npy"

    def fail():
        with arrays.written(path, (4, 3), np.uint8) as array:
            array[:2] = 7
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail()
    assert list(tmp_path.iterdir()) == []
    with arrays.written(path, (4, 3), np.uint8) as array:
        array[:] = 7
    assert arrays.read(path, (4, 3)).tolist() == [[7, 7, 7]] * 4
    assert arrays.read(path, (4, 4)) is None
    for length in (len(path.read_bytes()) - 1, 60, 3, 0):
        path.write_bytes(path.read_bytes()[:length])
        assert arrays.read(path) is None


@needs("frey_faces")
def test_truncated_arrays_are_made_again_and_truncated_records_refused(tmp_path):
    first = load("frey_faces", source=SOURCE, folder=tmp_path)
    faces = np.array(first.train.examples)
    (path,) = (tmp_path / "arrays" / "frey_faces").rglob("*images.npy")
    path.write_bytes(path.read_bytes()[:100_000])
    np.testing.assert_array_equal(load("frey_faces", folder=tmp_path).train.examples, faces)

    path.unlink()
    (records,) = (tmp_path / "tfds").rglob("*.array_record*")
    records.write_bytes(records.read_bytes()[:100_000])
    with pytest.raises(DataError, match="delete the first folder"):
        load("frey_faces", folder=tmp_path)


@needs("frey_faces")
def test_two_processes_prepare_at_once(tmp_path):
    code = (
        "import sys, hashlib; from jaxvae.run.data.loading import load\n"
        "data = load('frey_faces', source=sys.argv[1], folder=sys.argv[2])\n"
        "print(hashlib.sha256(data.train.examples).hexdigest(), 'tensorflow_datasets' in sys.modules)"
    )
    results = [None, None]

    def work(number):
        results[number] = run_python(code, SOURCE, tmp_path)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        assert result.returncode == 0, result.stderr
    outputs = {result.stdout.split()[0] for result in results}
    expected = load("frey_faces", folder=tmp_path).train.examples
    assert outputs == {hashlib.sha256(np.ascontiguousarray(expected)).hexdigest()}


@needs("mnist")
def test_neither_the_second_load_nor_digits_import_tensorflow_or_its_datasets(folder):
    load("mnist", source=SOURCE, folder=folder)
    code = (
        "import sys; from jaxvae.run.data.loading import load\n"
        "print(load('mnist', folder=sys.argv[1]).train.examples.shape, load('digits').train.examples.shape)\n"
        "print([name for name in ('tensorflow', 'tensorflow_datasets') if name in sys.modules])"
    )
    result = run_python(code, folder)
    assert result.stdout == "(50000, 28, 28, 1) (1297, 8, 8, 1)\n[]\n", result.stderr


# --- binarisation


def constant(grey, dtype=np.uint8, length=2000):
    split = Split(np.full((length, 8, 8, 1), grey, dtype), None)
    return Dataset("constant", "none", split, split, split)


def test_static_draws_are_the_same_again_and_have_the_grey_mean():
    grey = load("digits")
    drawn, again = load("digits", binarize="static"), load("digits", binarize="static")
    for part in ("train", "valid", "test"):
        images = getattr(drawn, part).examples
        np.testing.assert_array_equal(images, getattr(again, part).examples)
        assert images.dtype == np.uint8
        assert set(np.unique(images)) == {0, 255}
        probability = getattr(grey, part).examples / 255
        error = np.sqrt((probability * (1 - probability)).sum()) / probability.size
        assert abs(images.mean() / 255 - probability.mean()) < 5 * error
        # A pixel that is surely 0 or 1 stays so.
        assert (images[probability == 0] == 0).all()
        assert (images[probability == 1] == 255).all()
    np.testing.assert_array_equal(drawn.train.labels, grey.train.labels)


@pytest.mark.parametrize(("grey", "dtype"), [(1, np.uint8), (128, np.uint8), (254, np.uint8), (0.3, np.float32)])
def test_static_draws_are_bernoulli_and_independent_between_parts(grey, dtype):
    data = binarized(constant(grey, dtype), "static")
    probability = grey / 255 if dtype == np.uint8 else grey
    bits = [part.examples / 255 for part in (data.train, data.valid, data.test)]
    size = bits[0].size
    for bit in bits:
        error = np.sqrt(probability * (1 - probability) / size)
        assert abs(bit.mean() - probability) < 5 * error
    for one, other in ((0, 1), (0, 2), (1, 2)):
        both = probability**2
        error = np.sqrt(both * (1 - both) / size)
        assert abs((bits[one] * bits[other]).mean() - both) < 5 * error
    # Nor are neighbouring images alike, within and across the pieces in which they are drawn.
    for step in (1, 1000):
        both = probability**2
        error = np.sqrt(both * (1 - both) / (size - step * 64))
        assert abs((bits[0][step:] * bits[0][:-step]).mean() - both) < 5 * error


@needs("mnist")
def test_static_mnist_has_the_grey_mean(folder):
    grey = load("mnist", source=SOURCE, folder=folder).test.examples / 255
    drawn = load("mnist", source=SOURCE, folder=folder, binarize="static").test.examples
    assert abs(drawn.mean() / 255 - grey.mean()) < 5 * np.sqrt((grey * (1 - grey)).sum()) / grey.size


@pytest.mark.parametrize(
    ("grey", "dtype", "expected"),
    [(127, np.uint8, 0), (128, np.uint8, 255), (0.5, np.float32, 0), (0.51, np.float32, 255)],
)
def test_threshold_is_above_a_half(grey, dtype, expected):
    images = binarized(constant(grey, dtype, 1), "threshold").test.examples
    assert images.dtype == np.uint8
    assert (images == expected).all()


def test_dynamic_leaves_the_grey_values_to_the_step():
    np.testing.assert_array_equal(load("digits", binarize="dynamic").train.examples, load("digits").train.examples)


def test_no_validation_stays_none():
    data = constant(128)._replace(valid=None)
    for way in ("static", "threshold"):
        assert binarized(data, way).valid is None


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"name": "digits", "split": "1/2/3"}, "no split '1/2/3': choose one of 1297/200/300"),
        ({"name": "mnist", "split": "55k/5k/10k"}, "choose one of 50k/10k/10k, 60k/10k"),
        ({"name": "digits", "binarize": "random"}, "choose one of none, static, dynamic, threshold"),
        ({"name": "fashion-mnist"}, "did you mean 'fashion_mnist'"),
    ],
)
def test_unknown_words_are_answered_with_the_known_ones(arguments, sentence):
    with pytest.raises(DataError, match=sentence):
        load(**arguments)


# --- users' own arrays


def own(path):
    """All images and labels of a data set, in the order of the original file."""
    data = load(str(path))
    parts = (data.train, data.valid, data.test)
    rows = np.argsort(np.random.RandomState(0).permutation(sum(len(part.examples) for part in parts)))
    labels = None if data.train.labels is None else np.concatenate([part.labels for part in parts])[rows]
    return data, np.concatenate([part.examples for part in parts])[rows], labels


def test_an_array_of_bytes_is_split_without_loss(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (57, 5, 4, 3), np.uint8)
    np.save(tmp_path / "cats.npy", images)
    data, back, labels = own(tmp_path / "cats.npy")
    assert (data.name, data.split) == ("cats.npy", "80/10/10")
    assert [len(part.examples) for part in (data.train, data.valid, data.test)] == [47, 5, 5]
    np.testing.assert_array_equal(back, images)
    assert labels is None
    np.testing.assert_array_equal(load(str(tmp_path / "cats.npy")).train.examples, data.train.examples)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_become_float32_in_0_1(tmp_path, dtype):
    images = np.linspace(0, 1, 20 * 6).reshape(20, 2, 3).astype(dtype)
    np.save(tmp_path / "floats.npy", images)
    _, back, _ = own(tmp_path / "floats.npy")
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, images.astype(np.float32)[..., None])


def test_vectors_become_columns_of_pixels(tmp_path):
    vectors = np.random.default_rng(0).random((12, 7)).astype(np.float32)
    np.save(tmp_path / "vectors.npy", vectors)
    data, back, _ = own(tmp_path / "vectors.npy")
    assert data.train.examples.shape == (10, 7, 1, 1)
    np.testing.assert_array_equal(back[:, :, 0, 0], vectors)


@pytest.mark.parametrize("key", ["x", "images"])
def test_named_arrays_with_labels(tmp_path, key):
    images = np.random.default_rng(0).integers(0, 256, (30, 4, 4), np.uint8)
    np.savez_compressed(tmp_path / "named.npz", **{key: images, "labels": np.arange(30)})
    _, back, labels = own(tmp_path / "named.npz")
    np.testing.assert_array_equal(back[..., 0], images)
    np.testing.assert_array_equal(labels, np.arange(30))


def test_a_file_with_its_own_split(tmp_path):
    images = np.random.default_rng(0).random((9, 4, 4))
    content = {"train": images[:5], "test": images[5:7], "train_labels": np.arange(5), "test_labels": np.arange(2)}
    np.savez(tmp_path / "split.npz", **content)
    data = load(str(tmp_path / "split.npz"))
    assert (data.split, data.valid) == ("train/test", None)
    np.testing.assert_array_equal(data.train.labels, np.arange(5))
    np.testing.assert_array_equal(data.test.examples[..., 0], images[5:7].astype(np.float32))
    np.savez(tmp_path / "split.npz", valid=images[7:], **content)
    data = load(str(tmp_path / "split.npz"), split="train/valid/test")
    assert data.valid.examples.shape == (2, 4, 4, 1)
    assert data.valid.labels is None
    with pytest.raises(DataError, match="choose train/valid/test"):
        load(str(tmp_path / "split.npz"), split="80/10/10")


GOOD = np.linspace(0, 1, 20 * 4).reshape(20, 2, 2)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (GOOD.astype(np.int64), "holds int64: give pixels as uint8"),
        (GOOD > 0.5, "holds bool"),
        (GOOD * 2, r"values from 0.0 to 2.0: scale them"),
        (GOOD - 0.1, "values from -0.1"),
        (np.where(GOOD > 0.9, np.nan, GOOD), "values from nan"),
        ((GOOD > 0.5).astype(np.uint8), "nothing above 1 as uint8"),
        (GOOD[:9], "has 9 images"),
        (GOOD[:0], "has the shape"),
        (GOOD[0, 0], "has the shape"),
        (np.array([{}] * 20), "without pickled objects"),
    ],
)
def test_other_arrays_are_refused(tmp_path, content, sentence):
    np.save(tmp_path / "own.npy", content)
    with pytest.raises(DataError, match=sentence):
        load(str(tmp_path / "own.npy"))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"pictures": GOOD}, "holds pictures: call the images `images`"),
        ({"x": GOOD, "labels": np.arange(19)}, "labels int64 .19.: give 20 whole numbers"),
        ({"x": GOOD, "labels": np.zeros(20)}, "labels float64"),
        ({"train": GOOD, "test": GOOD[:, :1]}, "different kinds"),
        ({"x": np.array([{}] * 20)}, "without pickled objects"),
    ],
)
def test_other_named_arrays_are_refused(tmp_path, content, sentence):
    np.savez(tmp_path / "own.npz", **content)
    with pytest.raises(DataError, match=sentence):
        load(str(tmp_path / "own.npz"))


def test_a_file_that_is_no_array_is_refused(tmp_path):
    np.savez(tmp_path / "cut.npz", x=GOOD)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "cut.npz").read_bytes()[:200])
    (tmp_path / "words.npy").write_text("not an array")
    for name in ("cut.npz", "words.npy"):
        with pytest.raises(DataError, match=r"cannot be read as a .npy or .npz file"):
            load(str(tmp_path / name))


# --- users' own folders of images


def paint(path, images, mode=None):
    path.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        Image.fromarray(image, mode).save(path / f"{number:03}.png")


def test_grey_images_in_classes(tmp_path, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (20, 6, 5), np.uint8)
    paint(tmp_path / "pets" / "cats", images[:12])
    paint(tmp_path / "pets" / "dogs", images[12:])
    (tmp_path / "pets" / "empty").mkdir()
    (tmp_path / "pets" / "notes.txt").write_text("passed over")
    monkeypatch.setenv("JAXVAE_DATA", str(tmp_path / "prepared"))
    data, back, labels = own(tmp_path / "pets")
    assert (data.name, data.split) == ("pets", "80/10/10")
    np.testing.assert_array_equal(back[..., 0], images)
    np.testing.assert_array_equal(labels, [0] * 12 + [1] * 8)
    assert isinstance(data.train.examples, np.memmap)

    monkeypatch.setattr(Image, "open", None)  # decoded once: the second load opens no image
    np.testing.assert_array_equal(load(str(tmp_path / "pets")).test.examples, data.test.examples)
    monkeypatch.undo()
    monkeypatch.setenv("JAXVAE_DATA", str(tmp_path / "prepared"))
    paint(tmp_path / "pets" / "cats", images[12:13])  # overwrites the first cat
    np.testing.assert_array_equal(own(tmp_path / "pets")[1][0, ..., 0], images[12])


def test_one_colour_image_makes_all_rgb(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXVAE_DATA", str(tmp_path / "prepared"))
    generator = np.random.default_rng(0)
    grey = generator.integers(0, 256, (10, 6, 5), np.uint8)
    colour = generator.integers(0, 256, (1, 6, 5, 3), np.uint8)
    paint(tmp_path / "own", grey)
    Image.fromarray(colour[0]).save(tmp_path / "own" / "last.png")
    _, back, labels = own(tmp_path / "own")
    assert labels is None
    np.testing.assert_array_equal(back[:10], np.repeat(grey[..., None], 3, axis=3))
    np.testing.assert_array_equal(back[10], colour[0])


def test_other_folders_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXVAE_DATA", str(tmp_path / "prepared"))
    images = np.zeros((10, 6, 5), np.uint8)
    own_folder = tmp_path / "own"
    own_folder.mkdir()
    with pytest.raises(DataError, match="holds no PNG or JPEG images"):
        load(str(own_folder))
    paint(own_folder, images[:9])
    with pytest.raises(DataError, match="has 9 images"):
        load(str(own_folder))
    paint(own_folder, images)
    with pytest.raises(DataError, match="choose 80/10/10"):
        load(str(own_folder), split="60k/10k")
    odd = own_folder / "odd.png"
    Image.fromarray(np.zeros((5, 6), np.uint8)).save(odd)
    with pytest.raises(DataError, match=r"is 6x5 and .* is 5x6"):
        load(str(own_folder))
    Image.fromarray(np.zeros((6, 5, 4), np.uint8)).save(odd)
    with pytest.raises(DataError, match=r"odd.png is transparent .RGBA.: say what lies behind it"):
        load(str(own_folder))
    odd.write_text("no picture")
    with pytest.raises(DataError, match=r"odd.png is not a PNG or JPEG image"):
        load(str(own_folder))
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 5), np.uint8)).save(odd)
    odd.write_bytes(odd.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"odd.png cannot be decoded"):
        load(str(own_folder))
    odd.unlink()
    paint(own_folder / "class", images)
    with pytest.raises(DataError, match="beside subfolders with images"):
        load(str(own_folder))
    assert not list(tmp_path.rglob("*.npy"))


# --- what TensorFlow Datasets has prepared


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    import tensorflow_datasets as tfds

    data_dir = tmp_path_factory.mktemp("tensorflow_datasets")

    class Tiny(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        lengths = {"train": 20, "validation": 7, "test": 5}  # noqa: RUF012

        def _info(self):
            image = tfds.features.Image(shape=(6, 5, 3))
            features = tfds.features.FeaturesDict({"image": image, "label": tfds.features.ClassLabel(num_classes=50)})
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(length) for split, length in self.lengths.items()}

        def _generate_examples(self, length):
            for number in range(length):
                image = Image.fromarray(np.full((6, 5, 3), (number, 100 + length, 0), np.uint8))
                path = data_dir / f"{number}-{length}.png"
                image.save(path)
                yield number, {"image": path, "label": number}

    class TinyTrain(Tiny):
        lengths = {"train": 20}  # noqa: RUF012

    for builder in (Tiny, TinyTrain):
        builder(data_dir=data_dir).download_and_prepare(file_format="array_record")
    return data_dir


def test_a_prepared_data_set_is_read_as_it_is(data_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(data_dir))
    data = load("tfds:tiny", folder=tmp_path)
    assert (data.name, data.split) == ("tfds:tiny", "train/validation/test")
    for split, length in ((data.train, 20), (data.valid, 7), (data.test, 5)):
        assert split.examples.shape == (length, 6, 5, 3)
        assert sorted(split.labels) == list(range(length))
        assert (split.examples[..., 0] == split.labels[:, None, None]).all()
        assert (split.examples[..., 1] == 100 + length).all()
    assert isinstance(load("tfds:tiny:1.0.0", folder=tmp_path).train.examples, np.memmap)

    single = load("tfds:tiny_train", source=data_dir, folder=tmp_path)
    assert single.split == "80/10/10"
    parts = (single.train, single.valid, single.test)
    assert sorted(np.concatenate([part.labels for part in parts])) == list(range(20))


def test_what_is_not_prepared_gets_a_sentence(data_dir, tmp_path):
    for name in ("tfds:mnist", "tfds:no_such_thing", "tfds:", "tfds:tiny:2.0.0"):
        with pytest.raises(DataError, match="is not prepared in"):
            load(name, source=data_dir, folder=tmp_path)
    with pytest.raises(DataError, match="choose train/validation/test"):
        load("tfds:tiny", split="80/10/10", source=data_dir, folder=tmp_path)


def test_the_format_that_needs_tensorflow_gets_a_sentence(data_dir, tmp_path):
    shutil.copytree(data_dir / "tiny", tmp_path / "tiny")
    info = tmp_path / "tiny" / "1.0.0" / "dataset_info.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"fileFormat": "tfrecord"}))
    with pytest.raises(DataError, match="a format that needs TensorFlow"):
        load("tfds:tiny", source=tmp_path, folder=tmp_path)
