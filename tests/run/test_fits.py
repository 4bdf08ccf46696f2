from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import pytest

from jaxvae.run import RunError
from jaxvae.run.choice import fits

PHRASES = {"path": "draws with a path", "density": "a density that can be evaluated", "weights": "weights of its draws"}


@dataclass(frozen=True)
class Normal:
    has: ClassVar = frozenset({"path", "density"})


@dataclass(frozen=True)
class Full:
    has: ClassVar = frozenset({"path", "density"})


@dataclass(frozen=True)
class Bernoulli:
    has: ClassVar = frozenset({"density"})


@dataclass(frozen=True)
class Auxiliary:
    has: ClassVar = frozenset({"path"})


@dataclass(frozen=True)
class Iaf:
    """Whether it has a density depends on its values."""

    inverse: bool = True

    @property
    def has(self):
        return {"path", "density"} if self.inverse else {"path"}


@dataclass(frozen=True)
class Pathwise:
    needs: ClassVar = {"model.posterior": {"path"}}


@dataclass(frozen=True)
class Sticking:
    needs: ClassVar = {"model.posterior": ["path", "density"]}


@dataclass(frozen=True)
class ScoreFunction:
    needs: ClassVar = {"model.posterior": {"density"}, "no.where": {"path"}}


@dataclass(frozen=True)
class WakeWake:
    needs: ClassVar = {"model.posterior": {"density"}, "bound": {"weights"}}


@dataclass(frozen=True)
class Elbo:
    pass


@dataclass(frozen=True)
class Iwae:
    has: ClassVar = {"weights"}


@dataclass(frozen=True)
class Model:
    posterior: Normal | Full | Bernoulli | Auxiliary | Iaf = field(default_factory=Normal)


@dataclass(frozen=True)
class Price:
    free_bits: float | None = None
    strict: bool = False

    @property
    def needs(self) -> Mapping:
        price = {} if self.free_bits is None else {"model.posterior": {"path": "free_bits"}}
        return price | ({"bound": {"weights": "strict"}} if self.strict else {})


@dataclass(frozen=True)
class Measure:
    on: bool = False

    @property
    def needs(self):
        return {"model.posterior": {"density"}} if self.on else {}


@dataclass(frozen=True)
class Config:
    model: Model = field(default_factory=Model)
    estimator: Pathwise | Sticking | ScoreFunction | WakeWake = field(default_factory=Pathwise)
    bound: Elbo | Iwae | None = field(default_factory=Elbo)
    price: Price = field(default_factory=Price)
    measure: Measure = field(default_factory=Measure)


def of(posterior, **values):
    return Config(model=Model(posterior), **values)


FIT = [
    Config(),
    of(Iaf()),
    of(Auxiliary()),
    of(Bernoulli(), estimator=ScoreFunction()),
    of(Bernoulli(), estimator=WakeWake(), bound=Iwae()),
    of(Auxiliary(), price=Price(free_bits=1.0)),
    of(Iaf(), measure=Measure(on=True)),
    of(Iaf(inverse=False)),
]

REFUSED = [
    (
        of(Bernoulli()),
        "--estimator pathwise needs draws with a path, and --model.posterior bernoulli has none: give "
        "--model.posterior normal, full, auxiliary or iaf, or another --estimator (score-function or wake-wake)",
    ),
    (
        of(Auxiliary(), estimator=Sticking()),
        "--estimator sticking needs a density that can be evaluated, and --model.posterior auxiliary has none: give "
        "--model.posterior normal, full or iaf, or another --estimator (pathwise)",
    ),
    (
        of(Bernoulli(), estimator=Sticking()),
        "--estimator sticking needs draws with a path, and --model.posterior bernoulli has none: give "
        "--model.posterior normal, full or iaf, or another --estimator (score-function or wake-wake)",
    ),
    (
        of(Iaf(inverse=False), estimator=ScoreFunction()),
        "--estimator score-function needs a density that can be evaluated, and --model.posterior iaf has none: give "
        "--model.posterior normal, full or bernoulli, or another --estimator (pathwise)",
    ),
    (
        Config(estimator=WakeWake()),
        "--estimator wake-wake needs weights of its draws, and --bound elbo has none: give --bound iwae, or another "
        "--estimator (pathwise, sticking or score-function)",
    ),
    (
        Config(estimator=WakeWake(), bound=None),
        "--estimator wake-wake needs weights of its draws, and --bound none has none: give --bound iwae, or another "
        "--estimator (pathwise, sticking or score-function)",
    ),
    (
        of(Bernoulli(), estimator=ScoreFunction(), price=Price(free_bits=1.5)),
        "--price.free-bits 1.5 needs draws with a path, and --model.posterior bernoulli has none: give "
        "--model.posterior normal, full, iaf or auxiliary, or leave out --price.free-bits",
    ),
    (
        Config(price=Price(strict=True)),
        "--price.strict needs weights of its draws, and --bound elbo has none: give --bound iwae, or leave out "
        "--price.strict",
    ),
    (
        of(Auxiliary(), measure=Measure(on=True)),
        "--measure needs a density that can be evaluated, and --model.posterior auxiliary has none: give "
        "--model.posterior normal, full, iaf or bernoulli, or leave out --measure",
    ),
]


@pytest.mark.parametrize("config", FIT)
def test_what_fits(config):
    fits.check(config, PHRASES)


@pytest.mark.parametrize(("config", "sentence"), REFUSED)
def test_a_refusal_names_what_would_do(config, sentence):
    with pytest.raises(RunError) as refusal:
        fits.check(config, PHRASES)
    assert str(refusal.value) == sentence


@pytest.mark.parametrize("posterior", [Normal(), Full(), Bernoulli(), Auxiliary(), Iaf(), Iaf(inverse=False)])
@pytest.mark.parametrize("estimator", [Pathwise(), Sticking(), ScoreFunction(), WakeWake()])
@pytest.mark.parametrize("bound", [Elbo(), Iwae()])
def test_refused_is_what_lacks_a_word_and_nothing_else(posterior, estimator, bound):
    needs = estimator.needs
    fit = set(needs["model.posterior"]) <= set(posterior.has)
    fit &= set(needs.get("bound", ())) <= set(getattr(bound, "has", ()))
    config = of(posterior, estimator=estimator, bound=bound)
    if fit:
        fits.check(config, PHRASES)
    else:
        with pytest.raises(RunError):
            fits.check(config, PHRASES)


def test_nothing_to_give():
    @dataclass(frozen=True)
    class Lonely:
        model: Model
        bound: Elbo = field(default_factory=Elbo)
        needs: ClassVar = {"bound": {"weights"}}

    with pytest.raises(RunError, match=r"^the configuration needs weights of its draws, and --bound has none$"):
        fits.check(Lonely(Model()), PHRASES)


def test_long_lists_are_cut():
    assert fits._some(list("abcde")) == "a, b, c, d, ..."
    assert fits._some(list("abcd")) == "a, b, c or d"
    assert fits._some(["a"]) == "a"
