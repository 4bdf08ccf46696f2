"""Runs of every kind and of every posterior that is more than a density, asked what there is to ask of them."""

import json
from dataclasses import fields, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy

from jaxvae.questions import (
    anomaly,
    code_prior,
    codes,
    conditions,
    decomposition,
    generate,
    impute,
    latent,
    layers,
    likelihood,
    two_stage,
)
from jaxvae.questions.parts import examined
from jaxvae.recipes import class_conditional, ladder, plain, quadrants, vq
from jaxvae.run import RunError, launch
from jaxvae.run.choice import named
from jaxvae.run.options import bounds, estimators, likelihoods, posteriors, priors
from jaxvae.run.options.objective import Objective
from jaxvae.run.report import section
from jaxvae.run.settings import Evaluation

IWAE = partial(Objective, bound=bounds.Iwae(), num_samples=3)
RUNS = {
    "plain": (plain.KIND, {"model": plain.Model(latent=3)}),
    "class-conditional": (class_conditional.KIND, {"model": class_conditional.Model(latent=3)}),
    "quadrants": (quadrants.KIND, {"model": quadrants.Model(latent=3, quadrants=2)}),
    "deterministic": (quadrants.KIND, {"model": quadrants.Model(quadrants=2, deterministic=True)}),
    "one quadrant": (quadrants.KIND, {"model": quadrants.Model(deterministic=True)}),
    "ladder": (ladder.KIND, {"model": ladder.Model(latent=4, layers=3)}),
    "vq": (vq.KIND, {"model": vq.Model(latent=3, codes=6, likelihood=likelihoods.GaussianShared())}),
    "auxiliary": (plain.KIND, {"model": plain.Model(posterior=posteriors.Auxiliary(), latent=3)}),
    "hamiltonian": (
        plain.KIND,
        {
            "model": plain.Model(posterior=posteriors.Hamiltonian(), latent=2, prior=priors.Vamp(components=5)),
            "objective": IWAE(),
        },
    ),
    "semi-amortised": (
        plain.KIND,
        {
            "model": plain.Model(posterior=posteriors.SemiAmortised(), latent=3),
            "objective": IWAE(estimator=estimators.DoublyReparameterized()),
        },
    ),
    "one-hot": (
        plain.KIND,
        {
            "model": plain.Model(posterior=posteriors.OneHot(classes=4), latent=3, prior=priors.Learned()),
            "objective": Objective(estimator=estimators.ScoreFunction()),
        },
    ),
    "planar": (plain.KIND, {"model": plain.Model(posterior=posteriors.Planar(), latent=3)}),
    "von-mises-fisher": (plain.KIND, {"model": plain.Model(posterior=posteriors.VonMisesFisher(), latent=3)}),
}


@pytest.fixture(autouse=True)
def _standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def run_of(tmp_path_factory):
    """Makes a run with its report when a test first asks for it."""
    place = tmp_path_factory.mktemp("runs")

    def folder(name):
        if not (place / name).exists():
            kind, options = RUNS[name]
            data = replace(kind.config().data, binarize="none") if name == "vq" else kind.config().data
            few = {"epochs": 1, "evaluation": Evaluation(num_samples=0), "data": data, "runs": place, "name": name}
            assert launch.run(kind, launch.options_of(kind)(**few, **options)) == 0
        return place / name

    return folder


def asked(question, run, **options):
    """The numbers that a question leaves in a run, with its section in the report."""
    question.main(question.Options(run, **options))
    name = question.__name__.rpartition(".")[2]
    page = (run / "report.html").read_text()
    assert json.loads((run / "sections" / f"{name}.json").read_text())["title"] in page
    return json.loads((run / f"{name}.json").read_text())


@pytest.mark.slow
def test_the_layers_of_a_ladder(run_of):
    options = {"baseline": run_of("plain"), "examples": 20, "num_samples": 10}
    numbers = asked(layers, run_of("ladder"), **options)
    assert len(numbers["rate_of_each_layer_ladder"]) == 3
    assert min(numbers["rate_of_each_layer_ladder"]) >= 0
    gain = numbers["nll_one_layer"] - numbers["nll_ladder"]
    assert numbers["gain_over_one_layer"] == pytest.approx(gain, abs=1e-3)
    for baseline, sentence in (
        ("vq", "vq is a run of the kind vq: give a plain run"),
        ("planar", "--model.posterior planar, and this question takes Gaussians apart"),
    ):
        with pytest.raises(RunError, match=sentence):
            asked(layers, run_of("ladder"), **options | {"baseline": run_of(baseline)})


@pytest.mark.slow
def test_the_images_of_a_class(run_of):
    numbers = asked(conditions, run_of("class-conditional"), examples=20, num_samples=5, classified=10)
    assert 0 <= numbers["accuracy"] <= 1
    assert (run_of("class-conditional") / "figures" / "classes.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_images_from_a_part(run_of):
    few = {"examples": 20, "num_samples": 5}
    numbers = asked(conditions, run_of("quadrants"), **few, baseline=run_of("deterministic"))
    gain = numbers["nll_without_a_latent_variable"] - numbers["nll_conditional_vae"]
    assert numbers["gain_over_baseline"] == pytest.approx(gain, abs=1e-3)
    assert (run_of("quadrants") / "figures" / "completions.png").stat().st_size > 10_000
    for baseline, sentence in (
        ("one quadrant", "trained on other data or quadrants"),
        ("plain", "--baseline is a quadrants run, and .*plain is one of the kind plain"),
        ("quadrants", "has a latent variable of its own"),
    ):
        with pytest.raises(RunError, match=sentence):
            asked(conditions, run_of("quadrants"), **few, baseline=run_of(baseline))
    with pytest.raises(RunError, match=r"has no latent variable .*and this one as its --baseline"):
        asked(conditions, run_of("deterministic"), **few)
    with pytest.raises(RunError, match="--baseline belongs to a quadrants run"):
        asked(conditions, run_of("class-conditional"), **few, baseline=run_of("deterministic"))


@pytest.mark.slow
def test_a_learned_prior_is_a_better_code(run_of):
    numbers = asked(code_prior, run_of("vq"), epochs=5, width=16)
    assert numbers["rate_learned_prior"] < numbers["rate_uniform_prior"] == pytest.approx(4 * np.log(6), rel=1e-6)
    assert numbers["nll_bound_learned_prior"] == pytest.approx(
        numbers["distortion"] + numbers["rate_learned_prior"], abs=1e-3
    )
    of_epochs = numbers["rate_learned_prior_of_each_epoch"]
    assert len(of_epochs) == 5
    assert numbers["prior_epochs_kept"] == 1 + np.argmin(of_epochs)
    assert not [name for name in numbers if name.startswith("bits")]  # a Gaussian is no code of pixels
    result = json.loads((run_of("vq") / "result.json").read_text())
    assert numbers["nll_bound_uniform_prior"] == pytest.approx(-result["test_elbo"], abs=1e-2)
    with pytest.raises(RunError, match="--lr 0 must be positive"):
        asked(code_prior, run_of("vq"), lr=0)
    with pytest.raises(RunError, match=r"the prior diverged .*give a lower --lr than 1e\+30"):
        asked(code_prior, run_of("vq"), epochs=2, width=16, lr=1e30)


OTHERS = {
    layers: ("plain", "ladder runs"),
    conditions: ("plain", "class-conditional and quadrants runs"),
    code_prior: ("plain", "vq runs"),
    **dict.fromkeys((likelihood, decomposition, generate, latent, codes, impute, two_stage), ("ladder", "plain runs")),
}


@pytest.mark.slow
@pytest.mark.parametrize("question", OTHERS, ids=lambda module: module.__name__.rpartition(".")[2])
def test_a_run_of_another_kind_is_refused(question, run_of):
    name, about = OTHERS[question]
    with pytest.raises(RunError, match=f"is a run of the kind {name}, and this question is about {about}: give anothe"):
        asked(question, run_of(name))


@pytest.mark.slow
def test_a_class_is_left_out_of_plain_runs_only(run_of):
    with pytest.raises(RunError, match="is a run of the kind ladder, and this question is about plain runs"):
        anomaly.main(anomaly.Options(run_of("ladder"), held_out_class=3))


NOT_REAL = ("one-hot", "von-mises-fisher")
WITHOUT_DENSITY = ("auxiliary", "hamiltonian")
REFUSED = {
    likelihood: ({"examples": 2, "num_samples": 20, "temperatures": 3, "chains": 2}, ()),
    codes: (
        {"train_examples": 200, "test_examples": 60, "tsne_examples": 0, "map_examples": 4, "map_steps": 3},
        NOT_REAL,
    ),
    latent: ({"train_examples": 200, "test_examples": 60, "pairs": 2, "steps": 3, "traversed": 2}, NOT_REAL),
    generate: (
        {"train_examples": 100, "test_examples": 60, "num_samples": 64, "components": 2},
        NOT_REAL + WITHOUT_DENSITY,
    ),
    decomposition: (
        {"examples": 20, "num_samples": 20, "gap_examples": 2, "gap_temperatures": 3},
        (*NOT_REAL, *WITHOUT_DENSITY, "planar"),
    ),
    two_stage: (
        {"train_examples": 100, "test_examples": 20, "num_images": 16, "epochs": 1, "width": 8, "k": 5, "draws": 2}
        | {"components": 2, "batch_size": 50},
        NOT_REAL,
    ),
    impute: ({"examples": 4, "rounds": 2}, ()),
}
POSTERIORS = [*WITHOUT_DENSITY, "semi-amortised", *NOT_REAL, "planar"]


@pytest.mark.slow
@pytest.mark.parametrize("name", POSTERIORS)
@pytest.mark.parametrize("question", REFUSED, ids=lambda module: module.__name__.rpartition(".")[2])
def test_a_question_works_with_a_posterior_or_ends_with_a_sentence(question, name, run_of):
    options, refused = REFUSED[question]
    if name in refused:
        with pytest.raises(RunError, match=f"was trained with --model.posterior {name}, and this question .*: give a"):
            asked(question, run_of(name), **options)
    else:
        assert "protocol" in asked(question, run_of(name), **options)


@pytest.mark.slow
def test_log_p_of_x_of_directions_is_that_of_quadrature_over_the_sphere(run_of):
    """Draws and densities are all that importance sampling needs; what would move z along a gradient is left out."""
    numbers = asked(likelihood, run_of("von-mises-fisher"), examples=6, num_samples=5000)
    run, dataset = examined.open_examined(run_of("von-mises-fisher"))
    xs, _ = examined.seen(run, dataset.test, 6)
    cosines, weights = np.polynomial.legendre.leggauss(60)
    angles = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    sines = np.sqrt(1 - cosines**2)
    flat = sines[:, None] * np.stack([np.cos(angles), np.sin(angles)])[:, None]
    zs = np.concatenate([flat, np.broadcast_to(cosines[:, None], (1, 60, 120))]).reshape(3, -1).T
    log_weights = np.log(np.repeat(weights, 120) / 240)  # of the uniform density

    def log_p(x):
        return jax.lax.map(lambda z: run.model.likelihood(run.params, z).log_prob(x), jnp.asarray(zs, jnp.float32))

    exact = scipy.special.logsumexp(np.asarray(jax.jit(jax.vmap(log_p))(xs)) + log_weights, axis=1)
    for name, found in (("importance_sampling", numbers), ("5000", numbers["naive_by_k"])):
        assert found[name]["mean"] == pytest.approx(exact.mean(), abs=0.02)
    assert not {"annealed_lower", "simulated_gap"} & set(numbers)
    assert "temperatures" not in numbers["protocol"]
    assert "the latents of von-mises-fisher are no real numbers" in (run.folder / "report.html").read_text().lower()


def test_a_posterior_without_reals_is_one_of_these():
    """So that a new one gets a row above."""
    lacking = {named(kind) for kind in posteriors.AnyPosterior.__args__ if "reals" not in kind.has}
    assert lacking == {"bernoulli", *NOT_REAL}


def test_a_path_that_a_kind_has_not_is_asked_nothing(run_of):
    needs = {"model.posterior": {"reals"}, "model.likelihood": {"factorises"}}
    run, _ = examined.open_examined(run_of("deterministic"), ("quadrants",), needs=needs)
    assert run.kind is quadrants.KIND
    assert "posterior" not in {item.name for item in fields(run.config.model)}
    with pytest.raises(RunError, match=r"--model.likelihood bernoulli, and this question needs latents that are real"):
        examined.open_examined(run_of("deterministic"), ("quadrants",), needs={"model.likelihood": {"reals"}})


def test_one_example_has_a_mean_without_an_error():
    alone = examined.mean_and_error(np.array([2.5]))
    assert alone.under("nll") == {"nll": 2.5, "nll_standard_error": None}
    assert alone.said() == "2.50"
    values = np.array([1.0, 2.0, 4.0])
    assert examined.mean_and_error(values) == pytest.approx((7 / 3, scipy.stats.sem(values)))


def test_what_is_not_finite_is_none_in_a_section(run_of):
    run, _ = examined.open_examined(run_of("deterministic"), ("quadrants",))
    numbers = {"a": float("inf"), "b": {"c": [1.0, float("nan")]}, "d": 2, "e": "nan"}
    section.add(run, "odd", title="Odd", text="", numbers=numbers, protocol={"f": float("-inf")})
    written = json.loads((run.folder / "odd.json").read_text())
    assert written["protocol"].pop("f") is None
    assert {name: written[name] for name in numbers} == {"a": None, "b": {"c": [1.0, None]}, "d": 2, "e": "nan"}
