"""What of the documentation can be checked without Sphinx: pages, front matter, files, links, commands, numbers."""

import ast
import importlib
import re
import shutil
import tomllib
from pathlib import Path

import pytest

import jaxvae
from jaxvae.run.choice.fields import every_option
from jaxvae.run.kinds import files, kind_of, names
from jaxvae.run.launch import options_of

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
RESULTS = (ROOT / "experiments" / "RESULTS.md").read_text()
PAGES = sorted(page for page in DOCS.rglob("*.md") if not {"_build", "generated"} & set(page.relative_to(DOCS).parts))
TUTORIALS = sorted(page for page in (DOCS / "tutorials").glob("*.md") if page.stem != "index")
PICTURES = sorted([*(ROOT / "experiments/figures").rglob("*.png"), *(ROOT / "benchmarks/figures").rglob("*.png")])
SECTIONS = ("## The idea", "## The command", "## Its numbers", "## Its options", "## Where it is")
by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
by_tutorial = pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)


@pytest.fixture(scope="module")
def gathered():
    """The package that gathers pages from the code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS))
        yield {name: importlib.import_module(f"gather.{name}") for name in ("pages", "papers", "public", "outputs")}


@pytest.fixture(scope="module")
def site(gathered, tmp_path_factory):
    """The sources of the whole site, the gathered pages among them."""
    place = tmp_path_factory.mktemp("site")
    shutil.copytree(DOCS, place / "docs", ignore=shutil.ignore_patterns("_build", "generated", "__pycache__"))
    gathered["pages"].write(place / "docs" / "generated")
    return place / "docs"


def outside_code(text):
    """A page without its blocks of code and comments."""
    return re.sub(
        r"<!--.*?-->", "", re.sub(r"^(```+).*?^\1$", "", text, flags=re.DOTALL | re.MULTILINE), flags=re.DOTALL
    )


def code_of(text):
    """The cells of a tutorial."""
    return re.findall(r"^```\{code-cell\} ipython3\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("name", names())
def test_every_kind_has_its_page_picture_and_numbers(name):
    page = DOCS / "kinds" / f"{name}.md"
    assert page.is_file(), f"the kind {name} has no page: write docs/kinds/{name}.md, as CONTRIBUTING says"
    text = page.read_text()
    assert text.startswith(f"# {name}\n")
    assert [text.index(section) for section in SECTIONS] == sorted(text.index(section) for section in SECTIONS)
    assert "```{figure} ../../experiments/figures/" in text
    assert f"{{include}} ../generated/options/{name}.md" in text
    assert f"jaxvae train {name}" in text
    assert ":class: equation" in text
    assert f"docs/kinds/{name}.md" in (ROOT / "README.md").read_text(), f"the README's table has no row for {name}"


def test_every_page_of_a_kind_is_of_a_kind():
    assert {page.stem for page in (DOCS / "kinds").glob("*.md")} - {"index"} == set(names())


@pytest.mark.parametrize("name", names())
def test_the_numbers_of_a_kind_are_those_that_were_measured(name):
    numbers = (DOCS / "kinds" / f"{name}.md").read_text().partition("## Its numbers")[2].partition("## Its options")[0]
    rows = [row for row in numbers.splitlines() if row.startswith("|")]
    assert all(row in RESULTS.splitlines() for row in rows if not row.startswith("|---")), "not a row of RESULTS.md"
    flat, prose = " ".join(RESULTS.split()), [part for part in numbers.split("\n\n") if not part.startswith("|")]
    stated = [number for part in prose for number in re.findall(r"-?\d+\.\d+(?: ± \d+\.\d+)?", part)]
    assert rows or stated, "no number"
    assert not [number for number in stated if number not in flat]


def test_there_are_the_eight_tutorials_and_the_index_names_them():
    index = (DOCS / "tutorials" / "index.md").read_text()
    assert len(TUTORIALS) >= 8
    for page in TUTORIALS:
        title = re.search(r"^# (.+)$", page.read_text(), flags=re.MULTILINE)[1]
        assert f"[{title}]({page.name})" in index
        assert re.search(rf"^{page.stem}$", index, flags=re.MULTILINE), "not in the toctree"


@by_tutorial
def test_a_tutorial_has_its_front_matter_and_its_form(page):
    _, front, text = page.read_text().split("---\n", 2)
    assert "format_name: myst" in front
    assert re.search(r"^kernelspec:\n(  .+\n)*  name: python3$", front, flags=re.MULTILINE)
    assert re.search(r"^# .+\n\nYou will be able to ", text, flags=re.MULTILINE)
    assert "plt.subplots" in text or page.stem == "save-load-share"
    assert len(re.findall(r"^- .+", text.partition("## What to read next")[2], flags=re.MULTILINE)) >= 2


@by_tutorial
def test_the_cells_of_a_tutorial_are_python(page):
    cells = code_of(page.read_text())
    assert len(cells) > 3
    for cell in cells:
        text = re.sub(r"^(:tags:|!|%%).*$", "", cell, flags=re.MULTILINE)
        ast.parse(text)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("jaxvae"):
                exec(ast.unparse(node), {})  # ImportError where there is no such name


@by_page
def test_the_files_that_a_page_names_exist(page):
    text = page.read_text()
    for path in re.findall(r"^```\{figure\} (\S+)$", text, flags=re.MULTILINE):
        assert (page.parent / path).is_file(), path
    for path in re.findall(r"`((?:jaxvae|experiments|benchmarks|docs|tests)/[\w/.-]+)`", text):
        assert (ROOT / path).exists(), path
    for module in re.findall(r"python -m ((?:experiments|benchmarks)\.[\w.]+)", text):
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file(), module


def flags_of(kind):
    return {flag for option in every_option(options_of(kind_of(kind))()) for flag in option.flags}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_commands_of_a_page_exist(page):
    known = {"train", "data", "export", "push", *files("jaxvae.questions"), *names()}
    text = page.read_text().replace("\\\n", " ")
    for command in re.findall(r"(?:^!?|`|&& |=2 )jaxvae ([a-z][^`\n]*)", text, flags=re.MULTILINE):
        first, *words = command.split("#")[0].split()
        if not re.fullmatch(r"[a-z-]+", first):
            continue
        assert first in known, f"jaxvae {first}"
        if first == "train":
            kind = words[0] if words and words[0] in names() else "plain"
            flags = {word.partition("=")[0] for word in words if word.startswith("--")}
            assert not flags - flags_of(kind) - {"--help", "--help-all"}, command


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.relative_to(ROOT).as_posix())
def test_every_picture_hangs_in_the_gallery_with_its_command(picture):
    gallery = (DOCS / "gallery.md").read_text()
    figure = re.search(
        rf"```{{figure}} \.\./{re.escape(picture.relative_to(ROOT).as_posix())}\n(.*?)```", gallery, re.DOTALL
    )
    assert figure, f"give {picture.relative_to(ROOT)} a place in docs/gallery.md"
    assert re.search(r"jaxvae |python -m|the run itself|the same (question|command)", figure[1]), "no command"


def slug(title):
    """A heading's anchor, as MyST makes it."""
    plain = re.sub(r"`|\*|\[([^\]]*)\]\([^)]*\)", r"\1", title).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def test_links_within_the_site_resolve(site, gathered):
    known, pages = gathered["public"].documented().values(), sorted(site.rglob("*.md"))
    rooms = gathered["public"].names()
    texts = {page: outside_code(page.read_text()) for page in pages}
    labels = {label for text in texts.values() for label in re.findall(r"^\(([\w-]+)\)=$", text, flags=re.MULTILINE)}
    seen = 0
    for page, text in texts.items():
        for target in re.findall(r"(?<!\!)\[[^\]]+\]\(([^)\s]+)\)", text):
            if target.startswith("http"):
                continue
            seen += 1
            path, _, anchor = target.partition("#")
            if not Path(path).suffix and path:
                assert path in labels, f"{page.name}: {target}"
                continue
            # tables that are included speak from the place of the page that includes them
            from_here = site / "kinds" if page.name == "kinds-table.md" else page.parent
            place = (from_here / path).resolve() if path else page
            assert place.is_file(), f"{page.name}: {target}"
            if anchor:
                titles = re.findall(r"^#+ (.+)$", outside_code(place.read_text()), flags=re.MULTILINE)
                assert anchor in [slug(title) for title in titles], f"{page.name}: {target}"
        for target in re.findall(r"\{py:obj\}`(?:[^`<]*<)?([\w.]+)>?`", text):
            assert target in known or target in rooms or ("." in target and _is_member(target, known)), target
    assert seen > 50


def _is_member(target, known):
    return target.rpartition(".")[0] in known


def test_every_source_of_a_docstring_is_on_the_page_of_papers(gathered):
    papers = gathered["papers"]
    found, other = papers.papers()
    cited = {citation.source for group in found for citation in group} | {citation.source for citation in other}
    written = sum(
        len(re.findall(r"^\s*Source: ", file.read_text(), flags=re.MULTILINE))
        for file in (ROOT / "jaxvae").rglob("*.py")
    )
    assert len(papers.sources()) == written == len(cited) > 100
    assert len(other) < 5, "a Source: names its authors, and the year in brackets"
    for group in found:
        assert len({papers.surname(citation.authors) for citation in group}) == 1
        assert re.match(r"(van |de |von )?(den |der )?[A-ZÀ-Ž]", group[0].authors), group[0]


@pytest.mark.parametrize(
    ("text", "authors", "title", "where"),
    [
        (
            'Neal, "MCMC Using Hamiltonian Dynamics" (2011), section 5.',
            "Neal",
            "MCMC Using Hamiltonian Dynamics",
            "section 5",
        ),
        ("after Sohn, Lee & Yan (2015), section 5.1.", "Sohn, Lee & Yan", "", "section 5.1"),
        ('the masks are van den Oord et al.\'s, "Pixel" (2016).', "van den Oord et al.", "Pixel", ""),
    ],
)
def test_a_source_is_read_as_it_is_written(text, authors, title, where, gathered):
    papers = gathered["papers"]
    (citation,) = papers.citations(papers.Source("jaxvae/model.py", "vae", text))
    assert (citation.authors, citation.title, citation.where) == (authors, title, where)


def test_two_papers_of_one_source_are_two(gathered):
    papers = gathered["papers"]
    text = 'Burda et al., "IWAE" (2016), equation 8; Rainforth et al. (2018), section 5.'
    found = papers.citations(papers.Source("jaxvae/model.py", "vae", text))
    assert [(of.authors, of.year, of.where) for of in found] == [
        ("Burda et al.", "2016", "equation 8"),
        ("Rainforth et al.", "2018", "section 5"),
    ]


@pytest.mark.parametrize("name", names())
def test_the_tables_have_every_option(name, site):
    text = (site / "generated/options.md").read_text() + (site / f"generated/options/{name}.md").read_text()
    for option in every_option(options_of(kind_of(name))()):
        assert any(f"`{flag}" in text for flag in option.flags), option.path


def test_the_reference_has_every_public_name(gathered, site):
    front = gathered["public"].front()
    rooms = {room.partition(".")[2] for room in gathered["public"].names()}
    for name in jaxvae.__all__:
        assert name in rooms or front[name] in gathered["public"].documented().values(), name
    for reference in gathered["public"].documented().values():
        room = gathered["public"].room_of(reference)
        page = (site / "generated" / "rooms" / f"{room}.rst").read_text()
        assert f":: {reference}\n" in page or f":: {reference.rpartition('.')[2]}\n" in page, reference


def test_bars_of_progress_leave_no_trace(gathered):
    text = "begun\nsteps:   0%|   | 0/9 [00:00]\rsteps: 100%|###| 9/9 [00:01<00:00]\nended: 100 %\n"
    assert gathered["outputs"].settled(text) == "begun\nended: 100 %\n"


def test_make_and_the_extra_build_it():
    assert re.search(r"^docs: .*\n\t.*sphinx -W .*-n ", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    stated = " ".join(extras["docs"])
    theme = re.search(r'html_theme = "(\w+)"', (DOCS / "conf.py").read_text())[1].replace("_", "-")
    assert all(package in stated for package in ("sphinx>", theme, "myst-nb", "ipykernel", "jaxvae[train]"))
