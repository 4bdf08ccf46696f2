"""What captions say of an outcome is computed from its numbers: other numbers, other words."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from experiments import rate_distortion_figure
from experiments.foundations import gradient_variance, latent_variable_figures, linear_models_figure, mixture_em
from experiments.foundations.nonlinear_model import Model, grid


def test_the_growth_of_a_variance_is_the_measured_one():
    def numbers(d):
        return {"variance": np.array([2 * d, d**3, d**2, d**2.5]), "bias_in_standard_errors": [0.5, 1.0, 2.25, 0.1]}

    said = gradient_variance.caption({1: numbers(1), 4: numbers(4), 16: numbers(16)})
    assert "The largest bias of a component is 2.2 standard errors." in said
    assert "From 4 to 16 dimensions they grow with the power 1.0 (pathwise), 3.0 (score function), 2.0" in said
    assert "power" not in gradient_variance.caption({4: numbers(4)})


@pytest.mark.parametrize(
    ("likelihood", "words"),
    [
        ([-5.0, -4.0, -4.0], "There were 3 iterations, and in none of them did the likelihood fall."),
        ([-5.0, -6.0, -4.0], "There were 3 iterations, and in 1 of them the likelihood fell."),
    ],
)
def test_em_is_said_to_climb_where_it_did(likelihood, words):
    before = np.array([-9.0, *likelihood[:-1]])
    trace = mixture_em.Trace(before, before - np.array([0, 0.02, 0]), np.array(likelihood) - 1, np.array(likelihood))
    said = mixture_em.caption(trace)
    assert words in said
    assert "differ by 0.02 nats at the most" in said


@pytest.mark.parametrize(
    ("gains", "words"),
    [([30.0, 50.0], "by +30.0 to +50.0 nats"), ([-4.0, 2.0], "by −4.0 to +2.0 nats"), ([3.0], "by +3.0 nats")],
)
def test_linear_models_are_compared_by_their_numbers(gains, words):
    numbers = {
        "linear_vae_short_of_maximum": 1.234,
        "sizes": {
            str(q): {"factor analysis": {"test": gain - 7.0}, "probabilistic PCA": {"test": -7.0}}
            for q, gain in enumerate(gains)
        },
        "models": {"linear VAE": {"angle_to_pca": 12.34}},
        "cosine_of_vae_columns_with_principal_axes": np.array([0.5, -0.25]),
    }
    said = linear_models_figure.caption(numbers)
    assert "ends 1.23 nats below the maximum" in said
    assert f"differs from probabilistic PCA {words}." in said
    assert "at most 12.3 degrees from PCA's; their cosines with the principal axes are 0.25 to 0.50" in said


@pytest.mark.parametrize(("first", "count"), [(-0.5, "one top"), (2.0, "2 tops")])
def test_a_posterior_has_the_tops_that_are_counted(first, count):
    """x = (z², 0) + noise: one z or two explain it."""
    model = Model("curve", lambda z: jnp.stack([z[0] ** 2, 0 * z[0]]), 0.2, 1, grid(1, nodes=401), None)
    posterior = {"x": jnp.array([first, 0.0]), "diagonal": SimpleNamespace(kl=0.12)}
    said = latent_variable_figures.told(model, [posterior])
    assert said == f"Posterior A has {count}, and the KL of the best Gaussian to it is 0.12 nats."
    assert latent_variable_figures.modes(np.log([[0.1, 0.2, 0.1], [0.2, 0.9, 0.1], [0.1, 0.1, 0.5]])) == 1
    assert latent_variable_figures.modes(np.log([0.1, 0.9, 0.1, 0.5, 1e-6, 1e-3, 1e-6])) == 2


def test_two_shapes_are_told_by_both_numbers():
    model = Model("paraboloid", lambda z: z, 0.5, 2, grid(2, nodes=41), None)
    posterior = {"x": jnp.zeros(2), "diagonal": SimpleNamespace(kl=1.5), "full": SimpleNamespace(kl=0.25)}
    said = latent_variable_figures.told(model, [posterior])
    assert said.endswith("is 1.50 nats with a diagonal covariance and 0.25 with a full one.")
    assert "has one top" in said


@pytest.mark.parametrize(
    ("rate", "words"),
    [([9.0, 5.0, 1.0], ("buys a lower rate", "lowest at beta = 2.")), ([5.0, 9.0, 1.0], ("did not always", "= 2."))],
)
def test_a_curve_of_rates_says_where_the_bound_was_best(rate, words):
    points = {"test": (np.array(rate)[:, None], np.array([1.0, 2.0, 3.0])[:, None])}
    said = rate_distortion_figure.caption(np.array([0.5, 1.0, 2.0]), points)
    assert all(word in said for word in words)
    assert "One seed" in said
