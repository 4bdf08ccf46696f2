import os
import tempfile
from importlib.metadata import version

# Most of a test's time is XLA's: quick programs that run a little slower take a third off the suite.
# JAX_DISABLE_MOST_OPTIMIZATIONS=0 in the environment tests what users run.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
if os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1" and version("jaxlib").startswith("0.10."):
    # With these XLA compiles a quarter faster; a later one does not know them.
    quick = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
    os.environ.setdefault("XLA_FLAGS", quick)
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # the first process sets it, its workers and their commands share it
    compiled = tempfile.TemporaryDirectory(prefix="jaxvae-tests-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = compiled.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.0"

import jax
import pytest

LONGEST = (
    "test_triples.py",
    "test_resume.py",
    "test_hosts.py",
    "test_train.py",
    "test_latent_questions.py",
    "test_parallel.py",
    "test_scikit.py",
    "test_share.py",
    "test_endurance.py",
    "test_recipes.py",
    "test_fit.py",
    "test_patience.py",
    "test_own_kind.py",
    "test_posteriors.py",
    "test_combinations.py",
    "test_option_runs.py",
)

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(autouse=True)
def strict_promotion():
    """No dtype is promoted unasked. Optax's Adam does so itself: tests of training ask for "standard"."""
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture(autouse=True, scope="module")
def programs():
    """Those of one file are dropped after it: all of the suite's are more memory maps than a process may have."""
    yield
    jax.clear_caches()


@pytest.fixture
def float64():
    """Runs a test in double precision."""
    with jax.enable_x64(True):
        yield


def pytest_collection_modifyitems(items):
    """The longest files first, so that no worker is left alone with one at the end."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))
