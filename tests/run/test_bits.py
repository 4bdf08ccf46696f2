"""Bits per dimension stand beside the nats of every likelihood of levels, and of no other."""

from dataclasses import fields

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.likelihoods import bits_per_dimension
from jaxvae.recipes import plain, quadrants
from jaxvae.run.choice import members, named
from jaxvae.run.data import Split
from jaxvae.run.options import likelihoods, networks
from jaxvae.run.options.images import Images
from jaxvae.run.recipe import About, Asked

SHAPE = (4, 4, 3)
SMALL = {"components": 2, "layers": 1, "maps": 2, "radius": 1}
MEMBERS = members(plain.Config, "model.likelihood")


def measured(recipe, num_samples=3):
    params, extra = recipe.init(jax.random.key(0))
    pixels = np.random.default_rng(0).integers(0, 256, (6, *SHAPE), np.uint8)
    return recipe.measure(recipe.whole(params, extra), Split(pixels), Asked(num_samples, 4))


def recipe_of(likelihood, kind=plain, **model):
    config = kind.Config(
        data=Images(binarize="dynamic" if likelihood.pixels == "binary" else "none"),
        model=kind.Model(network=networks.Small(width=4), latent=2, likelihood=likelihood, **model),
    )
    return kind.recipe(config, About(jax.ShapeDtypeStruct(SHAPE, jnp.uint8), {}))


@pytest.mark.parametrize("name", MEMBERS)
def test_bits_are_told_of_levels_alone(name):
    kind = MEMBERS[name]
    likelihood = kind(**{item.name: SMALL[item.name] for item in fields(kind) if item.name in SMALL})
    assert named(kind) == name
    found = measured(recipe_of(likelihood))
    bits = {key: one for key, one in found.items() if one.unit == "bits per dimension"}
    if likelihood.pixels != "levels":
        assert not bits
        return
    assert set(bits) == {"test_negative_elbo_in_bits", "test_nll_in_bits"}
    for key, nats in (
        ("test_negative_elbo_in_bits", found["test_elbo"].values),
        ("test_nll_in_bits", -found["test_nll"].values),
    ):
        np.testing.assert_allclose(bits[key].values, bits_per_dimension(nats, SHAPE), rtol=1e-6)
        assert bits[key].said == {"dimensions": 48}
        assert np.all(bits[key].values > 0)


def test_bits_of_hidden_pixels_are_of_each_hidden_one():
    found = measured(recipe_of(likelihoods.Categorical(), quadrants), num_samples=0)
    assert set(found) & {"test_negative_elbo_in_bits", "test_nll_in_bits"} == {"test_negative_elbo_in_bits"}
    (told,) = {one.said["dimensions"] for one in found.values() if "dimensions" in one.said}
    assert told == 48 * 3 // 4  # one quadrant is visible
    np.testing.assert_allclose(
        found["test_negative_elbo_in_bits"].values, -found["test_elbo"].values / (36 * np.log(2)), rtol=1e-6
    )
