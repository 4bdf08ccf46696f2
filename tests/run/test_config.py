"""What cannot be is refused before anything begins: by the parse, by ranges and capabilities, by the data, by a trace.

A configuration is also a file: JSON gives it back, and what is spoilt is refused.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxvae.cli import main
from jaxvae.recipes import class_conditional, ladder, plain, quadrants, vq
from jaxvae.run import RunError, kinds, refusals
from jaxvae.run.choice import differences
from jaxvae.run.data import DataError, Dataset, Split
from jaxvae.run.folder import config_file
from jaxvae.run.folder.files import write_json
from jaxvae.run.options import bounds, estimators, likelihoods, networks, posteriors, prices, priors
from jaxvae.run.options.images import Images, binarization
from jaxvae.run.recipe import Kind
from jaxvae.run.settings import Checkpoints, Evaluation, Optimizer

CONFIGS = {name: kinds.kind_of(name).config for name in kinds.names()}
IWAE = bounds.Iwae()


@pytest.fixture(autouse=True)
def _standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


def having(config=plain.Config, **values):
    """A configuration with options at dotted paths, "__" for the dot."""
    made = config()
    for path, value in values.items():
        made = _with(made, path.split("__"), value)
    return made


def _with(group, path, value):
    return replace(group, **{path[0]: _with(getattr(group, path[0]), path[1:], value) if path[1:] else value})


# By ranges and by what the options say that they have and need: `refusals.check`.
IMPOSSIBLE = [
    (having(model__latent=0), "--model.latent 0 must be at least 1"),
    (having(objective__num_samples=0), "--objective.num-samples 0 must be at least 1"),
    (having(objective__price=prices.Weight(beta=-1.0)), "--objective.price.beta -1.0 must not be negative"),
    (having(optimizer__lr=0.0), "--optimizer.lr 0.0 must be positive"),
    (having(optimizer__lr=float("nan")), "--optimizer.lr nan must be positive"),
    (having(optimizer__clip=-1.0), "--optimizer.clip -1.0 must be positive"),
    (having(optimizer__average=1.0), "--optimizer.average 1.0 must lie between 0 and 1, and be neither"),
    (having(optimizer__beta2=1.0), "--optimizer.beta2 1.0 must lie between 0 and 1"),
    (having(optimizer__weight_decay=-0.1), "--optimizer.weight-decay -0.1 must not be negative"),
    (having(optimizer__warmup_steps=-1), "--optimizer.warmup-steps -1 must not be negative"),
    (having(epochs=0), "--epochs 0 must be at least 1"),
    (having(batch_size=0), "--batch-size 0 must be at least 1"),
    (having(num_seeds=0), "--num-seeds 0 must be at least 1"),
    (having(seed=-1), "--seed -1 must not be negative"),
    (having(patience=0), "--patience 0 must be at least 1"),
    (having(accumulate=0), "--accumulate 0 must be at least 1"),
    (having(accumulate=3), "--batch-size 100 cannot be taken in --accumulate 3 parts of one size"),
    (having(num_seeds=2, data__stream="yes"), "--num-seeds 2 visits the data in as many orders at once: leave out"),
    (having(evaluation__examples=0), "--evaluation.examples 0 must be positive"),
    (having(evaluation__num_samples=-1), "--evaluation.num-samples -1 must not be negative"),
    (having(checkpoints__keep=0), "--checkpoints.keep 0 must be at least 1"),
    (having(checkpoints__seconds=-1.0), "--checkpoints.seconds -1.0 must not be negative"),
    (having(objective__bound=bounds.Renyi(alpha=float("inf"))), "--objective.bound.alpha inf must be below inf"),
    (having(objective__bound=bounds.Renyi(alpha=float("nan"))), "--objective.bound.alpha nan must be below inf"),
    (
        having(objective__bound=bounds.Ciwae(elbo_share=1.5)),
        "--objective.bound.elbo-share 1.5 must lie between 0 and 1",
    ),
    (having(objective__bound=bounds.Miwae(groups=0)), "--objective.bound.groups 0 must be at least 1"),
    (having(objective__bound=bounds.Tvo(intervals=0)), "--objective.bound.intervals 0 must be at least 1"),
    (having(objective__price=prices.FreeBits(nats=0.0)), "--objective.price.nats 0.0 must be positive"),
    (having(objective__remat=0), "--objective.remat 0 must be at least 1"),
    (having(objective__encoder_steps=-1), "--objective.encoder-steps -1 must not be negative"),
    (having(model__network=networks.Small(width=0)), "--model.network.width 0 must be at least 1"),
    (having(model__network=networks.Residual(maps=(32, 0))), "--model.network.maps 0 must be at least 1"),
    (having(model__posterior=posteriors.Planar(flows=0)), "--model.posterior.flows 0 must be at least 1"),
    (having(model__posterior=posteriors.Hamiltonian(steps=0)), "--model.posterior.steps 0 must be at least 1"),
    (having(model__posterior=posteriors.OneHot(classes=1)), "--model.posterior.classes 1 must be at least 2"),
    (having(model__prior=priors.Vamp(components=0)), "--model.prior.components 0 must be at least 1"),
    (having(model__likelihood=likelihoods.Gaussian(scale=0.0)), "--model.likelihood.scale 0.0 must be positive"),
    (having(model__likelihood=likelihoods.Pixelcnn(radius=0)), "--model.likelihood.radius 0 must be at least 1"),
    (
        having(objective__estimator=estimators.StraightThrough(temperature=0.0)),
        "--objective.estimator.temperature 0.0 must be positive",
    ),
    (having(ladder.Config, model__layers=0), "--model.layers 0 must be at least 1"),
    (having(vq.Config, model__codes=0), "--model.codes 0 must be at least 1"),
    (having(vq.Config, model__decay=1.0), "--model.decay 1.0 must lie between 0 and 1"),
    (having(class_conditional.Config, model__classes=0), "--model.classes 0 must be at least 1"),
    (
        having(objective__estimator=estimators.DoublyReparameterized()),
        "--objective.estimator doubly-reparameterized needs importance weights of draws that are all alike, and "
        "--objective.bound elbo has none: give --objective.bound iwae or miwae, or another --objective.estimator "
        "(pathwise, ",
    ),
    (
        having(objective__bound=IWAE, objective__estimator=estimators.GeneralizedDoublyReparameterized()),
        "give --model.prior learned, or another --objective.estimator (pathwise, ",
    ),
    (
        having(
            objective__bound=IWAE,
            objective__estimator=estimators.DoublyReparameterized(),
            objective__price=prices.Weight(beta=2.0),
        ),
        "needs a weight of one for the latent part (--objective.price.beta 1 without a warm-up), and "
        "--objective.price weight has none: give another --objective.estimator (pathwise, ",
    ),
    (
        having(
            objective__bound=IWAE,
            objective__estimator=estimators.WakeWake(),
            objective__price=prices.Weight(warmup_epochs=3),
        ),
        "wake-wake needs a weight of one for the latent part",
    ),
    (
        having(objective__bound=bounds.Piwae(), objective__num_samples=5, objective__price=prices.Cyclical()),
        "--objective.price cyclical has none: give --objective.price weight, or another --objective.bound (elbo, ",
    ),
    (
        having(objective__bound=IWAE, objective__price=prices.FreeBits(nats=1.0)),
        "--objective.price free-bits needs the mean of its terms, and --objective.bound iwae has none: give "
        "--objective.bound elbo, or another --objective.price (weight or cyclical)",
    ),
    (
        having(objective__price=prices.FreeBits(), objective__estimator=estimators.ScoreFunction()),
        "--objective.price free-bits needs draws with a path, and --objective.estimator score-function has none: give "
        "--objective.estimator pathwise, sticking-the-landing",
    ),
    (
        having(objective__price=prices.Capacity(), objective__estimator=estimators.LearnedBaseline()),
        "--objective.price capacity needs draws with a path",
    ),
    (
        having(model__posterior=posteriors.VonMisesFisher(), model__prior=priors.Flow()),
        "--model.prior flow needs latents that are real numbers",
    ),
    (
        having(model__network=networks.Conv(), model__likelihood=likelihoods.Pixelcnn(condition="global")),
        "needs layers that are fully connected, and --model.network conv has none: give --model.network small or iwae",
    ),
    (
        having(quadrants.Config, model__likelihood=likelihoods.Structured()),
        "--model needs a density of each pixel by itself, and --model.likelihood structured has none: give "
        "--model.likelihood bernoulli, continuous-bernoulli, ",
    ),
]


@pytest.mark.parametrize(("config", "sentence"), IMPOSSIBLE, ids=[sentence for _, sentence in IMPOSSIBLE])
def test_the_impossible_is_refused_with_a_sentence(config, sentence):
    with pytest.raises(RunError) as refused:
        refusals.check(config)
    assert sentence in str(refused.value)


# What has no words: nonsense of the kinds, and options of members that were not chosen.
UNSPEAKABLE = [
    ("vq --objective.bound iwae", "objective.bound"),
    ("vq --objective.price.beta 2", "objective.price.beta"),
    ("vq --model.network small", "--model.network small is none of conv, residual"),
    ("vq --model.posterior planar", "model.posterior"),
    ("ladder --model.posterior planar", "model.posterior"),
    ("ladder --model.network conv", "--model.network conv is none of small, iwae"),
    ("ladder --objective.estimator sticking-the-landing", "objective.estimator"),
    ("class-conditional --objective.estimator learned-baseline", "is none of pathwise, sticking-the-landing, "),
    ("quadrants --objective.estimator wake-wake", "is none of pathwise, sticking-the-landing, "),
    ("--model.network conv --model.network.width 100", "--model.network.width"),
    ("--objective.price free-bits --objective.price.beta 2", "--objective.price.beta"),
    ("--objective.price capacity --objective.price.warmup-epochs 2", "--objective.price.warmup-epochs"),
    ("--objective.price cyclical --objective.price.warmup-epochs 2", "--objective.price.warmup-epochs"),
    ("--model.posterior planer", "planar"),
    ("--model.layers 3", "--model.layers"),
    ("--epochs many", "--epochs"),
]


@pytest.mark.parametrize(("words", "sentence"), UNSPEAKABLE, ids=[words for words, _ in UNSPEAKABLE])
def test_what_cannot_be_typed_ends_with_2_and_a_sentence(words, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)  # the command sets its own
    with pytest.raises(SystemExit) as ended:
        main(["train", *words.split(), "--runs", str(tmp_path)])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert "Traceback" not in said
    assert not any(tmp_path.iterdir())


# By the data, and by a trace of one step over it: before a folder is begun.
IMAGES = np.random.default_rng(0).integers(0, 256, (120, 8, 8, 1), np.uint8)
LABELS = np.arange(120) % 10
UNTRACEABLE = [
    (having(batch_size=121), "120 training examples do not fill a batch of 121: give a smaller --batch-size"),
    (having(optimizer__warmup_steps=100), "--optimizer.warmup-steps 100 is not shorter than the run of 100 steps"),
    (having(data__binarize="none"), "own has grey pixels, for which a Bernoulli has no density: give --data.binarize"),
    (
        having(objective__price=prices.Weight(warmup_epochs=101)),
        "--objective.price.warmup-epochs 101 is longer than the run of --epochs 100: warm up for less",
    ),
    (
        having(objective__bound=bounds.Miwae(), objective__num_samples=7),
        "--objective.num-samples 7 cannot be taken in --objective.bound.groups 5",
    ),
    (having(objective__bound=bounds.Piwae(), objective__num_samples=7), "of one size: give a multiple of 5"),
    (
        having(objective__bound=bounds.Piwae(), objective__num_samples=5, objective__remat=1),
        "--objective.bound piwae holds all draws at once: leave out --objective.remat",
    ),
    (
        having(objective__price=prices.FreeBits(), accumulate=2),
        "looks at the mean divergence of a whole batch: leave out --accumulate, or give",
    ),
    (
        having(objective__price=prices.Capacity(), objective__remat=1),
        "price capacity holds all draws at once: leave out --objective.remat",
    ),
    (
        having(objective__price=prices.Factor(), accumulate=2),
        "--objective.price factor looks at the aggregate posterior of a whole batch: leave out --accumulate",
    ),
    (
        having(objective__price=prices.Bidirectional()),
        "price bidirectional needs a density of grey pixels, whose mean may pass for an image, and --model.likelihood "
        "bernoulli has none",
    ),
    (having(objective__price=prices.Similarity()), "price similarity needs a density of grey pixels"),
    (
        having(
            objective__price=prices.Similarity(),
            objective__num_samples=2,
            model__likelihood=likelihoods.ContinuousBernoulli(),
        ),
        "--objective.price similarity shows its discriminator one draw of each example",
    ),
    (
        having(objective__encoder_steps=3),
        "--batch-size 100 cannot be taken in --objective.encoder-steps 3 parts of one",
    ),
    (having(objective__encoder_steps=2, accumulate=2), "parts of its own: leave out --accumulate"),
    (having(model__posterior=posteriors.Coupling(), model__latent=1), "needs two latent dimensions or more"),
    (having(model__posterior=posteriors.Spline(), model__latent=1), "needs two latent dimensions or more"),
    (having(model__prior=priors.Flow(), model__latent=1), "needs two latent dimensions or more"),
    (having(model__prior=priors.Correlated(), model__latent=1), "with D of 2 at least"),
    (having(model__posterior=posteriors.VonMisesFisher(), model__latent=2), "needs --model.latent 3 at least, not 2"),
    (
        having(model__prior=priors.Vamp(components=121)),
        "--model.prior.components 121 pseudo-inputs cannot start at 120 training images: give fewer",
    ),
    (
        having(model__likelihood=likelihoods.Categorical(), model__mean_bias=True),
        "--model.mean-bias has no meaning for --model.likelihood categorical: leave it out",
    ),
]


def own(labels=LABELS, images=IMAGES):
    return Dataset("own", "120/120", Split(images, labels), None, Split(images, labels))


def prepared(config, dataset):
    """What a run does with its data before it begins."""
    refusals.check(config)
    kind = next(kind for kind in map(kinds.kind_of, kinds.names()) if kind.config is type(config))
    refusals.recipe_of(kind, config, dataset)


@pytest.mark.parametrize(("config", "sentence"), UNTRACEABLE, ids=[sentence for _, sentence in UNTRACEABLE])
def test_what_the_data_or_a_trace_refuses_is_a_sentence(config, sentence):
    with pytest.raises(RunError) as refused:
        prepared(config, own())
    assert sentence in str(refused.value)


@pytest.mark.parametrize("binarize", ["static", "dynamic", "threshold"])
def test_grey_pixels_are_not_binarised_for_a_density_of_grey_ones(binarize):
    config = having(model__likelihood=likelihoods.Categorical(), data__binarize=binarize)
    with pytest.raises(
        RunError, match=r"likelihood categorical is a density of grey pixels: give --data\.binarize none"
    ):
        plain.KIND.data(config)


def test_labels_that_are_missing_or_too_many_are_refused():
    config = class_conditional.Config()
    prepared(config, own())
    with pytest.raises(RunError, match=r"run from 1 to 10, .* give --model.classes 11"):
        prepared(config, own(LABELS + 1))
    with pytest.raises(RunError, match="run from -1 to 8, and a class is a number from 0 on"):
        prepared(config, own(LABELS - 1))
    with pytest.raises(RunError, match="own has no labels: take data that has, or another kind"):
        prepared(config, own(None))
    prepared(plain.Config(), own(None))


def test_an_image_without_quadrants_is_refused():
    with pytest.raises(RunError, match="has no four quadrants; take a larger one"):
        prepared(quadrants.Config(), own(images=IMAGES[:, :1]))


def test_data_that_cannot_be_had_is_refused():
    with pytest.raises(DataError, match="did you mean 'mnist'"):
        plain.KIND.data(having(data__name="minst"))


RICH = having(
    data=Images("mnist", Path("/data"), None, "no", "static", "60k/10k"),
    model__network=networks.Residual(maps=(8, 16, 8), blocks=2),
    model__latent=4,
    model__posterior=posteriors.SylvesterHouseholder(flows=2, amortised=False, columns=3, reflections=2),
    model__prior=priors.Vamp(components=7),
    model__mean_bias=True,
    objective__bound=bounds.Renyi(alpha=float("-inf")),
    objective__num_samples=5,
    objective__estimator=estimators.StickingTheLanding(),
    objective__price=prices.Weight(beta=0.5, warmup_epochs=3),
    optimizer=Optimizer(1e-4, "cosine", 10, 5.0, 0.01, 0.8, 0.99, 0.999),
    evaluation=Evaluation(0, 5),
    checkpoints=Checkpoints(0.0, 3),
    epochs=7,
    patience=2,
    num_seeds=2,
)


def test_a_rich_configuration_passes():
    refusals.check(RICH)


# --- as a file


def kind_of_config(config):
    return next(kinds.kind_of(name) for name in CONFIGS if CONFIGS[name] is type(config))


@pytest.mark.parametrize("config", [*[kind() for kind in CONFIGS.values()], RICH], ids=[*CONFIGS, "rich"])
def test_every_default_passes_and_json_gives_the_configuration_back(config, tmp_path):
    refusals.check(config)
    kind = kind_of_config(config)
    config_file.write(kind, config, tmp_path / "config.json", command="jaxvae train")
    assert config_file.read(tmp_path / "config.json") == (kind, config)
    assert config_file.read(tmp_path / "config.json", kind) == (kind, config)
    stored = json.loads((tmp_path / "config.json").read_text(), parse_constant=pytest.fail)
    assert (stored["kind"], stored["command"]) == (kind.name, "jaxvae train")


def test_the_default_binarisation_follows_the_likelihood_and_the_data():
    assert binarization(plain.Config()) == "dynamic"
    assert binarization(having(model__likelihood=likelihoods.Gaussian())) == "none"
    assert binarization(having(data__name="binarized_mnist")) == "none"
    assert binarization(having(data__binarize="threshold")) == "threshold"


def test_differences_are_named_as_options():
    assert differences(plain.Config(), plain.Config()) == []
    left, right = having(optimizer__lr=1.0), having(batch_size=3, model__posterior=posteriors.Full())
    assert differences(left, right) == ["--optimizer.lr", "--batch-size", "--model.posterior"]


@pytest.fixture
def stored(tmp_path):
    """The file of the default, and what it holds."""
    path = tmp_path / "config.json"
    config_file.write(plain.KIND, plain.Config(), path, command="")
    return path, json.loads(path.read_text())


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda values: values | {"unheard_of": 1}, "unheard_of is unknown"),
        (lambda values: values | {"epochs": "many"}, "epochs 'many' is not a whole number"),
        (lambda values: values | {"epochs": True}, "epochs True is not a whole number"),
        (lambda values: values | {"model": values["model"] | {"network": {"is": "os.system"}}}, "os.system is none of"),
        (lambda values: values | {"model": values["model"] | {"network": "small"}}, "'small' is not a member of small"),
        (lambda values: values | {"model": 3}, "model 3 is not a group of options"),
        (lambda values: [values], "no configuration of this version"),
        (lambda values: {name: values[name] for name in values if name != "kind"}, "'kind'"),
    ],
    ids=["unknown", "word", "switch", "member", "no member", "no group", "no dictionary", "no kind"],
)
def test_a_spoilt_file_is_refused_with_a_sentence(spoil, sentence, stored):
    path, values = stored
    path.write_text(json.dumps(spoil(values)))
    with pytest.raises(RunError, match="no configuration of this version") as refused:
        config_file.read(path)
    assert sentence in str(refused.value)


def test_what_an_older_version_did_not_write_takes_its_default(stored):
    path, values = stored
    del values["accumulate"], values["model"]["posterior"], values["objective"]["price"]["beta"], values["version"]
    path.write_text(json.dumps(values | {"batch_size": 7}))
    assert config_file.read(path) == (plain.KIND, plain.Config(batch_size=7))


def test_a_run_of_another_kind_asks_for_it(stored):
    path, values = stored
    path.write_text(json.dumps(values | {"kind": "my-own"}))
    with pytest.raises(RunError, match=r"is a run of the kind 'my-own': .* of a kind of your own give kind="):
        config_file.read(path)
    with pytest.raises(RunError, match="is a run of the kind my-own, not plain: give its own kind"):
        config_file.read(path, plain.KIND)
    mine = Kind("my-own", plain.Config, plain.KIND.data, plain.recipe)
    assert config_file.read(path, mine) == (mine, plain.Config())


@pytest.mark.parametrize("name", ["../plain", "os", "", "plain.py", "PLAIN", ["plain"], None])
def test_a_name_that_is_no_kind_imports_nothing(name, stored):
    path, values = stored
    path.write_text(json.dumps(values | {"kind": name}))
    with pytest.raises(RunError, match="is a run of the kind"):
        config_file.read(path)


def test_a_missing_file_is_no_run_folder(tmp_path):
    with pytest.raises(RunError, match="is no run folder"):
        config_file.read(tmp_path / "config.json")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float64("-inf")])
def test_a_number_that_json_has_no_word_for_is_refused_and_leaves_the_file_as_it_was(value, tmp_path):
    write_json(tmp_path / "result.json", {"test_elbo": -1.0})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "result.json", {"test_elbo": [value]})
    assert json.loads((tmp_path / "result.json").read_text()) == {"test_elbo": -1.0}
    assert len(list(tmp_path.iterdir())) == 1
