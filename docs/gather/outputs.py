"""The printed outputs of tutorials: what a terminal would show at the end, without the bars that came before."""

import re
from typing import Any

BAR = re.compile(r"^.*\d+%\|.*\[.*\]\s*$")


def connect(app: Any) -> None:
    """Tell Sphinx."""
    app.connect("doctree-read", without_bars)


def without_bars(app: Any, doctree: Any) -> None:
    """Take progress bars out of every output."""
    from docutils import nodes  # comes with Sphinx, which the tests of this folder do without

    for block in list(doctree.findall(nodes.literal_block)):
        text = block.astext()
        if "%|" in text:
            kept = settled(text)
            block.replace_self(nodes.literal_block(kept, kept, **block.attributes))


def settled(text: str) -> str:
    r"""The lines of an output after every return of the carriage.

    >>> settled("begun\nsteps:   0%|   | 0/9 [00:00]\rsteps: 100%|###| 9/9 [00:01<00:00]\nended\n")
    'begun\nended\n'
    """
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return "\n".join(line for line in lines if not BAR.match(line))
