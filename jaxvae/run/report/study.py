"""The report of an experiment that trains for itself: one page in its own folder, in the style of a run's report."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from jaxvae.run.report.figure import html_figure
from jaxvae.run.report.parts import how, html_table, protocol_table, read, write_page
from jaxvae.run.report.words import measured


def write(
    folder: Path,
    *,
    module: str,
    title: str,
    text: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    picture: str,
    options: Mapping[str, Any],
) -> Path:
    """Write `report.html` beside `result.json`, whose protocol it shows, and the picture.

    Args:
        folder: of the experiment.
        module: that makes it, "experiments.denoise".
        title: of the page.
        text: what was asked and done, in plain sentences.
        columns: of the table of results.
        rows: of that table; a pair is a number and its standard error, or None.
        picture: the name of a PNG in the folder.
        options: of the command line, nested.

    Returns:
        The page's path.
    """
    protocol = read(folder / "result.json")["protocol"]
    results = html_table(list(columns), [[_cell(value) for value in row] for row in rows])
    results += '<p class="note">± one standard error</p>' if "±" in results else ""
    figure = html_figure(folder / picture, read(folder / "captions.json"), under=title)
    command = shlex.join(["python", "-m", module, *sys.argv[1:]])
    body = [
        f'<header><p class="over">Experiment</p><h1>{escape(title)}</h1><p class="lead">{escape(text)}</p></header>',
        f'<section><h2>Results</h2><div class="results">{results}</div>{protocol_table(protocol)}</section>',
        f'<section class="figures">{figure}</section>',
        how({**options, "command": command}, folder / "metrics.jsonl"),
    ]
    return write_page(folder / "report.html", title, body)


def _cell(value: Any) -> Any:
    if not isinstance(value, tuple):
        return value
    return " ".join(filter(None, measured(*value)))
