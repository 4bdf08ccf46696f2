"""Faults to plant in the core, one at a time, and the tests that are to catch each."""

from mutants import densities, estimators, judges, models, objectives, transforms
from mutants.fault import Fault as Fault

FAULTS: list[Fault] = [
    *densities.FAULTS,
    *transforms.FAULTS,
    *estimators.FAULTS,
    *objectives.FAULTS,
    *models.FAULTS,
    *judges.FAULTS,
]
