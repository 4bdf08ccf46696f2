"""Densities of images and counts."""

from jaxvae.likelihoods.autoregressive_pixels import AutoregressivePixels, globally_conditioned, glorot
from jaxvae.likelihoods.counts import Multinomial, NegativeBinomial, ZeroInflated, zero_inflated
from jaxvae.likelihoods.pixels import BetaBinomial, DiscretizedLogisticMixture, PixelCategorical, bits_per_dimension
from jaxvae.likelihoods.raster import Position, before, before_one, border, neighbours, positions, radius_of, written
from jaxvae.likelihoods.structured_normal import StructuredNormal

__all__ = [
    "AutoregressivePixels",
    "BetaBinomial",
    "DiscretizedLogisticMixture",
    "Multinomial",
    "NegativeBinomial",
    "PixelCategorical",
    "Position",
    "StructuredNormal",
    "ZeroInflated",
    "before",
    "before_one",
    "bits_per_dimension",
    "border",
    "globally_conditioned",
    "glorot",
    "neighbours",
    "positions",
    "radius_of",
    "written",
    "zero_inflated",
]
