import dataclasses
import json
from pathlib import Path

import pytest

from jaxvae.run import RunError, config, config_check
from jaxvae.run.config import Checkpoints, Config, Data, Evaluation, Model, Objective, Optimizer
from jaxvae.run.folder import config_file


def changed(part: str, **values):
    return dataclasses.replace(Config(), **{part: dataclasses.replace(getattr(Config(), part), **values)})


IMPOSSIBLE = [
    (changed("model", latent=0), "--model.latent 0 must be at least 1"),
    (changed("objective", num_samples=0), "--objective.num-samples 0"),
    (changed("objective", beta=-1.0), "--objective.beta -1.0 must not be negative"),
    (changed("optimizer", lr=0.0), "--optimizer.lr 0.0 must be positive"),
    (changed("optimizer", lr=float("nan")), "--optimizer.lr nan must be positive"),
    (changed("optimizer", clip=-1.0), "--optimizer.clip"),
    (changed("optimizer", average=1.0), "between 0 and 1"),
    (changed("objective", estimator="doubly-reparameterized"), "give --objective.bound iwae"),
    (
        changed("objective", bound="iwae", estimator="doubly-reparameterized", beta=2.0),
        "unbiased for a beta of 1 alone",
    ),
    (changed("objective", warmup_epochs=101), "longer than the run of --epochs 100"),
    (
        changed("model", likelihood="categorical")
        and dataclasses.replace(changed("model", likelihood="categorical"), data=Data(binarize="static")),
        "give --data.binarize none",
    ),
    (Config(epochs=0), "--epochs 0"),
    (Config(batch_size=0), "--batch-size 0"),
    (Config(num_seeds=0), "--num-seeds 0"),
    (Config(seed=-1), "--seed -1"),
    (changed("evaluation", examples=0), "--evaluation.examples 0"),
    (changed("checkpoints", keep=0), "--checkpoints.keep 0"),
    (changed("objective", bound="tvo", estimator="doubly-reparameterized"), "give --objective.bound iwae"),
    (changed("objective", bound="miwae", num_samples=7), "--objective.num-samples 7 cannot be taken in"),
    (changed("objective", alpha=float("inf")), "--objective.alpha inf"),
    (changed("objective", elbo_share=1.5), "--objective.elbo-share 1.5 must lie between 0 and 1"),
    (changed("objective", cycle_epochs=2, warmup_epochs=2), "again and again: give one"),
    (changed("objective", free_bits=1.0, capacity=2.0), "two prices"),
    (changed("objective", free_bits=1.0, bound="iwae"), "mean divergence of a whole batch"),
    (changed("objective", free_bits=1.0, beta=2.0), "a price without a weight"),
    (changed("objective", free_bits=1.0, estimator="score-function"), "need draws with a path"),
    (changed("objective", capacity=1.0, warmup_epochs=2), "grows over the run by itself"),
    (changed("objective", bound="piwae", num_samples=5, beta=2.0), "two bounds of its own"),
    (changed("objective", encoder_steps=3), "--batch-size 100 cannot be taken in --objective.encoder-steps 3"),
    (changed("model", posterior="von-mises-fisher", prior="flow"), "lies on the sphere"),
    (changed("model", posterior="von-mises-fisher", latent=2), "needs --model.latent 3 at least"),
    (changed("model", network="conv", width=100), "--model.width 100 is of fully connected networks"),
    (changed("model", width=0), "--model.width 0 must be at least 1"),
    (changed("model", network="conv", likelihood="pixelcnn", pixel_condition="global"), "convolutions give maps"),
    (changed("model", inference_steps=0), "--model.inference-steps 0 must be at least 1"),
    (changed("objective", temperature=0.0), "--objective.temperature 0.0 must be positive"),
    (
        Config(model=Model(posterior="one-hot", classes=1), objective=Objective(estimator="straight-through")),
        "give --model.classes 2 at least, not 1",
    ),
    (
        Config(objective=Objective(bound="iwae", estimator="wake-wake", beta=2.0)),
        "--objective.estimator wake-wake follows the true posterior, which has no weight",
    ),
    (
        Config(model=Model(structure="class-conditional"), objective=Objective(estimator="learned-baseline")),
        "--objective.estimator learned-baseline is for --model.structure plain, not class-conditional",
    ),
    (changed("objective", capacity=1.0, estimator="learned-baseline"), "pathwise, not learned-baseline"),
    (changed("model", structure="ladder", posterior="planar"), "has a posterior and a prior of its own"),
    (
        changed("objective", bound="iwae", estimator="generalized-doubly-reparameterized"),
        "give --model.prior learned",
    ),
]


@pytest.mark.parametrize(("settings", "sentence"), IMPOSSIBLE, ids=[s for _, s in IMPOSSIBLE])
def test_the_impossible_is_refused_with_a_sentence(settings, sentence):
    with pytest.raises(RunError, match=sentence.replace(".", r"\.")):
        config_check.check(settings)


def test_the_default_and_a_rich_configuration_pass():
    config_check.check(Config())
    config_check.check(RICH)


RICH = Config(
    Data("mnist", "static", "60k/10k", Path("/data"), None),
    Model("conv", 2, scale=0.2, mean_bias=True),
    Objective("iwae", 5, "sticking-the-landing", beta=0.5, warmup_epochs=3),
    Optimizer(1e-4, "cosine", 10, 5.0, 0.999),
    Evaluation(0, 5),
    Checkpoints(0.0, 3),
    epochs=7,
    num_seeds=2,
)


@pytest.mark.parametrize("settings", [Config(), RICH], ids=["default", "rich"])
def test_json_gives_the_configuration_back(settings, tmp_path):
    config_file.write(settings, tmp_path / "config.json", command="python -m experiments.train")
    assert config_file.read(tmp_path / "config.json") == settings


def test_the_default_binarisation_follows_the_likelihood_and_the_data():
    assert config.binarization(Config()) == "dynamic"
    assert config.binarization(changed("model", likelihood="gaussian")) == "none"
    assert config.binarization(changed("data", name="binarized_mnist")) == "none"
    assert config.binarization(changed("data", binarize="threshold")) == "threshold"


def test_differences_are_named_as_options():
    assert config.differences(Config(), Config()) == []
    assert config.differences(changed("optimizer", lr=1.0), Config(batch_size=3)) == ["--optimizer.lr", "--batch-size"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda values: values | {"unheard_of": 1},
        lambda values: {name: values[name] for name in values if name != "epochs"},
        lambda values: values | {"epochs": "many"},
        lambda values: values | {"model": values["model"] | {"network": "os.system"}},
        lambda values: [values],
    ],
    ids=["unknown", "missing", "wrong type", "wrong word", "no dictionary"],
)
def test_a_spoilt_file_is_refused_with_a_sentence(spoil, tmp_path):
    path = tmp_path / "config.json"
    config_file.write(Config(), path, command="")
    path.write_text(json.dumps(spoil(json.loads(path.read_text()))))
    with pytest.raises(RunError, match="no configuration of this version"):
        config_file.read(path)


def test_what_an_older_version_did_not_write_takes_its_default(tmp_path):
    path = tmp_path / "config.json"
    config_file.write(Config(batch_size=7), path, command="")
    path.write_text(
        json.dumps({name: value for name, value in json.loads(path.read_text()).items() if name != "remat"})
    )
    assert config_file.read(path) == Config(batch_size=7)


def test_a_missing_file_is_no_run_folder(tmp_path):
    with pytest.raises(RunError, match="is no run folder"):
        config_file.read(tmp_path / "config.json")
