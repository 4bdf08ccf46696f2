"""State, step, and an epoch as one scan, on one device and on several."""

from jaxvae.training.lagging import make_leading_step
from jaxvae.training.step import (
    Across,
    Data,
    Part,
    Prepare,
    State,
    Step,
    alone,
    dynamic_binarization,
    grey,
    make_step,
    num_examples,
    start,
    steps,
    streamed,
    visits,
)

__all__ = [
    "Across",
    "Data",
    "Part",
    "Prepare",
    "State",
    "Step",
    "alone",
    "dynamic_binarization",
    "grey",
    "make_leading_step",
    "make_step",
    "num_examples",
    "start",
    "steps",
    "streamed",
    "visits",
]
