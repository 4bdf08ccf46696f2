"""Assertions for means of random numbers, in standard errors."""

import numpy as np


def assert_mean(samples, expected, errors: float = 5.0) -> None:
    """The mean over the first axis lies within `errors` standard errors of what is expected, elementwise."""
    samples = np.asarray(samples, np.float64)
    error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    distance = np.abs(samples.mean(axis=0) - np.asarray(expected, np.float64))
    rounding = 1e-6 * (1 + np.abs(samples).mean(axis=0))  # where there is no randomness left, there are float errors
    worst = np.max(distance / (error + rounding / errors))
    assert np.all(distance <= errors * error + rounding), f"{worst:.1f} standard errors away"


def assert_same_mean(samples, others, errors: float = 5.0) -> None:
    """Two independent samples have means within `errors` standard errors of their difference, elementwise."""
    samples, others = np.asarray(samples, np.float64), np.asarray(others, np.float64)
    variance = samples.var(axis=0, ddof=1) / len(samples) + others.var(axis=0, ddof=1) / len(others)
    distance = np.abs(samples.mean(axis=0) - others.mean(axis=0))
    assert np.all(variance > 0), "samples without variance: compare them exactly"
    worst = np.max(distance / np.sqrt(variance))
    assert worst <= errors, f"{worst:.1f} standard errors apart"
