"""Variational auto-encoders in JAX: a model yields terms, a bound reduces them, a step ascends the bound.

What there is stands in `__init__.pyi`, for readers and type checkers alike. It is imported where it is first used, so
that `jaxvae --help` needs no JAX, and the core none of the shell's packages.
"""

from importlib.metadata import version

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = version("jaxvae")
