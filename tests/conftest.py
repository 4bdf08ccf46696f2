import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture
def float64():
    """Runs a test in double precision."""
    with jax.enable_x64(True):
        yield


FULL_SIZE = (  # each takes minutes of processor time, most of it XLA's compilation
    "test_annealed.py",
    "test_benchmarks.py",
    "test_bounds.py",
    "test_foundations.py",
    "test_latent_experiments.py",
    "test_log_likelihood.py",
    "test_networks.py",
    "test_rate_distortion.py",
    "test_resume.py",
    "test_run_experiments.py",
    "test_training.py",
)


def pytest_collection_modifyitems(items):
    """The files that take minutes are for `make test-slow`."""
    for item in items:
        if item.path.name in FULL_SIZE:
            item.add_marker(pytest.mark.slow)
