"""Data sets as NumPy arrays: standard ones by name, TensorFlow Datasets, and users' own arrays and folders."""

from jaxvae.run.data.dataset import DataError, Dataset, Split
from jaxvae.run.data.loading import load

__all__ = ["DataError", "Dataset", "Split", "load"]
