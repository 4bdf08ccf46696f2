"""What the parts of the library may know of each other, and how large they may grow."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "jaxvae"
CORE = sorted(path for path in PACKAGE.glob("*.py") if path.stem != "__init__")
SHELL = sorted((PACKAGE / "run").rglob("*.py"))
SCRIPTS = sorted([*(ROOT / "experiments").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")])

# From the bottom up: a file of the core imports what lies in a lower layer only; an empty line parts two layers.
LAYERS = """
types

code_prior codebook conditioned continuous_bernoulli convolution gamma_ratio hamiltonian many_normals onehot
quadrants raster sphere splines

counts distributions layers pixels structured student_t

autoregressive_pixels draws flows gaussian masked_normal mixture networks

autoregressive priors sylvester

correlated coupling vamp

divergence

model

annealed auxiliary bounds codes conditional denoising dequantization evaluation gaps generalized hierarchical
latent linear perceptual semi_amortised

decomposition hamiltonian_vae importance imputation losses multisample renyi thermodynamic

quantized training wake_sleep

lagging parallel
"""
HEIGHT = {name: height for height, layer in enumerate(LAYERS.split("\n\n")) for name in layer.split()}


def tree_of(path):
    return ast.parse(path.read_text())


def imports_of(nodes):
    """The dotted names of the modules that these nodes import, `from jaxvae import draws` as `jaxvae.draws`."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            if node.module == "jaxvae":
                yield from (f"jaxvae.{alias.name}" for alias in node.names)
            else:
                yield node.module


def all_imports(path):
    return list(imports_of(ast.walk(tree_of(path))))


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.stem)
def test_imports_of_the_core_point_downward(path):
    assert path.stem in HEIGHT, (
        f"jaxvae/{path.name} is in no layer; put {path.stem!r} into LAYERS of tests/test_structure.py, "
        "one above the highest of what it imports"
    )
    for name in all_imports(path):
        if name.split(".")[0] == "jaxvae":
            imported = name.split(".")[1]
            assert imported in HEIGHT, f"jaxvae/{path.name} imports {name}, which is no file of the core"
            assert HEIGHT[imported] < HEIGHT[path.stem], f"jaxvae/{path.name} imports {name}, which is not below it"
        else:
            assert name.split(".")[0] not in ("experiments", "benchmarks", "tests"), f"{path.name} imports {name}"


def test_every_layer_names_files_that_exist():
    assert set(HEIGHT) <= {path.stem for path in CORE}
    assert len(HEIGHT) == len(LAYERS.split())


def test_networks_know_only_types_and_their_layers():
    inside = {name for name in all_imports(PACKAGE / "networks.py") if name.startswith("jaxvae")}
    assert inside == {"jaxvae.layers", "jaxvae.types"}
    below = {name for name in all_imports(PACKAGE / "layers.py") if name.startswith("jaxvae")}
    assert below == {"jaxvae.convolution", "jaxvae.types"}


def test_the_shell_imports_no_scripts_and_the_package_no_shell():
    for path in SHELL:
        for name in all_imports(path):
            assert name.split(".")[0] not in ("experiments", "benchmarks", "tests"), f"{path} imports {name}"
    outermost = tree_of(PACKAGE / "__init__.py").body  # inside a function, where it is used, it may
    assert not [name for name in imports_of(outermost) if name.startswith("jaxvae.run")]


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.stem)
def test_only_the_networks_import_flax(path):
    assert path.stem in ("networks", "layers") or not any(name.split(".")[0] == "flax" for name in all_imports(path))


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.stem)
def test_the_core_does_not_jit(path):
    """Callers jit; `bounds.batched` is the one convenience, and `parallel` the one place of `pmap`."""
    tree = tree_of(path)
    if path.stem == "bounds":
        tree.body = [node for node in tree.body if getattr(node, "name", None) != "batched"]
    for node in ast.walk(tree):
        name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else None
        forbidden = ("jit", "filter_jit") if path.stem == "parallel" else ("jit", "pmap", "filter_jit")
        assert name not in forbidden, f"jaxvae/{path.name}, line {node.lineno}: {name}"


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.stem)
def test_the_core_has_no_side_effects(path):
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("open", "print", "input"), f"jaxvae/{path.name}, line {node.lineno}"
        assert not isinstance(node, ast.Global), f"jaxvae/{path.name}, line {node.lineno}: global state"


def test_there_is_no_drawer_for_odds_and_ends():
    names = {path.stem for path in [*CORE, *SHELL, *SCRIPTS]}
    assert not names & {"utils", "util", "helpers", "misc", "common"}


@pytest.mark.parametrize("path", [*CORE, *SHELL, *SCRIPTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_long(path):
    length = len(path.read_text().splitlines())
    assert length <= 350, f"{path.relative_to(ROOT)} has {length} lines: it must have two subjects"


def public_definitions(tree):
    """Functions and classes of a module, and methods of its classes, whose names do not begin with an underscore."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    for node in tree.body:
        if isinstance(node, kinds) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from (inner for inner in node.body if isinstance(inner, kinds) and not inner.name.startswith("_"))


@pytest.mark.parametrize("path", [*CORE, *SHELL], ids=lambda path: str(path.relative_to(PACKAGE)))
def test_everything_public_has_a_docstring(path):
    tree = tree_of(path)
    missing = [node.name for node in public_definitions(tree) if not ast.get_docstring(node)]
    assert not missing, f"{path.relative_to(ROOT)}: no docstring on {', '.join(missing)}"
    if path.stem != "__init__":
        assert ast.get_docstring(tree), f"{path.relative_to(ROOT)} does not say what it is"


def test_everything_exported_exists_and_is_documented():
    import jaxvae

    for name in jaxvae.__all__:
        assert getattr(jaxvae, name).__doc__, name
