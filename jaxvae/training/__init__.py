"""State, step, and an epoch as one scan, on one device and on several."""

from jaxvae.training.lagging import make_leading_step
from jaxvae.training.step import (
    Data,
    Prepare,
    State,
    Step,
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
    "Data",
    "Prepare",
    "State",
    "Step",
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
