"""Make a virtual environment with uv in it, from nothing but a Python: `python3 .ci/environment.py .venv`.

Debian ships Python without `ensurepip` unless python3-venv is installed; then pip's own wheel, which Python can run
as it is, does the first install.
"""

import importlib.util
import json
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
import venv
from pathlib import Path

INDEX = "https://pypi.org/pypi/pip/json"


def main(folder: Path) -> None:
    """Make the environment in this folder."""
    if sys.version_info < (3, 11):  # noqa: UP036 - whoever runs this may have any Python
        sys.exit(
            f"jaxvae needs Python 3.11 or later; {sys.executable} is {sys.version.split()[0]}. "
            "Name another one: make PYTHON=python3.12 ..."
        )
    print(f"making the environment in {folder} (about half a minute the first time)", flush=True)
    has_pip = importlib.util.find_spec("ensurepip") is not None and _bundled_pip()
    venv.create(folder, with_pip=has_pip, clear=True, symlinks=True)
    python = folder / "bin" / "python"
    if has_pip:
        subprocess.run([python, "-m", "pip", "install", "--quiet", "uv"], check=True)
        return
    with tempfile.TemporaryDirectory() as scratch:
        wheel = _download_pip(Path(scratch))
        subprocess.run([python, wheel / "pip", "install", "--quiet", "uv"], check=True)


def _bundled_pip() -> bool:
    """Whether `ensurepip` can work: Debian strips its wheels and leaves a stub of the package."""
    return subprocess.run([sys.executable, "-m", "ensurepip", "--version"], capture_output=True).returncode == 0


def _download_pip(folder: Path) -> Path:
    try:
        with urllib.request.urlopen(INDEX, timeout=60) as reply:
            files = json.load(reply)["urls"]
        url = urllib.parse.urljoin(INDEX, next(f["url"] for f in files if f["packagetype"] == "bdist_wheel"))
        wheel = folder / url.rsplit("/", 1)[-1]
        with urllib.request.urlopen(url, timeout=60) as reply:
            wheel.write_bytes(reply.read())
    except OSError as error:
        sys.exit(
            f"this Python has no ensurepip, and pip could not be fetched from {INDEX}: {error}. "
            "Check the network, or run: apt-get install python3-venv"
        )
    return wheel


if __name__ == "__main__":
    main(Path(sys.argv[1]))
