"""Gradient estimators, each a way to draw from a posterior; and moves along a density."""

from jaxvae.draws.estimators import (
    Draw,
    doubly_reparameterized,
    local_reparameterization,
    pathwise,
    score_function,
    sticking_the_landing,
    straight_through,
)
from jaxvae.draws.leapfrog import LogDensity, hamiltonian_move, leapfrog, tune_step_size

__all__ = [
    "Draw",
    "LogDensity",
    "doubly_reparameterized",
    "hamiltonian_move",
    "leapfrog",
    "local_reparameterization",
    "pathwise",
    "score_function",
    "sticking_the_landing",
    "straight_through",
    "tune_step_size",
]
