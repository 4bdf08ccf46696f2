"""Plants each fault in a copy of the core, and says which test catches it: `make mutants`.

One of its tests has to fail with a fault, by what it asserts, and to pass without it: one of `make test`, else one that
is marked slow.
"""

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tqdm import tqdm

from mutants import FAULTS, Fault
from mutants.laboratory import Laboratory
from mutants.running import Verdict, prepared


def table(faults: list[Fault], verdicts: dict[str, Verdict]) -> str:
    """Who catches what, in Markdown."""
    lines = ["| fault | file | caught by |", "|---|---|---|"]
    for fault in faults:
        verdict = verdicts[fault.name]
        file, _, test = (verdict.test or "").removeprefix("tests/").partition("::test_")
        said = f"`{file}`: {test.partition('[')[0].replace('_', ' ')}{' (slow)' if verdict.slow else ''}"
        said = said if verdict.test else f"**{verdict.words}**"
        lines.append(f"| {fault.name} | `{fault.file}` | {said} |")
    return "\n".join(lines)


def main() -> int:
    """The table of all faults; 1 where one of them is not caught."""
    parser = argparse.ArgumentParser(prog="python -m mutants", description=__doc__.splitlines()[0])
    parser.add_argument("--only", metavar="NAME", nargs="+", default=[""], help="those with one of these words in them")
    parser.add_argument("--jobs", type=int, default=1, help="faults at a time, each in a copy of its own (1)")
    options = parser.parse_args()
    faults = [fault for fault in FAULTS if any(words in f"{fault.name} ({fault.file})" for words in options.only)]
    if not faults:
        parser.error(f"no fault has {' or '.join(options.only)} in its name or file")
    if options.jobs < 1:
        parser.error(f"--jobs {options.jobs}: at least one fault at a time")
    began, verdicts = time.monotonic(), {}
    with tempfile.TemporaryDirectory(prefix="jaxvae-mutants-") as temporary, ThreadPoolExecutor(options.jobs) as pool:
        prepared(Path(temporary) / "compiled")
        laboratory = Laboratory(Path(temporary), options.jobs)
        futures = {pool.submit(laboratory.verdict, fault): fault for fault in faults}
        with tqdm(as_completed(futures), "faults", len(futures), mininterval=5) as progress:
            for future in progress:
                fault, verdict = futures[future], future.result()
                verdicts[fault.name] = verdict
                by = f"caught by {verdict.test}" if verdict.test else "NOT CAUGHT"
                progress.write(f"{fault.name} ({fault.file}), {verdict.seconds:.0f} s: {by}: {verdict.words}")
                sys.stdout.flush()
    print(table(faults, verdicts))
    lost = [fault for fault in faults if verdicts[fault.name].test is None]
    minutes = (time.monotonic() - began) / 60
    print(f"\n{len(faults) - len(lost)} of {len(faults)} faults are caught, in {minutes:.0f} minutes.")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
