from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rows import first
from standard_errors import assert_mean

from jaxvae.draws import hamiltonian_move, leapfrog, tune_step_size


def banana(z):
    """ln f of z_1 ~ N(0, 1), z_2 | z_1 ~ N(z_1², ½²)."""
    return -0.5 * z[0] ** 2 - 2 * (z[1] - z[0] ** 2) ** 2


def moments(z):
    """[C, 2] -> [C, 6], and what they are in expectation under the banana."""
    first, second = z[:, 0], z[:, 1]
    return np.stack([first, second, first**2, second**2, first * second, first**2 * second], axis=1)


BANANA_MOMENTS = np.array([0.0, 1.0, 1.0, 3.25, 0.0, 3.0])


def banana_draws(num):
    rng = np.random.default_rng(0)
    first = rng.standard_normal(num)
    return jnp.asarray(np.stack([first, first**2 + 0.5 * rng.standard_normal(num)], axis=1), jnp.float32)


def moved(zs, *, step_size, num_moves, num_leapfrog=5):
    """Chains from zs after some moves, and their mean acceptance."""

    @jax.jit
    @jax.vmap
    def chain(key, z):
        def move(z, key):
            step = jnp.asarray(step_size, z.dtype)
            return hamiltonian_move(banana, key, z, step_size=step, num_leapfrog=num_leapfrog)

        return jax.lax.scan(move, z, jax.random.split(key, num_moves))

    ends, acceptance = chain(jax.random.split(jax.random.key(1), len(zs)), zs)
    return np.asarray(ends), float(jnp.mean(acceptance))


def test_the_leapfrog_runs_backwards_and_conserves_volume(float64):
    run = jax.jit(partial(leapfrog, banana, step_size=jnp.asarray(0.1), num_leapfrog=7))
    z, momentum = jnp.array([0.4, -0.3]), jnp.array([1.0, -0.7])
    end, momentum_there = run(z, momentum)
    assert np.linalg.norm(end - z) > 0.1
    back, momentum_back = run(end, -momentum_there)
    np.testing.assert_allclose(back, z, atol=1e-12)
    np.testing.assert_allclose(-momentum_back, momentum, atol=1e-12)
    jacobian = jax.jacobian(lambda state: jnp.concatenate(run(state[:2], state[2:])))(jnp.concatenate([z, momentum]))
    np.testing.assert_allclose(np.linalg.det(jacobian), 1.0, rtol=1e-10)


def test_the_leapfrog_errs_by_the_square_of_its_step(float64):
    z, momentum = jnp.array([0.4, -0.3]), jnp.array([1.0, -0.7])

    def energy(z, momentum):
        return -banana(z) + 0.5 * jnp.sum(momentum**2)

    def error(num_leapfrog):
        step_size = jnp.asarray(0.8 / num_leapfrog)
        return energy(*leapfrog(banana, z, momentum, step_size=step_size, num_leapfrog=num_leapfrog)) - energy(
            z, momentum
        )

    np.testing.assert_allclose(error(40) / error(80), 4.0, rtol=0.02)


def test_a_move_leaves_its_density_invariant():
    zs = banana_draws(40_000)
    ends, acceptance = moved(zs, step_size=0.35, num_moves=4)
    assert 0.5 < acceptance < 0.9  # so that what is rejected matters, and what is accepted too
    assert np.mean(np.any(ends != np.asarray(zs), axis=1)) > 0.8
    assert_mean(moments(ends), BANANA_MOMENTS)


def test_the_moments_would_show_a_move_that_is_always_accepted():
    """The same proposals without the acceptance: the test above can fail."""
    zs = banana_draws(40_000)
    momenta = jax.random.normal(jax.random.key(1), zs.shape)
    run = jax.jit(jax.vmap(partial(leapfrog, banana, step_size=jnp.asarray(0.35), num_leapfrog=2)))
    with pytest.raises(AssertionError, match="standard errors away"):
        assert_mean(moments(np.asarray(run(zs, momenta)[0], np.float64)), BANANA_MOMENTS)


def test_chains_find_the_density_from_elsewhere():
    ends, _ = moved(jnp.full((10_000, 2), 1.5), step_size=0.12, num_moves=40, num_leapfrog=15)
    assert_mean(moments(ends), BANANA_MOMENTS)


def test_a_move_that_leaves_the_numbers_is_rejected():
    zs = banana_draws(10)
    ends, acceptance = moved(zs, step_size=1e15, num_moves=3)
    assert acceptance == 0
    np.testing.assert_array_equal(ends, zs)


@pytest.mark.parametrize("scale", first(1, [0.01, 5.0]))
def test_the_step_size_follows_the_scale_and_meets_the_target(scale):
    """Ten Gaussian dimensions of different scales that shrink by e along the sequence."""
    spread = jnp.linspace(0.5, 2, 10)
    num_temperatures, num_chains, num_leapfrog = 100, 32, 5
    temperatures = jnp.linspace(0, 1, num_temperatures)

    def log_density(temperature, z):
        return -0.5 * jnp.sum(jnp.square(z / (scale * spread * jnp.exp(-temperature))))

    zs = scale * jax.vmap(jnp.multiply, (None, 0))(spread, jax.random.normal(jax.random.key(0), (num_chains, 10)))
    tune = jax.jit(partial(tune_step_size, log_density, num_leapfrog=num_leapfrog))
    step_size = np.asarray(tune(jax.random.key(1), zs, temperatures))
    assert 0.7 / np.e < step_size[-1] / step_size[20] * np.exp(-temperatures[20]) < 1.4 / np.e

    def acceptance(key, step_size, temperature):
        key_z, key_move = jax.random.split(key)
        z = scale * spread * jnp.exp(-temperature) * jax.random.normal(key_z, (10,))
        f = partial(log_density, temperature)
        return hamiltonian_move(f, key_move, z, step_size=step_size, num_leapfrog=num_leapfrog)[1]

    keys = jax.random.split(jax.random.key(2), (num_temperatures, 200))
    there = jax.jit(jax.vmap(jax.vmap(acceptance, (0, None, None)), (0, 0, 0)))(
        keys, jnp.asarray(step_size), temperatures
    )
    assert 0.5 < np.mean(there[20:]) < 0.75
