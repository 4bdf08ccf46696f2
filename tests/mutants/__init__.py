"""Faults to plant in the core, one at a time, and the tests that are to catch each."""

from mutants import densities, estimates, models
from mutants.fault import Fault as Fault

FAULTS: list[Fault] = [*densities.FAULTS, *estimates.FAULTS, *models.FAULTS]
