"""What Sphinx is told. `make docs` builds; the pages below generated/ are gathered from the code (gather/)."""

import hashlib
import os
import sys
from importlib.metadata import version as version_of
from pathlib import Path

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path[:0] = [str(DOCS), str(ROOT)]

from gather import docstrings, outputs, pages  # noqa: E402 - below the path to it

project = "jaxvae"
author = "The jaxvae authors"
copyright = "The jaxvae authors, Apache-2.0"
version = release = version_of("jaxvae")
language = "en_GB"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build", "generated/options/*", "generated/kinds-table.md"]  # they are included

# Every reference in the text must resolve (-n). Types in signatures are links where there is something to link to.
nitpicky = True
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_use_unqualified_type_names = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
add_module_names = False
viewcode_follow_imported_members = True

# Tutorials run at the build, in a folder that is thrown away; a change of the library runs all of them again.
sources = b"".join(file.read_bytes() for file in sorted((ROOT / "jaxvae").rglob("*.py")))
nb_execution_mode = os.environ.get("DOCS_EXECUTE", "cache")
nb_execution_cache_path = str(DOCS / "_build" / "executed" / hashlib.sha256(sources).hexdigest()[:16])
nb_execution_in_temp = True
nb_execution_timeout = 900
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_number_source_lines = False
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # the command jaxvae
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("PYTHONWARNINGS", "ignore")

html_theme = "sphinx_book_theme"
html_title = f"jaxvae {release}"
html_static_path = ["_static"]
html_css_files = ["jaxvae.css"]
html_theme_options = {
    "navbar_persistent": [],
    "show_toc_level": 2,
    "home_page_in_toc": True,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "use_edit_page_button": False,
    "use_repository_button": False,
    "use_issues_button": False,
    "use_source_button": False,
}
html_show_sourcelink = False
html_copy_source = False
html_last_updated_fmt = ""


def setup(app):
    """Gather the generated pages, and read docstrings as this house writes them."""
    pages.write(DOCS / "generated")
    docstrings.connect(app)
    outputs.connect(app)
