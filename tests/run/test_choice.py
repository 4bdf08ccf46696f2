import dataclasses
import itertools
import json
import math
import random
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pytest
import tyro

from jaxvae.run import RunError
from jaxvae.run.choice import (
    EVERYDAY,
    Above,
    AtLeast,
    Below,
    Between,
    Within,
    check_ranges,
    chosen,
    differences,
    from_dict,
    members,
    named,
    parse,
    to_dict,
)


@dataclass(frozen=True)
class Normal:
    """A Gaussian."""


@dataclass(frozen=True)
class OneHot:
    """Classes."""

    classes: Annotated[int, AtLeast(2)] = 10
    """How many classes each has."""
    relaxed: bool = False


@dataclass(frozen=True)
class Sylvester:
    """Carried through Sylvester flows.

    A second paragraph.
    """

    flows: Annotated[int, AtLeast(1)] = 4
    """How many transforms.
    They are applied in turn."""
    amortised: bool = True
    """Whether the encoder gives them."""
    base: Normal | OneHot = field(default_factory=Normal)
    """What is carried."""


@dataclass(frozen=True)
class Planar:
    """Carried through planar flows."""

    word: ClassVar[str] = "planar-flow"
    flows: int = 4
    """How many."""


@dataclass(frozen=True)
class Vamp:
    """The mixture of posteriors."""

    components: int = 500
    """Of the mixture."""
    base: Normal | Sylvester = Sylvester(flows=2)


@dataclass(frozen=True)
class Model:
    """The model."""

    posterior: Normal | Sylvester | Planar | OneHot = field(default_factory=Normal)
    """q(z|x). It has many forms."""
    prior: Vamp | None = None
    """p(z)."""
    latent: Annotated[int, EVERYDAY, AtLeast(1)] = 20
    """The number of latent dimensions (Burda et al. 2016). More of it."""
    mean_bias: bool = False
    """Start from the mean."""
    width: Annotated[float | None, Above(0)] = None
    share: Annotated[float, Within(0, 1)] = 0.5
    average: Annotated[float, Between(0, 1)] = 0.9
    beta: Annotated[float, AtLeast(0)] = 1.0
    sizes: Annotated[tuple[int, ...], AtLeast(1)] = (8, 8)
    network: Literal["small", "conv"] = "small"


@dataclass(frozen=True)
class Data:
    """The data."""

    name: Annotated[str, EVERYDAY, tyro.conf.arg(aliases=["--data"])] = "digits"
    """Its name."""
    folder: Path | None = None


@dataclass(frozen=True)
class Config:
    """Train it."""

    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)
    loss: Annotated[Normal | Planar, EVERYDAY, tyro.conf.arg(aliases=["--loss-of"])] = field(default_factory=Planar)
    devices: Annotated[int | Literal["all"] | None, AtLeast(1)] = None
    pair: tuple[int, float] = (1, 2.0)
    place: Path = Path("runs")


@dataclass(frozen=True)
class Question:
    """Ask a run."""

    run: tyro.conf.Positional[Path]
    """The run."""
    how: Normal | Planar
    """In which way."""
    k: int = 10

    def __post_init__(self):
        if not isinstance(self.run, Path) or not isinstance(self.k, int):
            raise TypeError("incomplete")


def parsed(line, kind=Config):
    return parse(kind, line.split(), program="it")


def model(**values):
    return Config(model=Model(**values))


SPELLINGS = {
    "": Config(),
    "--model.posterior sylvester": model(posterior=Sylvester()),
    "--model.posterior=sylvester": model(posterior=Sylvester()),
    "--model.posterior planar-flow --model.posterior.flows=8": model(posterior=Planar(flows=8)),
    "--model.posterior.base.classes 3 --model.posterior.base one-hot --model.posterior sylvester": model(
        posterior=Sylvester(base=OneHot(classes=3))
    ),
    "--model.posterior one-hot --model.posterior sylvester": model(posterior=Sylvester()),
    "--model.posterior sylvester --model.posterior.no-amortised": model(posterior=Sylvester(amortised=False)),
    "--model.posterior sylvester --no-model.posterior.amortised": model(posterior=Sylvester(amortised=False)),
    "--model.mean-bias": model(mean_bias=True),
    "--model.mean_bias": model(mean_bias=True),
    "--no-model.mean-bias": Config(),
    "--model.prior vamp": model(prior=Vamp()),
    "--model.prior vamp --model.prior none": Config(),
    "--model.prior.base.flows 3 --model.prior vamp": model(prior=Vamp(base=Sylvester(flows=3))),
    "--model.prior vamp --model.prior.base sylvester": model(prior=Vamp(base=Sylvester(flows=2))),
    "--model.width 0.5 --model.sizes 1 2 3": model(width=0.5, sizes=(1, 2, 3)),
    "--model.width None --model.network conv": model(network="conv"),
    "--data mnist": Config(data=Data("mnist")),
    "--data.name mnist --data.folder a/b": Config(data=Data("mnist", Path("a/b"))),
    "--loss-of normal": Config(loss=Normal()),
    "--loss planar-flow --loss.flows 5": Config(loss=Planar(flows=5)),
    "--devices all --pair 3 4": Config(devices="all", pair=(3, 4.0)),
}


@pytest.mark.parametrize("line", SPELLINGS)
def test_a_command_line_is_the_configuration(line):
    assert parsed(line) == SPELLINGS[line]


def test_the_order_of_flags_does_not_matter():
    flags = [
        "--model.posterior sylvester",
        "--model.posterior.flows 8",
        "--model.posterior.base=one-hot",
        "--model.posterior.base.classes 3",
        "--model.prior vamp",
        "--model.prior.components=7",
        "--data mnist",
        "--model.sizes 3 4 5",
    ]
    posterior = Sylvester(flows=8, base=OneHot(classes=3))
    whole = Config(Data("mnist"), Model(posterior=posterior, prior=Vamp(components=7), sizes=(3, 4, 5)))
    orders = list(itertools.permutations(flags))
    for order in random.Random(0).sample(orders, 40):
        assert parsed(" ".join(order)) == whole


def test_what_must_be_given():
    assert parsed("runs/a --how normal", Question) == Question(Path("runs/a"), Normal())
    assert parsed("--how planar-flow --k 3 --how.flows 2 runs/a", Question) == Question(Path("runs/a"), Planar(2), 3)
    with pytest.raises(RunError, match=r"^--how is missing: give one of normal, planar-flow$"):
        parsed("runs/a", Question)
    with pytest.raises(SystemExit, match="2"):
        parsed("--how normal", Question)


@dataclass(frozen=True)
class Sized:
    size: int
    """Without a default."""


def test_a_member_may_have_options_that_must_be_given(capsys):
    kind = dataclasses.make_dataclass("Kind", [("how", Normal | Sized, field(default_factory=Normal))], frozen=True)
    assert parsed("--how.size 3 --how sized", kind) == kind(Sized(3))
    with pytest.raises(SystemExit, match="2"):
        parsed("--how sized", kind)
    assert "--how.size" in "".join(capsys.readouterr())
    with pytest.raises(ValueError, match=r"^how.size is missing, and has no default$"):
        from_dict(kind, {"how": {"is": "sized"}})


@pytest.mark.parametrize(
    "line", ["", "--name x --no-resume", "--data mnist --resume", "--no-resume --sizes 1 2", "--devices all"]
)
def test_without_unions_it_is_tyro(line):
    @dataclass(frozen=True)
    class Plain:
        data: Data = field(default_factory=Data)
        name: str | None = None
        resume: bool = False
        sizes: tuple[int, ...] = ()
        devices: int | Literal["all"] | None = None

    assert parsed(line, Plain) == tyro.cli(Plain, args=line.split())


REFUSED = {
    "--model.posterior silvester": "--model.posterior silvester is none of normal, sylvester, planar-flow, one-hot: "
    "perhaps sylvester",
    "--model.posterior": "--model.posterior needs a name: give one of normal, sylvester, planar-flow, one-hot",
    "--model.posterior --data x": "--model.posterior needs a name: give one of normal, sylvester, planar-flow, one-hot",
    "--model.posterior.flows 8": "--model.posterior.flows is an option of --model.posterior sylvester or planar-flow, "
    "not of normal: give --model.posterior sylvester",
    "--model.posterior one-hot --model.posterior.no-amortised": "--model.posterior.no-amortised is an option of "
    "--model.posterior sylvester, not of one-hot: give --model.posterior sylvester",
    "--model.posterior.base one-hot": "--model.posterior.base is an option of --model.posterior sylvester, not of "
    "normal: give --model.posterior sylvester",
    "--model.posterior sylvester --model.posterior.base.classes 3": "--model.posterior.base.classes is an option of "
    "--model.posterior.base one-hot, not of normal: give --model.posterior.base one-hot",
    "--model.prior.base.flows 3": "--model.prior.base.flows is an option of --model.prior vamp, not of none: give "
    "--model.prior vamp",
    "--model.posteriar sylvester": "--model.posteriar is no option: perhaps --model.posterior",
    "--model.posterior.classez 3": "--model.posterior.classez is no option: perhaps --model.posterior.classes, which "
    "is an option of --model.posterior one-hot, not of normal: give --model.posterior one-hot",
}


@pytest.mark.parametrize("line", REFUSED)
def test_a_refusal_says_what_to_give(line):
    with pytest.raises(RunError) as refusal:
        parsed(line)
    assert str(refusal.value) == REFUSED[line]


@pytest.mark.parametrize("line", ["--model.latnt 3", "--model.latent x", "--model.network big", "stray"])
def test_what_tyro_cannot_read_ends_with_2(line, capsys):
    with pytest.raises(SystemExit, match="2"):
        parsed(line)
    if "latnt" in line:
        said = "".join(capsys.readouterr())
        assert "Perhaps you meant" in said
        assert "--model.latent" in said


def test_names():
    assert [named(kind) for kind in (Normal, OneHot, Planar, type(None))] == [
        "normal",
        "one-hot",
        "planar-flow",
        "none",
    ]
    assert members(Config, "model.posterior") == {
        "normal": Normal,
        "sylvester": Sylvester,
        "planar-flow": Planar,
        "one-hot": OneHot,
    }
    assert members(Config, "model.prior") == {"vamp": Vamp, "none": type(None)}
    assert members(Config, "model.posterior.base") == {"normal": Normal, "one-hot": OneHot}
    assert members(Config, "model.latent") == members(Config, "model") == members(Config, "no.where") == {}
    config = model(posterior=Sylvester(flows=3))
    assert chosen(config) == {
        "model.posterior": Sylvester(flows=3),
        "model.posterior.base": Normal(),
        "model.prior": None,
        "loss": Planar(),
    }


@pytest.mark.parametrize("config", [*SPELLINGS.values(), model(beta=math.inf)])
def test_json_and_back(config):
    assert from_dict(Config, json.loads(json.dumps(to_dict(config)))) == config


def test_json_says_what_a_member_is():
    values = to_dict(model(posterior=Planar(8)))
    assert values["model"]["posterior"] == {"is": "planar-flow", "flows": 8}
    assert values["model"]["prior"] is None
    assert values["model"]["sizes"] == [8, 8]
    assert values["place"] == "runs"
    assert values["data"] == {"name": "digits", "folder": None}


def test_what_an_older_version_did_not_write_has_its_default():
    assert from_dict(Config, {}) == Config()
    assert from_dict(Config, {"model": {"posterior": {"is": "sylvester"}}}) == model(posterior=Sylvester())
    assert from_dict(Config, {"model": {"prior": {"is": "vamp", "base": {"is": "sylvester"}}}}) == model(prior=Vamp())
    assert from_dict(Question, {"run": "a", "how": {"is": "normal"}}) == Question(Path("a"), Normal())


WRONG = [
    ({"modl": {}}, "modl is unknown: there are data, model, loss, devices, pair, place: perhaps model"),
    ({"model": {"posterior": {"is": "sylvester", "flow": 8}}}, "model.posterior.flow is unknown: .* perhaps flows"),
    ({"model": {"posterior": {"is": "normal", "flows": 8}}}, "model.posterior.flows is unknown: there are no options"),
    (
        {"model": {"posterior": {"is": "silvester"}}},
        "model.posterior silvester is none .* perhaps sylvester",
    ),
    ({"model": {"posterior": "normal"}}, "model.posterior 'normal' is not a member .* {\"is\": NAME, ...}"),
    ({"model": {"posterior": {}}}, "model.posterior {} is not a member"),
    ({"model": {"posterior": None}}, "model.posterior none is none of normal"),
    ({"model": {"latent": "many"}}, "model.latent 'many' is not a whole number"),
    ({"model": {"latent": True}}, "model.latent True is not a whole number"),
    ({"model": {"latent": 2.5}}, "model.latent 2.5 is not a whole number"),
    ({"model": {"beta": "1"}}, "model.beta '1' is not a number"),
    ({"model": {"mean_bias": 1}}, "model.mean_bias 1 is not true or false"),
    ({"model": {"width": "wide"}}, "model.width 'wide' is not a number or None"),
    ({"model": {"network": "big"}}, "model.network 'big' is not one of 'small', 'conv'"),
    ({"model": {"sizes": [1, "a"]}}, "model.sizes \\[1, 'a'\\] is not a list of a whole number, ..."),
    ({"pair": [1]}, "pair \\[1\\] is not a list of a whole number, a number"),
    ({"devices": "some"}, "devices 'some' is not a whole number or 'all' or None"),
    ({"data": {"folder": 3}}, "data.folder 3 is not a path or None"),
    ({"model": 3}, "model 3 is not a group of options"),
    ([], "the configuration \\[\\] is not a group of options"),
]


@pytest.mark.parametrize(("values", "sentence"), WRONG)
def test_a_wrong_value_is_named_by_its_path(values, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}"):
        from_dict(Config, values)


def test_a_field_without_a_default_may_not_be_missing():
    with pytest.raises(ValueError, match=r"^run is missing, and has no default$"):
        from_dict(Question, {"how": {"is": "normal"}})
    with pytest.raises(ValueError, match=r"^how is missing, and has no default$"):
        from_dict(Question, {"run": "a"})


def test_a_whole_number_of_json_becomes_a_float():
    assert isinstance(from_dict(Config, {"model": {"beta": 2}}).model.beta, float)


def test_differences():
    assert differences(Config(), Config()) == []
    assert differences(model(posterior=Sylvester()), model(posterior=Planar())) == ["--model.posterior"]
    assert differences(model(posterior=Sylvester()), model(posterior=Sylvester(flows=3, base=OneHot()))) == [
        "--model.posterior.flows",
        "--model.posterior.base",
    ]
    assert differences(Config(), model(prior=Vamp(), mean_bias=True)) == ["--model.prior", "--model.mean-bias"]
    assert differences(model(prior=Vamp()), Config()) == ["--model.prior"]


OUTSIDE = [
    (model(latent=0), "--model.latent 0 must be at least 1"),
    (model(beta=-1.0), "--model.beta -1.0 must not be negative"),
    (model(beta=math.nan), "--model.beta nan must not be negative"),
    (model(width=0.0), "--model.width 0.0 must be positive"),
    (model(width=math.nan), "--model.width nan must be positive"),
    (model(share=1.5), "--model.share 1.5 must lie between 0 and 1"),
    (model(share=math.nan), "--model.share nan must lie between 0 and 1"),
    (model(average=1.0), "--model.average 1.0 must lie between 0 and 1, and be neither"),
    (model(average=-1.0), "--model.average -1.0 must lie between 0 and 1"),
    (model(sizes=(3, 0)), "--model.sizes 0 must be at least 1"),
    (model(posterior=Sylvester(flows=0)), "--model.posterior.flows 0 must be at least 1"),
    (model(posterior=Sylvester(base=OneHot(1))), "--model.posterior.base.classes 1 must be at least 2"),
    (Config(devices=0), "--devices 0 must be at least 1"),
]


@pytest.mark.parametrize(("config", "sentence"), OUTSIDE)
def test_a_number_outside_its_range(config, sentence):
    with pytest.raises(RunError) as refusal:
        check_ranges(config)
    assert str(refusal.value) == sentence


@pytest.mark.parametrize(
    "config",
    [Config(), model(share=0.0), model(share=1.0), model(beta=0.0), model(width=math.inf), Config(devices="all")],
)
def test_a_number_within_its_range(config):
    check_ranges(config)


def test_other_ends():
    assert Above(2).refusal(2) == "must be above 2"
    assert Below(math.inf).refusal(math.inf) == "must be below inf"
    assert Below(1).refusal(0.5) is None
    assert Above(2).refusal(2.5) is None


def help_of(line, capsys, monkeypatch, kind=Config, columns=80):
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit, match="0"):
        parsed(line, kind)
    return capsys.readouterr().out


def test_the_short_help(capsys, monkeypatch):
    text = help_of("--help", capsys, monkeypatch)
    assert text == help_of("-h", capsys, monkeypatch)
    for piece in (
        "usage: it [OPTIONS]\n\nTrain it.",
        "--data.name, --data STR\n      Its name. (default: digits)",
        "The number of latent dimensions (Burda et al. 2016). (default: 20)",
        "q(z|x). One of normal, sylvester, planar-flow, one-hot. (default: normal)",
        "--loss, --loss-of NAME\n      One of normal, planar-flow. (default: planar-flow)",
    ):
        assert piece in text
    assert "--model.width" not in text
    assert "--model.posterior.flows" not in text
    assert text.endswith("\n26 more options: --help-all\n")


def test_the_short_help_shows_the_options_of_a_member_that_is_named(capsys, monkeypatch):
    text = help_of("--help --model.posterior sylvester", capsys, monkeypatch, columns=100)
    assert "(chosen: sylvester)" in text
    assert "--model.posterior sylvester:\n  Carried through Sylvester flows.\n  --model.posterior.flows INT" in text
    assert "How many transforms. They are applied in turn. (default: 4)" in text


def test_the_whole_help_has_every_option(capsys, monkeypatch):
    text = help_of("--help-all", capsys, monkeypatch, columns=60)
    assert max(map(len, text.splitlines())) <= 60
    for flag in ("--devices INT|{all}|None", "--model.width FLOAT|None", "--pair INT FLOAT", "--place PATH"):
        assert flag in text
    for section in (
        "--model.posterior normal:\n  A Gaussian.",
        "--model.posterior planar-flow:\n  Carried through planar flows.\n  --model.posterior.flows INT",
        "--model.posterior.base one-hot of sylvester:\n  Classes.\n  --model.posterior.base.classes INT",
        "--model.prior vamp:",
        "--model.prior.base sylvester of vamp:",
    ):
        assert section in text
    assert "more options" not in text


def test_a_type_without_everyday_options_shows_all(capsys, monkeypatch):
    text = help_of("--help", capsys, monkeypatch, Question)
    assert text == help_of("--help-all", capsys, monkeypatch, Question)
    assert text.startswith("usage: it [OPTIONS] PATH\n\nAsk a run.\n\n  PATH\n      The run. (required)")
    assert "--how NAME\n      In which way. One of normal, planar-flow. (required)" in text


def test_a_type_without_unions_has_the_help_of_tyro(capsys, monkeypatch):
    plain = dataclasses.make_dataclass("Plain", [("size", int, 3)])
    assert "show this help message and exit" in help_of("--help", capsys, monkeypatch, plain)
    assert "--size INT\n      (default: 3)" in help_of("--help-all", capsys, monkeypatch, plain)


def test_two_members_of_one_name_are_a_mistake():
    twin = dataclasses.make_dataclass("Normal", [])
    kind = dataclasses.make_dataclass("Kind", [("q", Normal | twin, field(default_factory=Normal))])
    with pytest.raises(TypeError, match="one name"):
        parsed("", kind)


def test_starting_needs_no_jax():
    code = "import sys, jaxvae.run.choice; print(sorted({'jax', 'numpy', 'flax'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
