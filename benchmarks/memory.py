"""How much memory a program takes: as XLA planned it, and as the operating system saw it."""

import resource
import sys
from pathlib import Path

import jax

from benchmarks.machine import default_device


def program_bytes(program: jax.stages.Compiled) -> int | None:
    """Arguments, outputs and temporaries of a compiled program, counted once where they are shared; None if unknown."""
    plan = program.memory_analysis()
    if plan is None:
        return None
    held = plan.argument_size_in_bytes + plan.output_size_in_bytes - plan.alias_size_in_bytes
    return int(held + plan.temp_size_in_bytes)


def forget_peak() -> bool:
    """Let the peak of this process's resident memory start anew; whether the system could do that (Linux can)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak_resident_bytes() -> int:
    """The largest resident memory of this process since `forget_peak`, or since its start where that is not known."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def available_bytes() -> int | None:
    """The memory that a program may still take on the default device; None if unknown."""
    statistics = default_device().memory_stats()
    if statistics and "bytes_limit" in statistics:
        return int(statistics["bytes_limit"] - statistics.get("bytes_in_use", 0))
    table = Path("/proc/meminfo")
    if table.exists():
        for line in table.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    return None
