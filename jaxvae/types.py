"""Names for what passes through every function."""

from typing import Any

import jax

Array = jax.Array
Key = jax.Array  # a typed key, made by `jax.random.key`
Params = Any  # a tree of arrays
