"""What a measurement was made on: a number without it means nothing."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import jax


def description() -> dict:
    """The processor, its cores, how busy it is, the devices, and the versions."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg(),
        "devices": [f"{device.platform} {device.device_kind}" for device in jax.devices()],
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("jax", "jaxlib", "flax", "optax", "numpy")},
    }


def _processor() -> str:
    table = Path("/proc/cpuinfo")
    if table.exists():
        for line in table.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def default_device() -> jax.Device:
    """Where JAX puts an array that nobody places."""
    return next(iter(jax.numpy.zeros(()).devices()))


def warn_if_busy() -> None:
    """Say so where other programs run: a peer that waits for a core that is taken can fall to a tenth of its speed."""
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"the machine is busy (load average {load:.1f}): these numbers are worth little; measure on an idle one")
