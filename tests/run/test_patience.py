"""`--patience`: training ends when the bound on held-out data has not risen, and the best params are kept."""

import json
from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_runs import assert_same, commanded, short, stopping_at, trained

from jaxvae.recipes import plain
from jaxvae.run.folder.checkpoints import Checkpoints
from jaxvae.run.folder.opening import open_run
from jaxvae.run.monitor import Monitor
from jaxvae.run.options import networks
from jaxvae.run.patience import Best, better, exhausted, nothing_yet
from jaxvae.run.settings import Evaluation, Optimizer

SMALL = plain.Config(model=plain.Model(networks.Small(width=16), latent=2), optimizer=Optimizer(lr=0.02))
PATIENCE, EPOCHS, PER_EPOCH = 3, 60, 4


@pytest.fixture(autouse=True)
def _standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


def patient(**changes):
    """Few examples are soon known by heart, and the bound on others falls."""
    return short(SMALL, **({"epochs": EPOCHS, "patience": PATIENCE} | changes))


@cache
def alone(seed=0):
    return trained(patient(seed=seed))


def bounds_of(rows):
    return np.array([row["valid_bound"] for row in rows])


@pytest.mark.parametrize("bounds", [[1.0, 3.0, 2.0, 4.0, 3.5, 3.5, 3.5, 9.0], [-5.0, float("nan"), -6.0, -5.0, 0.0]])
def test_the_best_so_far_and_the_end_are_those_of_the_sequence(bounds):
    best = nothing_yet({"w": jnp.zeros(2)}, 1)
    for epoch, bound in enumerate(bounds, 1):
        best = better(best, {"w": jnp.full(2, float(epoch))}, np.float32(bound), epoch, PATIENCE)
        kept = np.array([value if np.isfinite(value) else -np.inf for value in bounds[:epoch]])
        assert int(best.epoch) == int(kept.argmax()) + 1
        assert_same(best.params, {"w": jnp.full(2, float(best.epoch))})
        ended = epoch - (kept.argmax() + 1) >= PATIENCE
        assert exhausted(best, PATIENCE, epoch) == ended
        assert not exhausted(best, None, epoch)
        if ended:
            return
    pytest.fail("patience did not run out")


def test_a_seed_that_waits_no_longer_keeps_what_it_has():
    best = Best({"w": jnp.array([1.0, 1.0])}, jnp.array([5.0, 5.0]), jnp.array([1, 3]))
    found = better(best, {"w": jnp.array([9.0, 9.0])}, np.array([6.0, 6.0]), 5, 3)
    np.testing.assert_array_equal(found.epoch, [1, 5])
    np.testing.assert_array_equal(found.params["w"], [1.0, 9.0])


def test_it_ends_after_its_patience_with_the_params_of_its_best_epoch():
    found = alone()
    bounds = bounds_of(found.rows)
    assert len(bounds) < EPOCHS
    assert found.best_epoch == bounds.argmax() + 1 == len(bounds) - PATIENCE
    assert found.stopped_by is None
    shorter = trained(patient(epochs=found.best_epoch, patience=None))
    assert_same(found.params, shorter.params)
    assert shorter.best_epoch is None
    np.testing.assert_array_equal(bounds_of(shorter.rows), bounds[: found.best_epoch])


@pytest.mark.parametrize("late", [0, 1, PATIENCE])
def test_a_run_that_is_stopped_while_it_waits_goes_on_bit_for_bit(late, tmp_path, monkeypatch):
    """The best params lie in the checkpoint: they are no longer those of the state."""
    whole = alone()
    at = (whole.best_epoch + late) * PER_EPOCH
    with monkeypatch.context() as patched:
        stopping_at(at, patched)
        stopped = trained(patient(), tmp_path)
    assert int(stopped.state.step) == at
    assert stopped.stopped_by == (None if late == PATIENCE else 15)
    rest = trained(patient(), tmp_path)
    assert len(rest.rows) == PATIENCE - late
    assert rest.best_epoch == whole.best_epoch
    assert_same((rest.state, rest.params), (whole.state, whole.params))


def test_seeds_wait_each_for_itself():
    both = trained(patient(num_seeds=2))
    epochs = [alone(seed).best_epoch for seed in range(2)]
    assert len(both.rows) == max(epochs) + PATIENCE
    for row in range(2):
        of_seed = jax.tree.map(lambda leaf, row=row: leaf[row], both.params)
        assert_same(of_seed, alone(row).params)
    assert epochs[0] != epochs[1]


@pytest.mark.slow
def test_seeds_that_wait_go_on_bit_for_bit(tmp_path, monkeypatch):
    whole = trained(patient(num_seeds=2))
    first = min(alone(seed).best_epoch for seed in range(2))
    with monkeypatch.context() as patched:
        stopping_at((first + PATIENCE) * PER_EPOCH, patched)  # one waits no longer, one does
        assert trained(patient(num_seeds=2), tmp_path).stopped_by == 15
    rest = trained(patient(num_seeds=2), tmp_path)
    assert_same((rest.state, rest.params), (whole.state, whole.params))


def test_by_command_the_best_params_are_evaluated_kept_and_loaded(tmp_path):
    config = replace(SMALL, patience=1, epochs=12, optimizer=Optimizer(lr=0.1), evaluation=Evaluation(num_samples=0))
    folder = commanded(config, tmp_path)
    protocol = json.loads((folder / "result.json").read_text())["protocol"]
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    bounds = bounds_of(rows)
    assert protocol["patience"] == 1
    assert protocol["best_epoch"] == bounds.argmax() + 1 < len(bounds)
    assert protocol["steps"] == len(bounds) * 12
    run = open_run(folder)
    assert run.step == protocol["steps"]
    dataset = plain.KIND.data(run.config)
    again = Monitor.of(run.recipe, run.config.course(), dataset)(run.params)
    assert float(again) == pytest.approx(bounds.max(), rel=1e-6)
    latest = Checkpoints(folder / "checkpoints", writable=False).latest()
    assert latest == protocol["steps"]
