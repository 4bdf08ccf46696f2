"""What an experiment on a run adds to it: numbers as JSON, and a section of the run's report."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxvae.run.folder.files import write_json, write_result
from jaxvae.run.folder.opening import Run
from jaxvae.run.report import report
from jaxvae.run.report.parts import read


def add(
    run: Run,
    name: str,
    *,
    title: str,
    text: str,
    numbers: Mapping[str, Any],
    protocol: Mapping[str, Any],
    columns: Sequence[str] = (),
    rows: Sequence[Sequence[Any]] = (),
    figures: Sequence[str] = (),
) -> Path:
    """Write `NAME.json` and a section of the report, and make the report anew.

    Args:
        run: the run that was examined.
        name: of the experiment, in file names.
        title: of the section.
        text: what was done and what to see, in plain sentences; an empty line parts paragraphs.
        numbers: what was measured.
        protocol: how: data, split, binarisation, estimator, k, seeds, examples; the run's own is added.
        columns: of the table in the report, none for no table.
        rows: of that table.
        figures: names of PNGs in the run's `figures`.

    Returns:
        The report's path.

    Raises:
        ValueError: a word of the protocol has another meaning in the run's own.
    """
    own = run_protocol(run)
    if taken := [word for word in protocol if word in own]:
        raise ValueError(f"the protocol of a run has its own {', '.join(taken)}: call those of {name!r} otherwise")
    stated = own | dict(protocol)
    write_result(run.folder / f"{name}.json", {**numbers, "protocol": stated})
    section: dict[str, Any] = {"title": title, "text": text, "figures": list(figures)}
    if columns:
        section["table"] = {"columns": list(columns), "rows": [list(row) for row in rows]}
    (run.folder / "sections").mkdir(exist_ok=True)
    write_json(run.folder / "sections" / f"{name}.json", section)
    return report.write(run.folder)


def run_protocol(run: Run) -> dict[str, Any]:
    """The part of a protocol that every number of a run shares.

    Args:
        run: the run.

    Returns:
        The run, its data set and split, epochs, steps and seed, and what its recipe says.
    """
    result = run.folder / "result.json"
    measured = read(result).get("protocol", {}) if result.is_file() else {}
    return {
        "run": run.folder.name,
        "dataset": run.config.data.name,
        "split": measured.get("split") or getattr(run.config.data, "split", None) or "the data set's own",
        "epochs": run.config.epochs,
        "steps": run.step,
        "seed": run.config.seed,
    } | dict(run.recipe.protocol)
