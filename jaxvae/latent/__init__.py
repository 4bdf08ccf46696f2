"""The latent space of a trained model."""

from jaxvae.latent.imputation import Imputations, pseudo_gibbs
from jaxvae.latent.map_codes import MAPCode, encode, map_code
from jaxvae.latent.space import (
    add_attribute,
    aggregated_posterior,
    attribute_vector,
    likelihood_near,
    linear_interpolation,
    spherical_interpolation,
    traverse,
)

__all__ = [
    "Imputations",
    "MAPCode",
    "add_attribute",
    "aggregated_posterior",
    "attribute_vector",
    "encode",
    "likelihood_near",
    "linear_interpolation",
    "map_code",
    "pseudo_gibbs",
    "spherical_interpolation",
    "traverse",
]
