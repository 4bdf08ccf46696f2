"""A run is exported, loaded, uploaded and fetched, of every kind; what is wrong is a sentence."""

import ast
import builtins
import json
import os
import shutil
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from huggingface_hub import ModelCard, constants
from mock_hub import TOKEN, mock_hub
from safetensors.numpy import load_file
from small_runs import assert_same, commanded, few, short

import jaxvae
from jaxvae import cli
from jaxvae.recipes import plain
from jaxvae.run import RunError, kinds
from jaxvae.run.folder import about as about_file
from jaxvae.run.folder import config_file, fingerprint, weights
from jaxvae.run.folder.checkpoints import Checkpoints
from jaxvae.run.folder.opening import data_of, open_run
from jaxvae.run.held_out import as_seen
from jaxvae.run.measures import has_weights, log_likelihoods
from jaxvae.run.options import networks
from jaxvae.run.recipe import about
from jaxvae.run.settings import Evaluation
from jaxvae.run.start import first_progress

sys.path.insert(0, str(Path(__file__).parents[1] / "recipes"))
from test_recipes import ROWS, SOURCE

ROOT = Path(__file__).parents[2]
SMALL = plain.Config(model=plain.Model(networks.Small(width=8), latent=2))
FILES = {"model.safetensors", "config.json", "about.json", "result.json", "README.md"}
# A row for each kind, the smallest of those that test_recipes has.
OF_KIND = {name.partition(",")[0]: name for name in reversed(ROWS)}


@pytest.fixture(autouse=True)
def _standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(autouse=True)
def _own_client(monkeypatch, tmp_path):
    """The hub's client as on a machine where nobody has logged in; plain uploads, which the mock knows."""
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    for name in ("HF_TOKEN_PATH", "HF_STORED_TOKENS_PATH"):
        monkeypatch.setattr(constants, name, str(tmp_path / name))


@pytest.fixture(scope="module")
def hub():
    with mock_hub() as both:
        yield both


@pytest.fixture(scope="module")
def run_of(tmp_path_factory):
    """A run folder of a kind with a checkpoint of params that begin at random: nothing here depends on training."""
    place = tmp_path_factory.mktemp("runs")

    def folder(name):
        if name.startswith("sequence") and not (SOURCE / "jsb_chorales").is_dir():
            pytest.skip(f"the JSB chorales are not in {SOURCE}")
        run, config = place / name, short(ROWS[OF_KIND[name]], epochs=1)
        if not run.exists():
            run.mkdir()
            kind = kinds.kind_of(name)
            dataset = few(kind.data(config))
            about_file.write(about(dataset), run / "about.json", fingerprint.fingerprint(dataset))
            config_file.write(kind, config, run / "config.json", command="")
            recipe, course = kind.recipe(config, about(dataset)), config.course()
            progress = first_progress(recipe, course._replace(keys=jax.random.key(7)), 9, dataset.train)
            with closing(Checkpoints(run / "checkpoints")) as checkpoints:
                checkpoints.save(3, progress._replace(state=progress.state._replace(step=jnp.asarray(3))))
        return run

    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A small run and its export."""
    place = tmp_path_factory.mktemp("small")
    with jax.numpy_dtype_promotion("standard"):
        run = commanded(SMALL, place)
    return run, jaxvae.export(run, place / "out", licence="apache-2.0")


def test_there_is_a_row_of_every_kind():
    assert set(OF_KIND) == set(kinds.names())


@pytest.mark.parametrize("name", kinds.names())
def test_a_run_of_every_kind_travels_bit_for_bit(name, run_of, hub, tmp_path):
    run = open_run(run_of(name))
    out = jaxvae.export(run.folder, tmp_path / "out")
    assert {path.name for path in out.iterdir()} >= FILES - {"result.json"}
    shutil.move(out, tmp_path / "moved")
    assert jaxvae.push(tmp_path / "moved", str(tmp_path / "copied")) == str(tmp_path / "copied")
    hub, address = hub
    assert jaxvae.push(tmp_path / "moved", f"me/{name}", token=TOKEN, endpoint=address) == f"{address}/me/{name}"
    travelled = {
        "loaded": open_run(tmp_path / "moved"),
        "copied": open_run(tmp_path / "copied"),
    }
    model, params = jaxvae.from_hub(f"me/{name}", endpoint=address, cache=tmp_path / "cache")
    for params_there in (params, *(other.params for other in travelled.values())):
        assert jax.tree.structure(params_there) == jax.tree.structure(run.params)
        for leaf, expected in zip(jax.tree.leaves(params_there), jax.tree.leaves(run.params), strict=True):
            assert leaf.dtype == expected.dtype
            np.testing.assert_array_equal(leaf, expected)
    for other in travelled.values():
        data = replace(run.config.data, source=None)
        assert (other.config, other.about, other.step) == (replace(run.config, data=data), run.about, 3)
    xs = as_seen(run.recipe, few(run.kind.data(run.config), 4).test)
    assert_same(told(model, params, xs), told(run.model, run.params, xs))


def told(model, params, xs):
    """What a model says of examples, and what it draws."""
    if has_weights(model, params, xs):
        found = log_likelihoods(model, jax.random.key(1), params, xs, num_samples=3)
    else:
        found = jaxvae.batched_elbo(model, jax.random.key(0), params, xs)
    try:
        return found, jax.jit(model.sample)(jax.random.key(2), params)
    except ValueError:  # of a condition it has no distribution
        return found, ()


@pytest.mark.slow
def test_the_averaged_params_and_a_seed_of_several_are_those_that_were_measured(tmp_path):
    config = plain.Config(
        model=SMALL.model, num_seeds=2, seed=5, optimizer=plain.Config().optimizer.__class__(average=0.9)
    )
    run = commanded(config, tmp_path)
    out = jaxvae.export(run, tmp_path / "out", seed=1)
    assert_same(jaxvae.load(out)[1], open_run(run, seed=1).params)
    opened = open_run(out)
    assert (opened.config.seed, opened.config.num_seeds) == (6, 1)
    result, both = (json.loads((place / "result.json").read_text()) for place in (out, run))
    assert result["test_elbo"] == both["test_elbo_of_each_seed"][1]
    assert result["protocol"]["seeds"] == [6]
    with pytest.raises(RunError, match="trained 2 seeds, counted from 0; there is no seed 2"):
        jaxvae.export(run, tmp_path / "third", seed=2)


def test_a_table_beside_the_params_travels(run_of, tmp_path):
    out = jaxvae.export(run_of("vq"), tmp_path / "out")
    assert jaxvae.load(out)[1]["codebook"].shape == (6, 3)


def test_loading_needs_no_orbax_and_nothing_is_a_pickle(small):
    _, out = small
    script = (
        "import sys\n"
        "class Refusing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('orbax', 'tensorboardX', 'huggingface_hub'):\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Refusing())\n"
        "import jax, jaxvae; model, params = jaxvae.load(sys.argv[1])\n"
        "print(model.sample(jax.random.key(0), params).shape)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(out)], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "(8, 8, 1)\n", done.stderr[-2000:]
    for file in out.iterdir():
        assert file.suffix in (".safetensors", ".json", ".md", ".png")
    for path in [*(ROOT / "jaxvae").rglob("*.py"), *(ROOT / "experiments").rglob("*.py")]:
        imported = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import)]
        assert not {"pickle", "cloudpickle", "joblib"} & {alias.name for node in imported for alias in node.names}, path


def test_the_file_is_safetensors_as_others_read_it(small):
    run, out = small
    params = open_run(run).params
    arrays = load_file(out / "model.safetensors")
    assert sorted(arrays) == sorted(weights.names_of(params))
    for name, leaf in zip(weights.names_of(params), jax.tree.leaves(params), strict=True):
        np.testing.assert_array_equal(arrays[name], leaf)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64", "int32", "bool"])
def test_every_type_and_every_shape_comes_back(dtype, tmp_path, float64):
    values = {"a": {"b": jnp.ones((2, 3)), "empty": jnp.zeros((0, 4))}, "c": (jnp.asarray(2.0), jnp.arange(6.0))}
    tree = jax.tree.map(lambda leaf: leaf.astype(dtype), values)
    tree["turned"] = np.asarray(tree["a"]["b"]).T  # its memory lies in columns
    sha = weights.write(tmp_path / "x.safetensors", tree, {"step": "3"})
    back, said = weights.read(tmp_path / "x.safetensors", jax.eval_shape(lambda: tree), sha256=sha)
    assert said == {"step": "3"}
    for leaf, expected in zip(jax.tree.leaves(back), jax.tree.leaves(tree), strict=True):
        assert (leaf.dtype, leaf.shape) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(leaf, expected)


# --- the card


def test_the_card_has_data_protocol_numbers_licence_and_how_to_load(small):
    run, out = small
    card = ModelCard.load(out / "README.md")
    result = json.loads((run / "result.json").read_text())
    front = card.data.to_dict()
    assert (front["library_name"], front["license"], front["datasets"]) == ("jaxvae", "apache-2.0", ["digits"])
    assert "plain" in front["tags"]
    metrics = {one.metric_type: one.metric_value for one in card.data.eval_results}
    assert metrics == {name: result[name] for name in result["units"]}
    text = card.text
    for words in ("1297/200/300", "binarisation dynamic", "jaxvae.from_hub", "| Test NLL |", "weights: apache-2.0."):
        assert words in text
    assert "![Samples from the prior" in text
    assert (out / "samples.png").is_file()


def test_the_lines_of_the_card_run(small, hub, tmp_path, monkeypatch):
    """As they stand on the hub, where they name the model's own place."""
    hub, address = hub
    jaxvae.push(small[1], "me/lines", token=TOKEN, endpoint=address)
    card = hub.models["me/lines"]["README.md"].decode()
    code = card.partition("```python\n")[2].partition("```")[0]
    assert 'jaxvae.from_hub("me/lines")' in code
    assert "user/name" not in card
    fetched = jaxvae.from_hub
    monkeypatch.setattr(jaxvae, "from_hub", lambda name: fetched(name, endpoint=address, cache=tmp_path), raising=False)
    names = {}
    exec(code, names)
    assert names["xs"].shape == (16, 8, 8, 1)


def test_where_data_lay_here_is_not_told(tmp_path):
    data = tmp_path / "secret" / "mine.npy"
    data.parent.mkdir()
    np.save(data, np.random.default_rng(0).integers(0, 255, (300, 4, 4), np.uint8))
    words = f"train --data {data} --data.folder {tmp_path}/kept --epochs 1 --evaluation.num-samples 0 --name it"
    with pytest.raises(SystemExit) as ended:
        cli.main([*words.split(), "--runs", str(tmp_path / "runs"), "--model.network.width", "8"])
    assert ended.value.code == 0
    out = jaxvae.export(tmp_path / "runs" / "it", tmp_path / "out")
    for file in ("config.json", "README.md", "about.json", "result.json"):
        assert str(tmp_path) not in (out / file).read_text()
    assert "--data mine.npy" in (out / "README.md").read_text()
    assert open_run(out).config.data.name == "mine.npy"


# --- by command


def said(words, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    return ended.value.code, *capsys.readouterr()


def test_both_commands_say_what_they_did(small, hub, tmp_path, capsys, monkeypatch):
    run, _ = small
    code, out, err = said(["export", str(run), str(tmp_path / "a"), "--licence", "mit"], capsys)
    assert (code, err) == (0, "")
    assert "model.safetensors" in out
    assert f"jaxvae push {tmp_path / 'a'} user/name" in out
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    code, out, err = said(["push", str(tmp_path / "a"), "me/by-command", "--endpoint", hub[1]], capsys)
    assert (code, out) == (0, f"{hub[1]}/me/by-command\n"), err
    assert hub[0].models["me/by-command"]["README.md"].count(b"mit") >= 2


def test_an_exported_run_is_asked_as_a_run_is(small, tmp_path, capsys):
    """Its step, its configuration and the fingerprint of its data are there."""
    run, out = small
    opened = open_run(out)
    assert opened.step == open_run(run).step == 12
    assert opened.config == open_run(run).config
    assert data_of(opened).train.size == 1297


# --- what is wrong


def damaged(out, tmp_path, change):
    place = tmp_path / "damaged"
    shutil.copytree(out, place)
    change(place)
    return place


def cut(place):
    file = place / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def cut_without_a_sum(place):
    cut(place)
    without_a_sum(place)


def flipped(place):
    file = place / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-9] ^= 1
    file.write_bytes(content)


def without_a_sum(place):
    config = json.loads((place / "config.json").read_text())
    del config["weights"]
    (place / "config.json").write_text(json.dumps(config))


def of_another_size(place):
    config = json.loads((place / "config.json").read_text())
    config["model"]["network"]["width"] = 9
    (place / "config.json").write_text(json.dumps(config))


def of_another_model(place):
    config = json.loads((place / "config.json").read_text())
    config["model"]["prior"] = {"is": "learned"}
    (place / "config.json").write_text(json.dumps(config))


def a_pointer(place):
    (place / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (cut, "model.safetensors is not as it was written, by its SHA-256: fetch it, or export the run, again"),
        (cut_without_a_sum, "model.safetensors is damaged .*: fetch it, or export the run, again"),
        (flipped, "is not as it was written, by its SHA-256"),
        (
            of_another_size,
            r"is no file of the model that .*config.json describes: .* is \[8\] .*has to be \[9\]",
        ),
        (of_another_model, "describes: prior.* is missing"),
        (a_pointer, "is a pointer of Git LFS and not the weights themselves: fetch them with git lfs pull"),
        (lambda place: (place / "about.json").unlink(), "is no complete run folder: about.json cannot be read"),
        (lambda place: (place / "config.json").unlink(), "is no run folder: it has no config.json"),
        (lambda place: (place / "config.json").write_text("{"), "is no configuration of this version of jaxvae"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused(change, sentence, small, tmp_path):
    place = damaged(small[1], tmp_path, change)
    with pytest.raises(RunError, match=sentence):
        jaxvae.load(place)
    with pytest.raises(RunError, match=sentence):
        jaxvae.push(place, str(tmp_path / "copied"))
    assert not (tmp_path / "copied").exists()


def test_what_cannot_be_exported_is_refused(small, tmp_path):
    run, out = small
    before = {path: path.read_bytes() for path in out.iterdir()}
    for place, target, sentence in (
        (tmp_path / "none", tmp_path / "x", "none is no run folder: it has no config.json"),
        (run, out, "out exists already, and nothing in it is overwritten: give a folder that is not there"),
        (run, run / "config.json" / "x", "cannot be written .*: make room, or give another folder"),
    ):
        with pytest.raises(RunError, match=sentence):
            jaxvae.export(place, target)
    assert before == {path: path.read_bytes() for path in out.iterdir()}
    assert os.listdir(tmp_path) == [], "nothing is left behind"


@pytest.mark.parametrize("module", ["safetensors", "huggingface_hub"])
def test_a_package_that_is_missing_is_named(module, small, tmp_path, monkeypatch):
    real = builtins.__import__

    def refusing(name, *rest):
        if name.partition(".")[0] == module:
            raise ModuleNotFoundError(f"No module named {name!r}", name=module)
        return real(name, *rest)

    run, out = small
    monkeypatch.setattr(builtins, "__import__", refusing)
    if module == "safetensors":
        for call in (lambda: jaxvae.export(run, tmp_path / "x"), lambda: jaxvae.load(out)):
            with pytest.raises(RunError, match=r"safetensors is not installed, .*: pip install 'jaxvae\[train\]'"):
                call()
    else:
        for call in (lambda: jaxvae.push(out, "a/b"), lambda: jaxvae.from_hub("a/b")):
            with pytest.raises(RunError, match=r"huggingface_hub is not installed, .*: pip install 'jaxvae\[hub\]'"):
                call()


def test_what_the_hub_refuses_is_a_sentence(small, hub, tmp_path, monkeypatch):
    (_, out), (hub, address) = small, hub
    jaxvae.push(out, "me/known", token=TOKEN, endpoint=address)
    hub.models["me/other"] = {"config.json": b"{}"}
    there, fetched = {"endpoint": address}, {"endpoint": address, "cache": tmp_path / "cache"}
    nowhere = "http://127.0.0.1:9"
    for call, sentence in (
        (lambda: jaxvae.push(out, "me/known", **there), "no token of the hub, .*: hf auth login, or set HF_TOKEN"),
        (lambda: jaxvae.push(out, "me/new", token="hf_reads", **there), "answers 403 for me/new .*right to write"),
        (lambda: jaxvae.push(out, "me/known", token="hf_reads", **there), "answers 403 for me/known .*right to write"),
        (lambda: jaxvae.push(out, "known", **there), "'known' is no name of a model on a hub: give user/name"),
        (lambda: jaxvae.push(out, "me/-x-", token=TOKEN, **there), "me/-x- is no name that the hub takes"),
        (lambda: jaxvae.push(tmp_path, "me/known"), "holds no model.safetensors: make it with jaxvae export RUN"),
        (lambda: jaxvae.push(out, str(tmp_path)), "exists already, and nothing in it is overwritten"),
        (
            lambda: jaxvae.push(out, "me/x", token=TOKEN, endpoint=nowhere),
            "127.0.0.1:9 cannot be reached .* network",
        ),
        (lambda: jaxvae.from_hub("me/none", **fetched), "has no model me/none, or none that this token may see"),
        (
            lambda: jaxvae.from_hub("me/other", **fetched),
            "me/other is no model of jaxvae: it holds no model.saf",
        ),
        (lambda: jaxvae.from_hub("me/known", revision="v9", **fetched), "me/known has no such revision"),
        (lambda: jaxvae.from_hub("nobody", **fetched), "'nobody' is no name of a model"),
        (
            lambda: jaxvae.from_hub("me/known", endpoint=nowhere, cache=tmp_path / "c"),
            "127.0.0.1:9 cannot be reached, and me/known was not fetched before",
        ),
    ):
        with pytest.raises(RunError, match=sentence):
            call()


def test_what_was_fetched_is_read_without_a_network(small, hub, tmp_path):
    (_, out), (_, address) = small, hub
    jaxvae.push(out, "me/kept", token=TOKEN, endpoint=address)
    there = jaxvae.from_hub("me/kept", endpoint=address, cache=tmp_path)
    again = jaxvae.from_hub("me/kept", endpoint="http://127.0.0.1:9", cache=tmp_path)
    assert_same(again[1], there[1])


def test_an_evaluation_of_nothing_has_a_card(tmp_path):
    run = commanded(plain.Config(model=SMALL.model, evaluation=Evaluation(num_samples=0)), tmp_path)
    (run / "result.json").unlink()
    out = jaxvae.export(run, tmp_path / "out")
    assert "It was not evaluated." in (out / "README.md").read_text()
    assert "None was given: ask who made the weights" in (out / "README.md").read_text()
    assert not (out / "result.json").exists()
