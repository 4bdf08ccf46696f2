"""The parts of a report: texts of values, tables, figures, and the page around them."""

import json
import os
import re
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from jaxvae.run.report.style import STYLE
from jaxvae.run.report.words import flat, label, text_of, with_minus

BRIEF = ("dataset", "split", "binarisation", "likelihood")  # of a protocol, what is said while it is folded


def write_page(path: Path, title: str, body: Iterable[str]) -> Path:
    """Write a page that needs nothing but itself, as a whole or not at all.

    Args:
        path: of the file.
        title: of the page.
        body: parts of HTML; empty ones are left out.

    Returns:
        The path.
    """
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<style>{STYLE}</style></head>\n'
        f"<body><main>\n{chr(10).join(part for part in body if part)}\n</main></body></html>\n"
    )
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        unfinished.write_text(page, encoding="utf-8")
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def read(file: Path) -> dict[str, Any]:
    """One JSON object.

    Args:
        file: that holds it.

    Returns:
        The object.

    Raises:
        ValueError: the file cannot be read, or holds something else.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} cannot be read as JSON ({error}); mend or remove it.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} must hold one JSON object, not {type(content).__name__}.")
    return content


def protocol_table(protocol: dict[str, Any]) -> str:
    """How numbers were measured, folded: the sentence of it is always there, the rest when it is asked for.

    Args:
        protocol: nested; empty where nothing was recorded.

    Returns:
        HTML.
    """
    if not protocol:
        return '<p class="quiet">No protocol was recorded: compare these numbers with no others.</p>'
    rows = ""
    every = list(flat(protocol))
    for key, value in every:
        unit = " s" if key.endswith("_seconds") else ""
        value = round(value, 1) if unit and isinstance(value, float) else value
        rows += f'<tr><th scope="row">{escape(label(key))}</th><td>{escape(text_of(value))}{unit}</td></tr>'
    short = ", ".join(dict.fromkeys(text_of(protocol[key]) for key in BRIEF if protocol.get(key)))
    short = f'<span class="quiet">{escape(short)}, and {len(every):,} values in all</span>' if short else ""
    return (
        f'<details class="protocol"><summary>Protocol {short}</summary><div class="scroll">'
        f"<table>{rows}</table></div></details>"
    )


def html_table(columns: list[str], rows: list[list[Any]]) -> str:
    """A table; a column that holds numbers stands to the right.

    Args:
        columns: their names.
        rows: of values.

    Returns:
        HTML.
    """
    width = max(map(len, [columns, *rows]))
    every = [[row[i] for row in rows if i < len(row)] for i in range(width)]
    kinds = [' class="number"' if any(map(_counts, column)) and all(map(_fits, column)) else "" for column in every]
    head = "".join(
        f'<th scope="col"{kind}>{escape(with_minus(column))}</th>' for kind, column in zip(kinds, columns, strict=False)
    )
    body = ""
    for row in rows:
        cells = [f"<td{kind}>{escape(with_minus(text_of(v)))}</td>" for kind, v in zip(kinds, row, strict=False)]
        if cells and not kinds[0]:
            cells[0] = f'<th scope="row">{escape(with_minus(text_of(row[0])))}</th>'
        body += f"<tr>{''.join(cells)}</tr>"
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="scroll">{table}</div>'


def _counts(value: Any) -> bool:
    """Whether a cell is a number, or the text of one with its error."""
    if isinstance(value, str):
        return bool(re.fullmatch(r"[-−≤≥ ]*[\d.,]+( ± [\d.,]+)?( nats)?", value))
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _fits(value: Any) -> bool:
    """Whether a cell may stand in a column of numbers: one, or none."""
    return value in (None, "", "–") or _counts(value) or not isinstance(value, str)


def how(config: dict[str, Any], metrics: Path, *, watch: str = "") -> str:
    """How to do it again: the command, the configuration, what training logged.

    Args:
        config: the configuration, nested, with the command.
        metrics: the log, where there is one.
        watch: the command that shows it in TensorBoard, where there are events.

    Returns:
        HTML.
    """
    parts = ["<h2>Do it again</h2>"]
    if command := config.get("command"):
        parts.append(f"<pre>{escape(' '.join(command) if isinstance(command, list) else str(command))}</pre>")
    if watch:
        parts.append('<p class="quiet">Its curves, pictures and options in TensorBoard (pip install tensorboard):</p>')
        parts.append(f"<pre>{escape(watch)}</pre>")
    settings = [(key, value) for key, value in flat(config) if key not in ("command", "description")]
    rows = "".join(f'<tr><th scope="row">{escape(k)}</th><td>{escape(str(v))}</td></tr>' for k, v in settings)
    parts.append(f'<details><summary>Configuration, {len(settings)} values</summary><div class="scroll">')
    parts.append(f'<table class="config">{rows}</table></div></details>')
    return f'<section id="again">{"".join(parts)}{_log(metrics)}</section>'


def _mean(value: Any) -> Any:
    """Of several seeds' numbers the mean; anything else as it is."""
    numbers = isinstance(value, list) and value and all(isinstance(v, (int, float)) for v in value)
    return sum(value) / len(value) if numbers else value


def _log(metrics: Path) -> str:
    """About a dozen lines of the log, evenly spread, folded away; of several seeds the means."""
    lines, lost = [], 0
    for text in metrics.read_text(encoding="utf-8", errors="replace").splitlines() if metrics.is_file() else ():
        try:
            line = json.loads(text)
        except ValueError:
            line = None
        if isinstance(line, dict):
            lines.append({key: _mean(value) for key, value in line.items()})
        elif text.strip():
            lost += 1
    if not lines:
        return ""
    chosen = sorted({round(i * (len(lines) - 1) / 11) for i in range(12)})
    columns = list(dict.fromkeys(key for line in lines for key in line))
    table = html_table([label(column) for column in columns], [[lines[i].get(c) for c in columns] for i in chosen])
    note = f"{len(chosen)} of {len(lines):,} lines" + (f"; {lost} unreadable, passed over" if lost else "")
    return f"<details><summary>Training log, {note}</summary>{table}</details>"
