"""The README's Python runs, and its commands exist."""

import re
from pathlib import Path

import jax
import pytest

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text()


def test_the_python_blocks_run():
    for block in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL):
        with jax.numpy_dtype_promotion("standard"):  # optax's Adam
            exec(compile(block, "README.md", "exec"), {})


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#]+)\)", README))))
def test_the_links_point_to_something(link):
    assert (REPOSITORY / link).exists()


@pytest.mark.parametrize("module", sorted(set(re.findall(r"python -m ([a-z_]+(?:\.[a-z_]+)+)", README))))
def test_the_commands_exist(module):
    assert (REPOSITORY / module.replace(".", "/")).with_suffix(".py").is_file()


def test_make_has_the_commands():
    makefile = (REPOSITORY / "Makefile").read_text()
    for target in re.findall(r"`?make ([a-z-]+)", README):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
