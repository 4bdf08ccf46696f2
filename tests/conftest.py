import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture
def float64():
    """Runs a test in double precision."""
    with jax.enable_x64(True):
        yield


COMPILES_SLOWLY = ("conv", "Conv")  # XLA takes 10 to 20 s to compile a small convolution's gradient on a CPU
FULL_SIZE = (
    "test_annealed.py",
    "test_foundations.py",
    "test_latent_experiments.py",
    "test_rate_distortion.py",
    "test_run_experiments.py",
)


def pytest_collection_modifyitems(items):
    """Convolutions in the tables of models, and experiments run to their end, are for `make test-slow`."""
    for item in items:
        if item.path.name in FULL_SIZE or (
            item.path.name in ("test_bounds.py", "test_networks.py")
            and any(word in item.name for word in COMPILES_SLOWLY)
        ):
            item.add_marker(pytest.mark.slow)
