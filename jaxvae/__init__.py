"""Variational auto-encoders in JAX: a model yields terms, a bound reduces them, a step ascends the bound.

What there is stands in `__init__.pyi`, for readers and type checkers alike. It is imported where it is first used, so
that `jaxvae --help` needs no JAX, and the core none of the shell's packages.
"""

from importlib.metadata import version
from typing import Any

import lazy_loader

_attached, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = version("jaxvae")


def __getattr__(name: str) -> Any:
    """What the stub names, or a sentence where a package of the extra "train" is missing."""
    try:
        return _attached(name)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "jaxvae":
            raise
        sentence = f"jaxvae.{name} needs {package}, which is not installed: pip install 'jaxvae[train]'"
        raise ModuleNotFoundError(sentence, name=error.name) from None
