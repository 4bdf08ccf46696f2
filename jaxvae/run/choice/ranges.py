"""Where the numbers of a configuration may lie, said beside each of them: `latent: Annotated[int, AtLeast(1)] = 20`."""

from dataclasses import dataclass
from typing import Any

from jaxvae.run import RunError
from jaxvae.run.choice.fields import fields_of, flag_of, joined, parts


@dataclass(frozen=True)
class AtLeast:
    """lowest <= x."""

    lowest: float

    def refusal(self, value: float) -> str | None:
        """What is wrong with a value, None where nothing is; so for the other ranges."""
        if value >= self.lowest:
            return None
        return "must not be negative" if self.lowest == 0 else f"must be at least {self.lowest}"


@dataclass(frozen=True)
class Above:
    """low < x."""

    low: float

    def refusal(self, value: float) -> str | None:
        """What is wrong."""
        if value > self.low:
            return None
        return "must be positive" if self.low == 0 else f"must be above {self.low}"


@dataclass(frozen=True)
class Below:
    """x < high."""

    high: float

    def refusal(self, value: float) -> str | None:
        """What is wrong."""
        return None if value < self.high else f"must be below {self.high}"


@dataclass(frozen=True)
class Between:
    """low < x < high: without its ends, as the interval of a decay."""

    low: float
    high: float

    def refusal(self, value: float) -> str | None:
        """What is wrong."""
        if self.low < value < self.high:
            return None
        ends = ", and be neither" if value in (self.low, self.high) else ""
        return f"must lie between {self.low} and {self.high}{ends}"


@dataclass(frozen=True)
class Within:
    """lowest <= x <= highest: with its ends, as the interval of a share."""

    lowest: float
    highest: float

    def refusal(self, value: float) -> str | None:
        """What is wrong."""
        if self.lowest <= value <= self.highest:
            return None
        return f"must lie between {self.lowest} and {self.highest}"


RANGES = (AtLeast, Above, Below, Between, Within)


def check_ranges(config: Any) -> None:
    """Refuse a number that lies outside the range beside it: in every group, and in the members that were chosen.

    None, where a field may be None, and words are passed over; of a tuple, every number is looked at; NaN lies nowhere.

    Args:
        config: a configuration.

    Raises:
        RunError: the first such number, by its flag.
    """
    for path, part, _ in parts(config):
        for field in fields_of(part) if part is not None else ():
            values = field.default if isinstance(field.default, tuple) else (field.default,)
            for mark in field.marks:
                for value in values if isinstance(mark, RANGES) else ():
                    wrong = mark.refusal(value) if isinstance(value, int | float) else None
                    if wrong:
                        raise RunError(f"{flag_of(joined(path, field.name))} {value} {wrong}")
