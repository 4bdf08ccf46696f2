"""Densities of images, counts and rows of tables."""

from jaxvae.likelihoods.autoregressive_pixels import AutoregressivePixels, globally_conditioned, glorot
from jaxvae.likelihoods.cells import Block, Cells, Columns, of_columns
from jaxvae.likelihoods.counts import Multinomial, NegativeBinomial, ZeroInflated, zero_inflated
from jaxvae.likelihoods.pixels import BetaBinomial, DiscretizedLogisticMixture, PixelCategorical, bits_per_dimension
from jaxvae.likelihoods.raster import Position, before, before_one, border, neighbours, positions, radius_of, written
from jaxvae.likelihoods.structured_normal import StructuredNormal

__all__ = [
    "AutoregressivePixels",
    "BetaBinomial",
    "Block",
    "Cells",
    "Columns",
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
    "of_columns",
    "positions",
    "radius_of",
    "written",
    "zero_inflated",
]
