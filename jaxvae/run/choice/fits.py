"""Whether what was chosen fits together: each option says what it has and what it needs, and there is no list of pairs.

An option class may say, in class variables or in properties that depend on its values,

    has: ClassVar = frozenset({"path", "density"})      # the words that it offers
    needs: ClassVar = {"model.posterior": {"path"}}     # the words that it needs of the option at another path

Where one field of it asks, and not the option as a whole, `needs` names that field behind the word:
`{"model.posterior": {"path": "free_bits"}}`.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from jaxvae.run import RunError
from jaxvae.run.choice.fields import Field, begun, flag_of, joined, named, parts, with_value

MOST = 4  # names in a sentence


class Place(NamedTuple):
    """A group of options, or a member that was chosen, and where it stands."""

    path: str
    option: Any
    field: Field | None  # that holds it; None for the whole configuration

    @property
    def flag(self) -> str:
        """What it is called without its name."""
        return flag_of(self.path) if self.path else "the configuration"

    @property
    def title(self) -> str:
        """What it is called, a member with its name."""
        return f"{self.flag} {named(type(self.option))}" if self.field and self.field.members else self.flag

    @property
    def others(self) -> dict[str, Any]:
        """The other members by their names, with their defaults; none where it is no member of a union."""
        found = self.field.members if self.field else {}
        return {name: begun(kind) for name, kind in found.items() if kind is not type(self.option)}


def check(config: Any, phrases: Mapping[str, str]) -> None:
    """Refuse options of which one needs what another lacks.

    A path that the configuration does not have is passed over.

    Args:
        config: a configuration.
        phrases: what each word means, in the plural or with its article: "path" -> "draws with a path".

    Raises:
        RunError: the first such need, with the members that meet it, and those that do not have it.
    """
    for asker, asked, word, by in _unmet(config):
        # of the members that would do, those first with which everything fits
        give = [name for name, other in asked.others.items() if set(_needs(asker.option)[asked.path]) <= _has(other)]
        give.sort(key=lambda name: _is_unfit(config, asked, name))
        another = [
            name for name, other in asker.others.items() if {*_needs(other).get(asked.path, ())} <= _has(asked.option)
        ]
        another.sort(key=lambda name: _is_unfit(config, asker, name))
        remedies = [f"give {asked.flag} {_some(give)}"] if give else []
        if by or (asker.path and not asker.others):
            remedies += [f"leave out {flag_of(joined(asker.path, by)) if by else asker.flag}"]
        elif another:
            remedies += [f"{'' if give else 'give '}another {asker.flag} ({_some(another)})"]
        raise RunError(
            f"{_title(asker, by)} needs {phrases[word]}, and {asked.title} has none"
            + (": " if remedies else "")
            + ", or ".join(remedies)
        )


def _unmet(config: Any) -> Iterator[tuple[Place, Place, str, str]]:
    """Of every need that is not met: who asks, who is asked, for which word, and the field that asks, or ""."""
    places = {path: Place(path, option, field) for path, option, field in parts(config)}
    for asker in places.values():
        for path, words in _needs(asker.option).items():
            for word, by in words.items():
                if path in places and word not in _has(places[path].option):
                    yield asker, places[path], word, by


def _has(option: Any) -> set[str]:
    return set(getattr(option, "has", ()))


def _needs(option: Any) -> dict[str, dict[str, str]]:
    """What an option needs: path -> word -> the field that asks, "" where it is the option itself."""
    found: Mapping[str, Collection[str]] = getattr(option, "needs", {})
    return {
        path: dict(words) if isinstance(words, Mapping) else dict.fromkeys(sorted(words), "")
        for path, words in found.items()
    }


def _is_unfit(config: Any, place: Place, name: str) -> bool:
    """Whether another need is not met once another member stands at a place."""
    return any(True for _ in _unmet(_replaced(config, place.path, place.others[name])))


def _replaced(config: Any, path: str, option: Any) -> Any:
    head, _, rest = path.partition(".")
    return with_value(config, head, _replaced(getattr(config, head), rest, option) if rest else option)


def _title(asker: Place, by: str) -> str:
    """Who asks: an option, or the flag of its field with the value."""
    if not by:
        return asker.title
    value = getattr(asker.option, by)
    return flag_of(joined(asker.path, by)) + ("" if isinstance(value, bool) else f" {value}")


def _some(names: Sequence[str]) -> str:
    """At most so many names."""
    if len(names) > MOST:
        return ", ".join([*names[:MOST], "..."])
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
