"""Whether dimensions of the code are the factors of the pictures, by eight metrics: `jaxvae disentangle runs/NAME`."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from tqdm import tqdm

from jaxvae import evaluation
from jaxvae.questions.parts.examined import REALS, at_least, open_examined
from jaxvae.run import RunError
from jaxvae.run.data.protocols import SIDES, sprite_rows
from jaxvae.run.data.sprites import FACTORS, factors_of
from jaxvae.run.figures.images import decode, encode
from jaxvae.run.figures.rows import labelled_rows
from jaxvae.run.folder.opening import Run
from jaxvae.run.held_out import as_seen, even_rows
from jaxvae.run.report import section

SIZES, BINS = tuple(FACTORS.values()), 20
STEPS = np.linspace(-2, 2, 11)
WORDS = {
    "mig": "mutual information gap, 20 bins",
    "modularity": "modularity, 20 bins",
    "irs": "interventional robustness",
    "factor_vae": "FactorVAE score",
    "beta_vae": "beta-VAE score",
    "sap": "SAP by lines",
    "dci_disentanglement": "DCI, disentanglement",
    "dci_completeness": "DCI, completeness",
}

KINDS = ("plain",)  # of runs that it is about


@dataclass(frozen=True)
class Options:
    """Measure how far the dimensions of a code are the factors of the sprites, beside a perfect and a random code."""

    run: tyro.conf.Positional[Path]
    """The run folder, of a run on sprites."""
    examples: int = 10_000
    """Test pictures, from all over the test set."""
    votes: int = 10_000
    """Of the FactorVAE score, and points that the beta-VAE score's classifier is fitted to; half as many test both."""
    line_examples: int = 5000
    """Pictures that the lines of SAP are fitted to, two thirds of those that it takes; 0 leaves it out."""
    tree_examples: int = 2000
    """Pictures that the trees of DCI are fitted to, two thirds of those that it takes; 0 leaves it out. The reference
    takes ten thousand, and minutes."""
    seed: int = 0
    """Of all draws and fits."""


def main(options: Options) -> None:
    """Encode, measure, add a section to the report.

    Args:
        options: of the command line.
    """
    at_least(100, examples=options.examples, votes=options.votes)
    at_least(0, line_examples=options.line_examples, tree_examples=options.tree_examples, seed=options.seed)
    run, dataset = open_examined(options.run, KINDS, needs=REALS)
    if dataset.name not in SIDES:
        raise RunError(
            f"{options.run} was trained on {dataset.name}, whose factors are not known: take a run on "
            f"{' or '.join(SIDES)}"
        )
    chosen = even_rows(dataset.test.size, options.examples)
    factors = factors_of(sprite_rows("test")[chosen])
    xs = as_seen(run.recipe, dataset.test._replace(examples=dataset.test.examples[chosen], labels=None))
    codes = np.concatenate(
        [encode(run.model, run.params, xs[begin : begin + 1000]) for begin in range(0, len(xs), 1000)]
    )
    if codes.shape[1] < 2:
        raise RunError(f"{options.run} has one latent dimension, and a gap between dimensions needs two: give another")
    compared = {
        "the run": codes,
        "a perfect code": factors.astype(np.float32),
        "a random code": np.random.default_rng(options.seed).normal(size=codes.shape).astype(np.float32),
    }
    numbers = {
        name: measured(of, factors, options) for name, of in tqdm(compared.items(), desc="measuring", unit=" codes")
    }
    best = _draw(run, codes, factors)
    flat = {name: value for name, value in numbers["the run"].items()}
    for other in ("perfect", "random"):
        flat |= {f"{name}_{other}_code": value for name, value in numbers[f"a {other} code"].items()}
    table = [[WORDS[name], *(f"{numbers[of][name]:.3f}" for of in compared)] for name in numbers["the run"]]
    page = section.add(
        run,
        "disentangle",
        title="Factors in the code",
        text=_text(),
        numbers=flat | {"best_dimensions": best},
        protocol={
            "code_examples": len(codes),
            "codes": "posterior means",
            "votes": options.votes,
            "line_examples": options.line_examples,
            "tree_examples": options.tree_examples,
            "draw_seed": options.seed,
        },
        columns=["", *compared],
        rows=table,
        figures=["factors.png"],
    )
    for heading, *values in table:
        print(f"  {heading}: {values[0]} (perfect {values[1]}, random {values[2]})")
    print(f"report: {page}")


def told_of(codes: np.ndarray, factors: np.ndarray) -> evaluation.Information:
    """What the bins of codes [N, D] tell of the factors [N, 5]."""
    counted = jax.jit(partial(evaluation.information, num_kinds=BINS, sizes=SIZES))
    return counted(evaluation.binned(jnp.asarray(codes), BINS), jnp.asarray(factors))


def measured(codes: np.ndarray, factors: np.ndarray, options: Options) -> Mapping[str, float]:
    """Every metric of one code.

    Args:
        codes: [N, D].
        factors: [N, 5].
        options: of the command line.

    Returns:
        Name -> number.
    """
    seed, told = options.seed, told_of(codes, factors)
    robust = jax.jit(partial(evaluation.interventional_robustness, sizes=(BINS,) * len(SIZES)))
    fits = {"fits": options.votes, "tests": options.votes // 2}
    found = {
        "mig": evaluation.mutual_information_gap(told),
        "modularity": evaluation.modularity(told.mutual),
        "irs": robust(jnp.asarray(codes), evaluation.binned(jnp.asarray(factors, jnp.float32), BINS)),
        "factor_vae": evaluation.factor_vae_score(seed, codes, factors, votes=options.votes, tests=options.votes // 2),
        "beta_vae": evaluation.beta_vae_score(seed, codes, factors, **fits),
    }
    if count := min(options.line_examples, 2 * len(codes) // 3):
        found["sap"] = evaluation.separated_lines(seed, codes, factors, fits=count, tests=count // 2)
    if count := min(options.tree_examples, 2 * len(codes) // 3):
        dci = evaluation.dci(seed, codes, factors, fits=count, tests=count // 2)
        found |= {"dci_disentanglement": dci.disentanglement, "dci_completeness": dci.completeness}
    return {name: float(value) for name, value in found.items()}


def _draw(run: Run, codes: np.ndarray, factors: np.ndarray) -> dict[str, int]:
    """The dimension that tells most of each factor, swept about one code; which they are."""
    mutual = np.asarray(told_of(codes, factors).mutual)
    best = {name: int(np.argmax(mutual[:, k])) for k, name in enumerate(FACTORS)}
    middle = codes[np.argmin(np.square(codes).sum(axis=1))]
    rows = []
    for k, (name, dimension) in enumerate(best.items()):
        swept = np.tile(middle, (len(STEPS), 1))
        swept[:, dimension] = codes[:, dimension].mean() + STEPS * codes[:, dimension].std()
        images = np.asarray(decode(run.model, run.params, jnp.asarray(swept)))
        rows.append((f"{name}: {mutual[dimension, k]:.2f} nats", images))
    labelled_rows(
        run.folder / "figures" / "factors.png",
        rows,
        title="The dimension that tells most of each factor",
        caption="In each row one dimension moves from two standard deviations below its mean to two above, the others "
        "stay: the one that tells most of the factor named, with how much. Look for rows in which one thing changes.",
    )
    return best


def _text() -> str:
    return (
        "Each picture was made of five factors: shape, scale, angle, x and y. The metrics ask whether a dimension of "
        "the code follows one of them and no other, which training was never told.\n\n"
        "No number means anything without the two beside it: the same metric, on the same pictures, of a code that is "
        "the factors themselves, and of one that knows nothing. The first is no 1 where there are fewer bins than "
        "values or a line has to find a middle value. As squares and ellipses look the same at several angles, no "
        "model reaches it."
    )
