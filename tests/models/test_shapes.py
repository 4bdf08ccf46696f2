"""No density takes a value that only broadcasts to its events, and no model a prior or a network of another shape.

JAX's own refusal of implicit ranks is off here: users have it off.
"""

import importlib
import inspect
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxvae
from jaxvae import bounds, flows, networks, priors
from jaxvae.distributions import (
    Bernoulli,
    Categorical,
    Concrete,
    ContinuousBernoulli,
    CorrelatedNormal,
    Frozen,
    FullNormal,
    Implicit,
    Laplace,
    MaskedNormal,
    Mixture,
    Normal,
    NormalMixture,
    OneHot,
    StudentT,
    UniformSphere,
    VonMisesFisher,
    closed_kl,
    elementary,
    event_shapes,
    log_densities,
)
from jaxvae.likelihoods import (
    AutoregressivePixels,
    BetaBinomial,
    Columns,
    DiscretizedLogisticMixture,
    Multinomial,
    NegativeBinomial,
    PixelCategorical,
    StructuredNormal,
    ZeroInflated,
)
from jaxvae.model import VAE, Terms, autoencoder, standard_normal, vae
from jaxvae.models import (
    Chain,
    Checked,
    ClassAndCode,
    ConditionalPrior,
    Conditioned,
    DrawnPosterior,
    Nearest,
    Perceptual,
    Steps,
    TopDown,
    UniformCodes,
    auxiliary_vae,
    conditional_vae,
    dequantized,
    hamiltonian_vae,
    ladder_vae,
    linear,
    reading_both,
    semi_amortised,
    the_same_for_all,
)
from jaxvae.priors import RecurrentCodes

PART, WHOLE = (3,), (2, 3, 1)
KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def _as_users_have_it():
    with jax.numpy_rank_promotion("allow"):
        yield


def of(family, shape, **options):
    outputs = family.parameters(shape, **options)
    shapes = {name: getattr(output, "shape", output) for name, output in outputs.items()}
    return family(**{name: jnp.zeros(shape) for name, shape in shapes.items()})


def codes():
    shapes = {"left": (4, 5), "above": (4, 5), "place": (2, 3, 5), "input_weights": (5, 15), "state_weights": (5, 15)}
    shapes |= {"gate_bias": (15,), "readout": (5, 4), "bias": (4,)}
    return RecurrentCodes(**{name: jnp.zeros(shape) for name, shape in shapes.items()})


DENSITIES = {
    "Normal": lambda: of(Normal, WHOLE),
    "Normal of one scale": lambda: Normal(jnp.zeros(WHOLE), jnp.zeros(())),
    "Laplace": lambda: of(Laplace, WHOLE),
    "StudentT": lambda: of(StudentT, WHOLE),
    "Bernoulli": lambda: of(Bernoulli, WHOLE),
    "ContinuousBernoulli": lambda: of(ContinuousBernoulli, WHOLE),
    "Categorical": lambda: Categorical(jnp.zeros((*WHOLE, 4))),
    "OneHot": lambda: of(OneHot, (2, 3)),
    "Concrete": lambda: of(Concrete, (2, 3)),
    "CorrelatedNormal": lambda: CorrelatedNormal(jnp.zeros(3), 0.5),
    "FullNormal": lambda: of(FullNormal, WHOLE),
    "MaskedNormal": lambda: of(MaskedNormal, PART, hidden=4),
    "NormalMixture": lambda: of(NormalMixture, WHOLE, components=4),
    "Mixture": lambda: Mixture(jnp.zeros(4), Normal(jnp.zeros((4, *WHOLE)), jnp.zeros((4, *WHOLE)))),
    "Mixture of others": lambda: Mixture(jnp.zeros(4), Laplace(jnp.zeros((4, *WHOLE)), jnp.zeros((4, *WHOLE)))),
    "UniformSphere": lambda: UniformSphere(jnp.zeros(3)),
    "VonMisesFisher": lambda: VonMisesFisher(jnp.ones(3), jnp.zeros(())),
    "Frozen": lambda: Frozen(of(Normal, WHOLE)),
    "NegativeBinomial": lambda: of(NegativeBinomial, WHOLE),
    "ZeroInflated": lambda: ZeroInflated(of(NegativeBinomial, WHOLE), jnp.zeros(WHOLE)),
    "Multinomial": lambda: of(Multinomial, WHOLE),
    "PixelCategorical": lambda: of(PixelCategorical, WHOLE),
    "BetaBinomial": lambda: of(BetaBinomial, WHOLE),
    "DiscretizedLogisticMixture": lambda: of(DiscretizedLogisticMixture, WHOLE),
    "StructuredNormal": lambda: of(StructuredNormal, WHOLE),
    "AutoregressivePixels": lambda: of(AutoregressivePixels, WHOLE, maps=4, layers=2),
    "Flow": lambda: flows.planar(
        **{name: jnp.zeros(shape) for name, shape in flows.planar.parameters(PART, num_flows=2).items()}
    ),
    "Nearest": lambda: Nearest(jnp.zeros((2, 3, 4)), jnp.zeros((5, 4))),
    "UniformCodes": lambda: UniformCodes(jnp.zeros((5, 4)), (2, 3)),
    "RecurrentCodes": codes,
    "Perceptual": lambda: Perceptual(of(Normal, WHOLE), lambda x: x, 1.0),
}
# of what is no array, or of no density; their parts are in the table
OF_PARTS = {
    Chain,
    Checked,
    ClassAndCode,
    Columns,
    Conditioned,
    ConditionalPrior,
    DrawnPosterior,
    Implicit,
    Steps,
    TopDown,
}


def others(shape):
    """Shapes that broadcast with it."""
    yield shape[:-1]
    yield ()
    yield (1,) * len(shape)
    yield (*shape, 1)
    yield (7, *shape)
    yield (int(np.prod(shape)),)


@pytest.mark.parametrize("name", DENSITIES)
def test_a_density_refuses_a_value_that_is_not_its_event(name):
    density = DENSITIES[name]()
    events = jax.eval_shape(density.sample, KEY)
    assert jax.eval_shape(density.log_prob, events).shape == ()
    for shape in others(events.shape):
        if shape == events.shape:
            continue
        with pytest.raises(ValueError, match="was given a value of shape"):
            jax.eval_shape(density.log_prob, jax.ShapeDtypeStruct(shape, events.dtype))


def test_no_density_of_the_library_is_missing():
    known = {type(make()) for make in DENSITIES.values()} | OF_PARTS
    for module in pkgutil.walk_packages(jaxvae.__path__, "jaxvae."):
        if module.name.split(".")[1] not in ("distributions", "likelihoods", "flows", "priors", "models"):
            continue
        for name, member in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if hasattr(member, "log_prob") and member.__module__.startswith("jaxvae") and name != "Distribution":
                assert member in known or name == "Delta", f"{name} has no row"


def test_shapes_cost_nothing_in_the_compiled_program(monkeypatch):
    """The program of a density is the one without a look at shapes."""
    density, value = of(Normal, (3,)), jnp.zeros(3)

    def program():
        return str(jax.make_jaxpr(lambda density, value: density.log_prob(value))(density, value))

    looked = program()
    monkeypatch.setattr(elementary, "check_event", lambda *_: None)
    assert density.log_prob(jnp.zeros(1)).shape == ()  # nothing looks any more
    assert program() == looked


@pytest.mark.parametrize(
    "make",
    [
        lambda: FullNormal(jnp.zeros(3), jnp.zeros(1), jnp.zeros(3)).log_prob(jnp.zeros(3)),
        lambda: NormalMixture(jnp.zeros(1), jnp.zeros((4, 3)), jnp.zeros((4, 3))).log_prob(jnp.zeros(3)),
        lambda: Mixture(jnp.zeros(1), Normal(jnp.zeros((4, 3)), jnp.zeros((4, 3)))).log_prob(jnp.zeros(3)),
        lambda: BetaBinomial(jnp.zeros(3), jnp.zeros((2, 3))).log_prob(jnp.zeros(3)),
        lambda: BetaBinomial(jnp.zeros(3), jnp.zeros(1)).log_prob(jnp.zeros(3)),
        lambda: StructuredNormal(jnp.zeros(WHOLE), jnp.zeros((1, 1, 1)), jnp.zeros((2, 3, 4, 1))).log_prob(
            jnp.zeros(WHOLE)
        ),
        lambda: DiscretizedLogisticMixture(jnp.zeros(4), jnp.zeros((*WHOLE, 4)), jnp.zeros((*WHOLE, 4))).log_prob(
            jnp.zeros(WHOLE)
        ),
    ],
)
def test_parameters_that_do_not_fit_each_other_are_refused(make):
    with pytest.raises(ValueError, match="must have the shape"):
        make()


@pytest.mark.parametrize("family", [Normal, Laplace, Bernoulli, OneHot])
def test_a_divergence_of_other_shapes_is_refused(family):
    with pytest.raises(ValueError, match="the second distribution of a divergence is over events of shape"):
        closed_kl(of(family, (2, 3)), of(family, (1, 3)))


def test_a_divergence_of_other_numbers_of_classes_is_refused():
    with pytest.raises(ValueError, match="second distribution's logits"):
        closed_kl(Categorical(jnp.zeros((5, 1))), Categorical(jnp.zeros((5, 3))))
    with pytest.raises(ValueError, match="events of shape"):
        closed_kl(of(FullNormal, (3,)), of(Normal, (1,)))


def test_one_point_under_many_gaussians_has_their_shape():
    with pytest.raises(ValueError, match="must have the shape"):
        log_densities(jnp.zeros(1), jnp.zeros((4, 3)), jnp.zeros(4))


IMAGE, LATENT = (4, 4, 1), (3,)


def encoder(shape=LATENT):
    return networks.mlp((5,), Normal.parameters(shape))


def decoder(family=Bernoulli, shape=IMAGE):
    return networks.mlp((5,), family.parameters(shape))


def image_vae(prior=LATENT, **parts):
    return vae(**{"encoder": encoder(), "decoder": decoder(), "prior": standard_normal(prior)} | parts)


def ladder(top=(2,), between=(3,)):
    return ladder_vae(
        bottom_up=[
            networks.mlp((5,), {"features": (5,)} | Normal.parameters((3,))),
            networks.mlp((5,), Normal.parameters((2,))),
        ],
        top_down=[networks.mlp((5,), Normal.parameters(between))],
        decoder=decoder(),
        top=top,
    )


def auxiliary(prior=LATENT, reverse=(2,)):
    return auxiliary_vae(
        auxiliary_encoder=encoder((2,)),
        encoder=reading_both(encoder()),
        reverse=reading_both(encoder(reverse)),
        decoder=decoder(),
        prior=standard_normal(prior),
    )


def conditional(prior=LATENT):
    return conditional_vae(
        split=lambda x: (x, x),
        encoder=reading_both(encoder()),
        decoder=reading_both(decoder()),
        prior=the_same_for_all(prior),
    )


GOOD = {
    "vae": image_vae,
    "ladder": ladder,
    "auxiliary": auxiliary,
    "conditional": conditional,
    "hamiltonian": lambda: hamiltonian_vae(image_vae()),
    "semi-amortised": lambda: semi_amortised(image_vae(), num_steps=1),
    "plain": lambda: autoencoder(encoder=networks.mlp((5,), {"value": LATENT}), decoder=decoder()),
}

WRONG_PRIORS = {
    "vae": lambda: image_vae((1,)),
    "vae, a scalar prior": lambda: image_vae(()),
    "vae, a learned prior": lambda: image_vae_with(priors.learned(Normal, (1,))),
    "vae, a mixture": lambda: image_vae_with(priors.normal_mixture((1,), num_components=2)),
    "vae, a full posterior": lambda: image_vae(
        (1,), encoder=networks.mlp((5,), FullNormal.parameters(LATENT)), posterior=FullNormal
    ),
    "ladder, its top": lambda: ladder(top=(1,)),
    "ladder, between": lambda: ladder(between=(1,)),
    "auxiliary": lambda: auxiliary((1,)),
    "auxiliary, its reverse": lambda: auxiliary(reverse=(1,)),
    "conditional": lambda: conditional((1,)),
    "hamiltonian": lambda: hamiltonian_vae(image_vae((1,))),
    "semi-amortised": lambda: semi_amortised(image_vae((1,)), num_steps=1),
}


def image_vae_with(prior):
    return vae(encoder=encoder(), decoder=decoder(), prior=prior)


def bound_of(model, shape):
    def traced(x):
        params = model.init(KEY, x)
        return bounds.elbo(model, KEY, params, x, num_samples=2)

    return jax.eval_shape(traced, jnp.zeros(shape))


@pytest.mark.parametrize("name", GOOD)
def test_a_model_of_fitting_shapes_has_a_bound(name):
    assert bound_of(GOOD[name](), IMAGE).shape == ()


@pytest.mark.parametrize("name", WRONG_PRIORS)
def test_a_model_refuses_a_prior_that_is_not_its_posteriors_shape(name):
    with pytest.raises(ValueError, match="events of shape"):
        bound_of(WRONG_PRIORS[name](), IMAGE)


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("shape", [(4, 4), (16,), (4, 4, 1, 1), (1, 4, 4, 1)])
def test_a_model_refuses_an_example_that_is_not_its_likelihoods_shape(name, shape):
    """The networks flatten what they read, so the example reaches the likelihood."""
    with pytest.raises(ValueError, match="a Bernoulli with events of shape \\(4, 4, 1\\) was given a value of shape"):
        bound_of(GOOD[name](), shape)


@pytest.mark.parametrize("family", [Normal, Laplace])
@pytest.mark.parametrize("scale", ["each", "one"])
def test_a_gaussian_decoder_of_other_shape_is_refused(family, scale):
    """The bound was eight times the right one, and its gradient too."""
    outputs = family.parameters((8, 8, 1)) | ({} if scale == "each" else {"log_scale": networks.Free(())})
    model = image_vae(decoder=networks.mlp((5,), outputs), likelihood=family)
    with pytest.raises(ValueError, match="events of shape \\(8, 8, 1\\) was given a value of shape \\(8, 8\\)"):
        bound_of(model, (8, 8))
    assert bound_of(model, (8, 8, 1)).shape == ()


def test_learned_noise_of_another_shape_is_refused():
    model = dequantized(linear.linear_vae(latent=1), noise=networks.mlp((5,), Normal.parameters((1,))))
    with pytest.raises(ValueError, match="was given a value of shape"):
        bound_of(model, (3,))


def test_the_closed_form_of_the_linear_model_takes_its_own_examples_only():
    params = linear.parameters(jnp.ones((3, 1)), jnp.zeros(3), jnp.ones(()))
    for function in (linear.log_marginal, linear.exact_posterior):
        with pytest.raises(ValueError, match="events of shape \\(3,\\)"):
            function(params, jnp.ones(1))


def test_a_log_density_that_was_not_summed_is_refused():
    """A model of one's own whose likelihood has a number for each pixel: its mean was taken for the bound."""
    good = image_vae()

    def each(key, params, x):
        return Terms(jnp.zeros(IMAGE), jnp.zeros(1), None)

    with pytest.raises(ValueError, match="log_likelihood of one draw has the shape \\(4, 4, 1\\)"):
        bound_of(VAE(*good[:4], each, good.sample), IMAGE)
    with pytest.raises(ValueError, match="kl of one draw has the shape"):
        bound_of(good._replace(terms=lambda key, params, x: Terms(jnp.zeros(()), jnp.zeros(()), None)), IMAGE)


def test_the_shapes_of_events():
    assert event_shapes(of(Normal, WHOLE)) == WHOLE
    assert event_shapes(ladder().prior(ladder().init(KEY, jnp.zeros(IMAGE)))) == ((2,), (3,))
