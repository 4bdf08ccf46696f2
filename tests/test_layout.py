"""What the rooms of the library may know of each other, and how large their files may grow."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "jaxvae"

# A room imports from the rooms below it only, and its files form no circle.
ROOMS = """
experiments benchmarks
jaxvae.cli
jaxvae.questions
jaxvae.recipes
jaxvae.run
jaxvae.training
jaxvae.evaluation
jaxvae.latent
jaxvae.models
jaxvae.losses
jaxvae.bounds
jaxvae.model
jaxvae.priors
jaxvae.flows
jaxvae.likelihoods
jaxvae.draws
jaxvae.distributions
jaxvae.networks
jaxvae.loops
jaxvae.types
""".strip().splitlines()
FLOOR = {room: height for height, row in enumerate(reversed(ROOMS)) for room in row.split()}
SHELL = ("jaxvae.run", "jaxvae.recipes", "jaxvae.questions", "jaxvae.cli")
SCRIPTS = ("experiments", "benchmarks")

FILES = sorted(
    path
    for folder in ("jaxvae", *SCRIPTS)
    for path in (ROOT / folder).rglob("*.py")
    if path not in (PACKAGE / "__init__.py", PACKAGE / "__main__.py")
)


def named(path):
    """The dotted name of a file; a folder's own is that of its `__init__`."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def room_of(name):
    """The room of a dotted name: the longest that begins it."""
    return next((room for room in FLOOR if name == room or name.startswith(f"{room}.")), None)


CORE = [path for path in FILES if room_of(named(path)) not in (*SHELL, *SCRIPTS)]
NAMES = {named(path) for path in FILES}


def tree_of(path):
    return ast.parse(path.read_text())


def imports_of(path):
    """The modules that a file imports; of what is no module, the one that has it."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in NAMES else node.module


by_name = pytest.mark.parametrize("path", FILES, ids=named)
of_the_core = pytest.mark.parametrize("path", CORE, ids=named)


@of_the_core
def test_loops_of_the_core_may_stand_inside_a_shard_map(path):
    """`jaxvae.loops` has JAX's, and begins their carries as what they become."""
    bare = [f"jax.lax.{loop}(" for loop in ("scan", "fori_loop", "while_loop")]
    assert path.name == "loops.py" or not any(word in path.read_text() for word in bare)


@by_name
def test_json_is_written_where_what_is_not_finite_becomes_null(path):
    """A record of a benchmark held a bare NaN, which readers of JSON refuse: `run.folder.files` writes null."""
    writes = ("write_text(json", "json.dump(", "json_format.dump(")
    assert not any(word in path.read_text() for word in writes) or room_of(named(path)) == "jaxvae.run"


@by_name
def test_imports_point_downward(path):
    here = room_of(named(path))
    assert here is not None, f"{named(path)} is in no room: give its folder a row in ROOMS"
    for name in imports_of(path):
        there = room_of(name)
        if name == "jaxvae":  # the names that users know: for scripts
            assert here in (*SCRIPTS, *SHELL), f"{named(path)} imports jaxvae itself: name the room"
        elif there is not None and there != here:
            assert FLOOR[there] < FLOOR[here], f"{named(path)} imports {name}, which is not below it"


@pytest.mark.parametrize("room", FLOOR)
def test_the_files_of_a_room_form_no_circle(room):
    graph = {
        named(path): {name for name in imports_of(path) if name in NAMES and name != named(path)}
        for path in FILES
        if room_of(named(path)) == room
    }
    while graph:
        leaves = {name for name, below in graph.items() if not below & graph.keys()}
        assert leaves, f"a circle among {', '.join(sorted(graph))}"
        graph = {name: below for name, below in graph.items() if name not in leaves}


def test_every_room_exists():
    for room in FLOOR:
        place = ROOT / room.replace(".", "/")
        assert place.is_dir() or place.with_suffix(".py").is_file(), room


def test_the_shell_knows_no_kind_of_vae():
    """A kind is added by its own file: no other file says its name, nor imports it."""
    kinds = {path.stem.replace("_", "-") for path in (PACKAGE / "recipes").glob("*.py")}
    unmistakable = {"ladder", "vq", "quadrants", "class-conditional"}  # a kind may be called by a word of the shell too
    assert unmistakable <= kinds
    of_the_shell = [path for path in FILES if room_of(named(path)) == "jaxvae.run"]
    for path in of_the_shell:
        text = path.read_text()
        assert not [kind for kind in unmistakable if f'"{kind}"' in text or f"'{kind}'" in text], named(path)
        above = [name for name in imports_of(path) if room_of(name) == "jaxvae.recipes"]
        assert not above, named(path)
    others = [path for path in FILES if room_of(named(path)) not in ("jaxvae.recipes", *SCRIPTS, "jaxvae.questions")]
    for path in set(others) - set(of_the_shell):
        assert not [name for name in imports_of(path) if room_of(name) == "jaxvae.recipes"], named(path)


@by_name
def test_only_the_networks_import_flax(path):
    if room_of(named(path)) not in ("jaxvae.networks", "benchmarks"):
        assert not [name for name in imports_of(path) if name.split(".")[0] == "flax"]


@of_the_core
def test_the_core_does_not_jit(path):
    """Callers jit; `bounds.batched` is the one convenience, and `parallel` the one place of `pmap`."""
    tree = tree_of(path)
    if named(path) == "jaxvae.bounds.base":
        tree.body = [node for node in tree.body if getattr(node, "name", None) != "batched"]
    for node in ast.walk(tree):
        name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else None
        forbidden = ("jit", "filter_jit") if path.stem == "parallel" else ("jit", "pmap", "filter_jit")
        assert name not in forbidden, f"{named(path)}, line {node.lineno}: {name}"


@of_the_core
def test_the_core_has_no_side_effects(path):
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("open", "print", "input"), f"{named(path)}, line {node.lineno}"
        assert not isinstance(node, ast.Global), f"{named(path)}, line {node.lineno}: global state"


def test_a_folder_only_hands_names_on():
    for path in FILES:
        if path.stem == "__init__" and path in CORE:
            kinds = (ast.ImportFrom, ast.Expr, ast.Assign)
            assert all(isinstance(node, kinds) for node in tree_of(path).body), named(path)


def test_there_is_no_drawer_for_odds_and_ends():
    assert not {path.stem for path in FILES} & {"utils", "util", "helpers", "misc", "common"}


@by_name
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


@pytest.mark.parametrize("path", [path for path in FILES if room_of(named(path)) not in SCRIPTS], ids=named)
def test_everything_public_has_a_docstring(path):
    tree = tree_of(path)
    missing = [node.name for node in public_definitions(tree) if not ast.get_docstring(node)]
    assert not missing, f"{path.relative_to(ROOT)}: no docstring on {', '.join(missing)}"
    assert ast.get_docstring(tree), f"{path.relative_to(ROOT)} does not say what it is"


def test_everything_exported_exists_and_is_documented():
    import jaxvae

    for name in jaxvae.__all__:
        assert getattr(jaxvae, name).__doc__, name
