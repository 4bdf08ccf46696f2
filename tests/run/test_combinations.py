"""Any prior x any posterior x any likelihood x any bound x any estimator: what passes the checks works.

The product has ninety thousand members. Two things that do not go together show in any row that has both, so the rows
are chosen to have every pair that can be had; pairs that no row can have must be refused with a sentence. Triples are
in `test_triples`.
"""

import itertools
import random
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from combinations import FACTORS, check_refusals, check_traces, check_works, failures_of, makes_sense, refusal

from jaxvae import bounds, losses, networks
from jaxvae.bounds import renyi, thermodynamic
from jaxvae.distributions import Concrete, Normal, NormalMixture
from jaxvae.draws import pathwise, score_function, sticking_the_landing
from jaxvae.flows import inverse_autoregressive
from jaxvae.likelihoods import Multinomial, NegativeBinomial, zero_inflated
from jaxvae.model import vae
from jaxvae.priors import learned, standard_normal, vamp_prior
from jaxvae.types import Network

QUICK = [
    ("sylvester-orthogonal", "gaussian-shared", "mixture", "ciwae", "score-function"),
    ("full", "student-t", "vamp", "tvo", "sticking-the-landing"),
    ("radial", "pixelcnn", "learned", "iwae", "generalized-doubly-reparameterized"),
    ("hamiltonian", "laplace", "flow", "piwae", "pathwise"),
    ("semi-amortised", "gaussian", "learned", "iwae", "doubly-reparameterized"),
    ("one-hot", "bernoulli", "vamp", "renyi", "straight-through"),
    ("bernoulli", "bernoulli", "learned", "iwae", "wake-sleep"),
]
REFUSED = [
    (
        {"prior": "standard", "estimator": "generalized-doubly-reparameterized"},
        "needs a Gaussian with learned parameters, and --model.prior standard has none: give --model.prior learned",
    ),
    (
        {"bound": "tvo", "estimator": "doubly-reparameterized"},
        "give --objective.bound iwae or miwae, or another --objective.estimator (pathwise, ",
    ),
    (
        {"posterior": "von-mises-fisher", "prior": "flow"},
        "needs latents that are real numbers, and --model.posterior von-mises-fisher has none: give --model.posterior "
        "normal, full, planar, radial, ..., or another --model.prior (standard or vamp)",
    ),
    (
        {"posterior": "auxiliary", "estimator": "sticking-the-landing"},
        "needs a density that can be evaluated, and --model.posterior auxiliary has none: give --model.posterior ",
    ),
    ({"posterior": "hamiltonian", "estimator": "score-function"}, "or another --objective.estimator (pathwise)"),
    ({"posterior": "auxiliary", "prior": "vamp"}, "or another --model.prior (standard, learned, mixture, flow, ...)"),
    (
        {"posterior": "bernoulli", "estimator": "pathwise"},
        "or another --objective.estimator (score-function, learned-baseline, straight-through, wake-wake, ...)",
    ),
    (
        {"posterior": "one-hot", "estimator": "straight-through", "prior": "flow"},
        "or another --model.prior (standard, learned or vamp)",
    ),
    ({"posterior": "full", "estimator": "straight-through"}, "give --model.posterior bernoulli or one-hot, or"),
    ({"bound": "elbo", "estimator": "wake-sleep"}, "give --objective.bound iwae, or another"),
    (
        {"bound": "piwae", "estimator": "learned-baseline"},
        "needs one bound for encoder and decoder, and --objective.bound piwae has none: give --objective.bound elbo, ",
    ),
]


EVERYTHING = list(itertools.product(*FACTORS.values()))


def row_of(values):
    return dict(zip(FACTORS, values, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("values", QUICK)
def test_one_of_each_works(values):
    check_works(row_of(values))


@pytest.mark.parametrize("values", QUICK)
def test_one_of_each_is_traced(values):
    check_traces(row_of(values))


@pytest.mark.parametrize(("pair", "sentence"), REFUSED, ids=lambda value: str(value)[:30])
def test_what_makes_no_sense_is_refused(pair, sentence):
    assert sentence in refusal({name: values[0] for name, values in FACTORS.items()} | {"bound": "iwae"} | pair)


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(random.Random(0).sample(EVERYTHING, 300), id="some"),
        pytest.param(EVERYTHING, id="all", marks=pytest.mark.slow),
    ],
)
def test_the_options_say_of_themselves_what_mathematics_says_of_them(rows):
    """All 89,964 rows take two minutes and a half."""
    found = {values: makes_sense(row_of(values)) == (refusal(row_of(values)) is None) for values in rows}
    assert not [values for values, agree in found.items() if not agree]


@pytest.mark.slow
def test_every_pair_works_or_is_refused_with_a_sentence():
    rows = check_refusals(2)
    assert not failures_of(check_works, rows)


# What the command line has not, since it trains images in [0, 1]: counts, and relaxed classes with their prior.
COUNTS = {
    "negative binomial": (NegativeBinomial, NegativeBinomial.parameters((5,))),
    "zero inflated": (zero_inflated(NegativeBinomial), NegativeBinomial.parameters((5,)) | {"gate_logits": (5,)}),
    "multinomial": (Multinomial, Multinomial.parameters((5,))),
}
LATENTS = {
    "normal": (Normal, Normal.parameters((4,)), learned(Normal, (4,))),
    "iaf": (inverse_autoregressive, inverse_autoregressive.parameters((4,), num_flows=2), standard_normal((4,))),
    "mixture": (NormalMixture, NormalMixture.parameters((4,), components=2), vamp_prior(num_components=3)),
    "concrete": (Concrete, Concrete.parameters((2, 3)), learned(Concrete, (2, 3))),
}
TRAINED = {  # the reduction, and how z is drawn
    "elbo": (bounds.average, sticking_the_landing),
    "iwae": (bounds.importance_weighted, pathwise),
    "renyi": (renyi(alpha=0.5), score_function),
    "tvo": (thermodynamic(2), pathwise),
}


@pytest.mark.slow
@pytest.mark.parametrize("latents", LATENTS)
@pytest.mark.parametrize("counts", COUNTS)
def test_counts_and_relaxed_classes_compose_with_bounds_and_draws(counts, latents):
    likelihood, pixels = COUNTS[counts]
    posterior, outputs, prior = LATENTS[latents]
    decoder = networks.mlp((8,), pixels)
    if latents == "concrete":  # it is a density of logarithms
        decoder = Network(decoder.init, lambda params, z, apply=decoder.apply: apply(params, jnp.exp(z)))
    model_of = partial(
        vae,
        encoder=networks.mlp((8,), outputs),
        decoder=decoder,
        prior=prior,
        posterior=posterior,
        likelihood=likelihood,
    )
    xs = jnp.asarray(np.random.default_rng(0).poisson(2.0, (2, 5)), jnp.float32)
    params = model_of().init(jax.random.key(0), xs[0])

    @jax.jit
    def each(key, params):
        keys, step = jax.random.split(key, 2), jnp.zeros((), jnp.int32)

        def of_all(params):
            return {
                name: losses.negative_bound(model_of(draw=draw), reduce, num_samples=4)(keys, params, (), xs, step)[0]
                for name, (reduce, draw) in TRAINED.items()
            }

        return of_all(params), jax.jacrev(of_all)(params)

    for seed in (1, 2):
        values, gradients = each(jax.random.key(seed), params)
    assert each._cache_size() == 1
    for name, value in values.items():
        assert np.isfinite(value), name
        for path, leaf in jax.tree_util.tree_leaves_with_path(gradients[name]):
            assert np.all(np.isfinite(leaf)), (name, path)
        for part in ("encoder", "decoder"):
            assert any(np.any(leaf != 0) for leaf in jax.tree.leaves(gradients[name][part])), (name, part)
