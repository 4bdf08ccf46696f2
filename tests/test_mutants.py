"""The table of faults fits the code as it is; `make mutants` plants them."""

import ast
from collections import Counter
from pathlib import Path

import pytest
from mutants import FAULTS, Fault
from mutants.fault import planted

ROOT = Path(__file__).parents[1]
of_each = pytest.mark.parametrize("fault", FAULTS, ids=[f"{fault.file}: {fault.name}" for fault in FAULTS])


@of_each
def test_a_fault_can_be_planted(fault):
    text = (ROOT / fault.path).read_text()
    assert planted(fault, text) != text


@of_each
def test_its_tests_are_there(fault):
    for catcher in fault.catchers:
        file, _, name = catcher.partition("[")[0].partition("::")
        functions = {node.name for node in ast.parse((ROOT / file).read_text()).body if hasattr(node, "name")}
        assert not name or name in functions, f"{file} has no {name}"
        assert any(function.startswith("test_") for function in functions), f"{file} has no tests"


def test_faults_are_many_and_have_names_of_their_own():
    assert len(FAULTS) >= 40
    assert not [name for name, count in Counter(fault.name for fault in FAULTS).items() if count > 1]
    assert not [place for place, count in Counter(fault[1:4] for fault in FAULTS).items() if count > 1]


@pytest.mark.parametrize(
    ("source", "replacement", "sentence"),
    [
        ("y = 2", "y = 3", r"asks for the text 'y = 2' once, and jaxvae/x.py has it 0 times: bring the row up"),
        ("x", "y", "has it 2 times"),
        ("x = 1", "x = (", "is no Python"),
        ("x = 1", "x =  1", "leaves jaxvae/x.py as it is"),
    ],
)
def test_a_row_that_does_not_fit_is_a_sentence(source, replacement, sentence):
    with pytest.raises(ValueError, match=sentence):
        planted(Fault("a fault", "x.py", source, replacement, "x.py"), "x = 1\nx\n")
