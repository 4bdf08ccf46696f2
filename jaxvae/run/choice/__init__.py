"""Options as dataclasses, chosen by name: on a command line, in JSON, with ranges, help, and what does not fit."""

from jaxvae.run.choice.as_dict import from_dict, to_dict
from jaxvae.run.choice.fields import EVERYDAY, chosen, members, named
from jaxvae.run.choice.parsing import differences, parse
from jaxvae.run.choice.ranges import Above, AtLeast, Below, Between, Within, check_ranges

__all__ = [
    "EVERYDAY",
    "Above",
    "AtLeast",
    "Below",
    "Between",
    "Within",
    "check_ranges",
    "chosen",
    "differences",
    "from_dict",
    "members",
    "named",
    "parse",
    "to_dict",
]
