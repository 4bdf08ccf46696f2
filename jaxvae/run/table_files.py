"""What a trained model says of a table, as .csv files: the table completed, its codes, its densities, and new rows."""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxvae.model import VAE
from jaxvae.run import table_rows
from jaxvae.run.data.columns import write_table
from jaxvae.run.data.own_tables import OwnTable, write_completed, write_rows
from jaxvae.run.table_rows import by_rows
from jaxvae.types import Params


class Answers(NamedTuple):
    """What is in the files."""

    codes: np.ndarray  # [N, latent]
    log_densities: np.ndarray  # [N] nats, of the observed cells
    samples: dict[str, np.ndarray]  # block -> [M, n]
    filled: int  # cells


def write_answers(
    place: Path,
    table: OwnTable,
    model: VAE,
    params: Params,
    *,
    num_samples: int,
    samples: int,
    draws: int = 0,
    seed: int = 0,
) -> Answers:
    """Write `completed.csv`, `codes.csv`, `densities.csv` and `samples.csv`.

    Args:
        place: the folder, which is made.
        table: that was read.
        model: of its rows.
        params: of the model.
        num_samples: k of the densities and of the expectations.
        samples: how many new rows.
        draws: tables that are completed by draws, `completed-1.csv` and so on: multiple imputation.
        seed: of the new rows.

    Returns:
        What is in them.
    """
    place.mkdir(parents=True, exist_ok=True)
    seeds, k = table_rows.seeds_of(table.rows), {"num_samples": num_samples}
    codes = by_rows(table_rows.encode, model, params, table.rows)
    densities = by_rows(partial(table_rows.log_likelihood, **k), model, params, table.rows, seeds)
    guess = by_rows(partial(table_rows.expected, **k), model, params, table.rows, seeds)
    filled = write_completed(place / "completed.csv", table, guess)
    if draws:
        drawn = by_rows(partial(table_rows.drawn, num_draws=draws, **k), model, params, table.rows, seeds)
        for number in range(draws):
            one = {block: cells[:, number] for block, cells in drawn.items()}
            write_completed(place / f"completed-{number + 1}.csv", table, one)
    numbers = np.stack([np.full(samples, seed), np.arange(samples)], axis=1).astype(np.uint32)
    new = by_rows(table_rows.sample, model, params, numbers)
    write_rows(place / "samples.csv", table, new)
    latents = [f"z{number}" for number in range(1, codes.shape[1] + 1)]
    lines = table.text.lines
    write_table(
        place / "codes.csv", ["line", *latents], [[n, *code] for n, code in zip(lines, codes.tolist(), strict=True)]
    )
    observed = np.concatenate(list(table.rows[1].values()), axis=1).sum(axis=1).tolist()
    write_table(
        place / "densities.csv",
        ["line", "observed_cells", "log_density"],
        list(zip(lines, observed, densities.tolist(), strict=True)),
    )
    return Answers(codes, densities, new, filled)
