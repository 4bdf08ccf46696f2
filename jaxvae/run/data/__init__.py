"""Data sets as NumPy arrays: what every one looks like; `loading` has them by name."""

from jaxvae.run.data.dataset import DataError, Dataset, Split

__all__ = ["DataError", "Dataset", "Split"]
