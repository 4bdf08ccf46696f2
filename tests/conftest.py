import os

# Most of a test's time is XLA's: quick programs that run a little slower take a third off the suite.
# JAX_DISABLE_MOST_OPTIMIZATIONS=0 in the environment tests what users run.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture
def float64():
    """Runs a test in double precision."""
    with jax.enable_x64(True):
        yield
