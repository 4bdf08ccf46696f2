"""One fault: what it is, where it is planted, and who is to catch it."""

import ast
from typing import NamedTuple


class Fault(NamedTuple):
    """A line of the core as somebody could have got it wrong."""

    name: str  # in words
    file: str  # below jaxvae/
    source: str  # as it stands there, exactly once
    replacement: str  # as it stands there wrongly
    tests: str  # below tests/: files, or tests of them by `::`, with " + " between

    @property
    def path(self) -> str:
        """The file, from the root of the repository."""
        return f"jaxvae/{self.file}"

    @property
    def catchers(self) -> list[str]:
        """The tests, from the root of the repository."""
        return [f"tests/{test}" for test in self.tests.split(" + ")]


def planted(fault: Fault, text: str) -> str:
    """The text of a file with the fault in it.

    Raises:
        ValueError: the source is not there exactly once, or what comes of it is no program, or the same one.
    """
    count = text.count(fault.source)
    if count != 1:
        raise ValueError(
            f"{fault.name!r} asks for the text {fault.source!r} once, and {fault.path} has it {count} times: bring the "
            "row up to the code as it is now"
        )
    wrong = text.replace(fault.source, fault.replacement)
    try:
        same = ast.dump(ast.parse(text)) == ast.dump(ast.parse(wrong))
    except SyntaxError as error:
        raise ValueError(f"with {fault.name!r}, {fault.path} is no Python: {error}") from error
    if same:
        raise ValueError(f"{fault.name!r} leaves {fault.path} as it is: plant a fault")
    return wrong
