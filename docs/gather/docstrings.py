"""Docstrings as this house writes them, as reStructuredText: names in backticks are links, equations are set apart."""

import ast
import dataclasses
import inspect
import re
import textwrap
from typing import Any

from gather.public import prose, reference_of

EQUATION = re.compile(r"[=≤≥≈~←∫Σ∇→]")


def connect(app: Any) -> None:
    """Tell Sphinx."""
    app.connect("autodoc-process-docstring", translate, priority=100)  # before napoleon reads the sections
    app.connect("autodoc-process-signature", as_written)
    app.connect("missing-reference", found_elsewhere)


def translate(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Make reStructuredText of a docstring, in place."""
    made: list[str] = []
    paragraphs = "\n".join(lines).split("\n\n")
    for paragraph in paragraphs:
        rows = paragraph.split("\n")
        if any(row.lstrip().startswith(">>>") for row in rows):
            made += [*rows, ""]
        elif is_equation(rows):
            made += [".. code-block:: text", "   :class: equation", "", *("   " + row.strip() for row in rows), ""]
        else:
            made += [*(marked(row) for row in rows), ""]
    lines[:] = made


def is_equation(rows: list[str]) -> bool:
    """Whether a paragraph is an equation: it stands at the margin, has a sign of one, and is no sentence."""
    text = "\n".join(rows).strip()
    sentence = text.endswith((".", ":", ";")) or re.match(r"(Source|Args|Returns|Raises|Example|- )", text)
    return bool(text) and not sentence and bool(EQUATION.search(text)) and not rows[0].startswith(" ")


def marked(row: str) -> str:
    """A line of prose: names in backticks are links or code, everything else is plain."""
    row = re.sub(r"^(\s*)Source: ", r"\1@Source@ ", row)
    text = prose(row)
    return text.replace("@Source@", "**Source:**")


def as_written(app: Any, what: str, name: str, thing: Any, options: Any, signature: Any, returns: Any) -> Any:
    """The signature of a function in the words of its file: `Key`, `Params`, where Python knows arrays only."""
    if what == "class" and hasattr(thing, "_fields"):  # the fields follow, as they are written
        return "", None
    if what == "class" and hasattr(thing, "__dataclass_fields__"):
        return f"({', '.join(item.name for item in dataclasses.fields(thing) if item.init)})", None
    if what not in ("function", "method"):
        return None
    try:
        node = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(thing)))).body[0]
    except (OSError, TypeError, SyntaxError):
        return None
    if not isinstance(node, ast.FunctionDef):
        return None
    static = any(isinstance(mark, ast.Name) and mark.id == "staticmethod" for mark in node.decorator_list)
    if what == "method" and not static:
        node.args.args = node.args.args[1:]
    return f"({ast.unparse(node.args)})", ast.unparse(node.returns) if node.returns else None


def found_elsewhere(app: Any, env: Any, node: Any, content: Any) -> Any:
    """A reference by another name than that of the reference; and types in signatures that have no page."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py":
        return None
    reference = reference_of(target)
    if reference and reference != target:
        domain = env.get_domain("py")
        entry = domain.objects.get(reference)
        if entry is not None:
            from sphinx.util.nodes import make_refnode

            return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, content, reference)
    # Types in signatures, and errors in lists of what is raised: no page of ours, and nobody wrote them as links.
    return content if node.get("reftype") in ("class", "exc") else None
