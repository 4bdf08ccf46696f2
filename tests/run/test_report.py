import base64
import json
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from jaxvae.run.figures import gallery
from jaxvae.run.kinds import files, names
from jaxvae.run.report import ask, report, study, words

EVIL = "<script>alert('x')</script> & \"quotes\""


class Page(HTMLParser):
    """What a browser would see: every opened tag with its attributes, and the text."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.open, self.texts = [], [], []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        assert self.open == [], f"unclosed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def save(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def run(tmp_path):
    """A run folder with all that may lie in one."""
    folder = tmp_path / "a_run"
    save(
        folder / "config.json",
        {
            "data": {"name": "digits"},
            "objective": {"bound": {"is": "renyi", "alpha": 0.5}},
            "optimizer": {"lr": 0.001},
            "command": "train --k 50 <x>",
        },
    )
    protocol = {"dataset": "digits", "split": "1297/200/300", "bound": "iwae_bound", "k": 5000, "seeds": 3}
    protocol |= {"epochs": 200, "wall_time_seconds": 312.5}
    numbers = {"test_nll": 86.351234, "test_nll_standard_error": 0.0234, "test": {"elbo": -88.5}, "active_units": 9}
    numbers["units"] = {"test_nll": "nats", "test_elbo": "bits per dimension"}
    save(folder / "result.json", numbers | {"protocol": protocol})
    lines = [json.dumps({"step": 10 * i, "epoch": i, "train_elbo": -100.0 + i}) for i in range(50)]
    (folder / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 5']))
    for name in ("samples", "learning_curves", "swap"):
        title = f"{name} {EVIL}"
        gallery.samples(folder / "figures" / f"{name}.png", np.zeros((4, 4, 4, 1)), title=title, caption=EVIL)
    table = {"columns": ["labels", EVIL], "rows": [[100, 0.9641], ["all", None]]}
    save(
        folder / "sections" / "swap.json",
        {"title": "A swap", "text": f"One.\n\n{EVIL}", "table": table, "figures": ["swap.png", "gone.png"]},
    )
    return folder


def test_the_page_needs_nothing_but_itself(run):
    page = Page(report.write(run))
    names = {tag for tag, _ in page.tags}
    assert names.isdisjoint({"script", "link", "iframe", "object", "base"})
    for _, attributes in page.tags:
        assert not any(name.startswith("on") or name == "srcset" for name in attributes)
        assert attributes.get("href", "#").startswith(("#", "data:image/png;base64,"))
        assert attributes.get("src", "data:").startswith("data:image/png;base64,") or "src" not in attributes
    assert "url(" not in re.sub(r"url\(#[\w-]+\)", "", page.source)
    assert "@import" not in page.source
    assert "http" not in page.source.replace("data:", "")


def test_every_figure_is_there_once_in_reading_order_with_its_words(run):
    page = Page(report.write(run))
    assert [figure["id"] for figure in page.all("figure")] == [
        "picture-learning_curves",
        "picture-samples",
        "picture-swap",
    ]
    drawings = [svg for svg in page.all("svg") if svg.get("role") == "img"]
    assert [svg["aria-label"] for svg in drawings] == [
        f"{name} {EVIL}. {EVIL}" for name in ("learning_curves", "samples", "swap")
    ]
    assert "var(--" in page.source
    assert "#1f2328" not in page.source.partition("</style>")[2]
    identities = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(identities)) == len(identities), "one thing for one anchor"
    assert page.text.count(f"samples {EVIL} {EVIL}") == 1, "the heading, then the caption: no title twice"


def test_a_drawing_that_is_not_ours_or_older_is_not_taken(run):
    figures = run / "figures"
    (figures / "samples.svg").write_text('<svg viewBox="0 0 10 10"><script>alert(1)</script></svg>')
    (figures / "swap.svg").write_text('<svg viewBox="0 0 1000 10"></svg>')
    (figures / "learning_curves.svg").unlink()
    page = Page(report.write(run))
    assert "script" not in {tag for tag, _ in page.tags}
    decoded = [base64.b64decode(image["src"].partition(",")[2]) for image in page.all("img")]
    assert decoded == [(figures / f"{name}.png").read_bytes() for name in ("learning_curves", "samples", "swap")]
    assert page.all("img")[0]["alt"] == f"learning_curves {EVIL}. {EVIL}"


def test_the_contents_lead_to_every_section_in_the_order_a_reader_asks(run):
    (run / "config.json").write_text(json.dumps({"kind": "plain"}))
    for name in ("manifold", "reconstructions", "latent", "analogies", "curves"):
        gallery.samples(run / "figures" / f"{name}.png", np.zeros((1, 4, 4, 1)), title=f"About {name}", caption="c")
    for name in ("impute", "codes", "latent", "decomposition", "likelihood"):
        save(run / "sections" / f"{name}.json", {"title": f"Of {name}", "text": "t"})
    page = Page(report.write(run))
    anchors = [link["href"][1:] for link in page.all("a")]
    assert anchors == [
        *("results", "curves", "samples", "reconstructions", "figure-analogies", "likelihood", "decomposition"),
        *("codes-seen", "latent", "codes", "impute", "swap", "ask", "again"),
    ]
    assert [section["id"] for section in page.all("section")] == anchors
    assert "About manifold. c" in page.text


def test_what_to_ask_next_is_what_was_not_asked(run):
    (run / "config.json").write_text(json.dumps({"kind": "plain"}))
    save(run / "sections" / "likelihood.json", {"title": "Of likelihood", "text": "t"})
    save(run / "sections" / "anomaly-mnist.json", {"title": "Of anomalies", "text": "t"})
    text = Page(report.write(run)).text.rpartition("Ask it next")[2]
    assert f"jaxvae codes {run}" in text
    assert "jaxvae likelihood" not in text
    assert "jaxvae anomaly" not in text
    assert "jaxvae layers" not in text
    (run / "config.json").write_text(json.dumps({"kind": "ladder"}))
    assert f"jaxvae layers {run} --baseline runs/ONE_LAYER" in Page(report.write(run)).text
    (run / "config.json").write_text(json.dumps({"kind": "of-ones-own"}))
    assert "Ask it next" not in Page(report.write(run)).text


def test_every_question_says_of_which_runs_it_is():
    known = {file.stem for file in files(ask.QUESTIONS).values()}
    found = {question.name for kind in names() for question in ask.questions_of(kind, "runs/x")}
    assert found == known
    for kind in names():
        for question in ask.questions_of(kind, "runs/x"):
            assert question.line.startswith(f"jaxvae {question.name.replace('_', '-')} runs/x")


def test_the_protocol_of_a_section_is_its_own_and_stands_below_its_numbers(run):
    save(run / "swap.json", {"accuracy": 1.0, "protocol": {"steps": 240, "path_steps": 11, "nll_k": 7}})
    text = Page(report.write(run)).text
    below = text.partition("A swap One.")[2]
    assert "100 0.9641 all – Protocol Steps 240 Path steps 11 k of the NLL 7" in below


def test_tables_have_heads_of_columns_and_rows_and_true_minus_signs(run):
    table = {"columns": ["estimator", "-log p(x)"], "rows": [["x-ray at -5", "-1.50 ± 0.2"], ["b", "–"]]}
    save(run / "sections" / "swap.json", {"title": "A swap", "text": "t", "table": table})
    page = Page(report.write(run))
    assert {"col", "row"} <= {head.get("scope") for head in page.all("th")}
    assert all("scope" in head for head in page.all("th"))
    assert "estimator −log p(x) x-ray at −5 −1.50 ± 0.2 b –" in page.text
    assert 'class="number">−1.50' in page.source
    assert "-1.50" not in page.text


@pytest.mark.parametrize(
    ("key", "named"),
    [
        ("test_log_likelihood", "Test reconstruction"),
        ("test_nll", "Test NLL"),
        ("mean_negative_log_likelihood_normal", "Mean NLL normal"),
        ("gap_log_likelihood", "Log p(x) of the gap"),
        ("share_taken_for_the_new_class_before", "Share taken for the new class before"),
        ("wall_seconds", "Wall time"),
        ("k", "k"),
    ],
)
def test_a_key_has_a_name(key, named):
    assert words.label(key) == named


def test_numbers_stand_beside_their_protocol(run):
    text = Page(report.write(run)).text
    assert "Test NLL −log p(x) 86.351 ± 0.023 nats" in text
    assert "Test ELBO E log p(x|z) − KL −88.50 bits per dimension" in text
    assert "Active units 9 ± one standard error Protocol" in text
    assert "Dataset digits Split 1297/200/300 Bound iwae_bound k 5,000 Seeds 3 Epochs 200 Wall time 312.5 s" in text
    assert "trained on digits to maximise the IWAE bound, for 200 epochs, with 3 seeds." in text


def test_what_the_protocol_does_not_say_is_found_in_the_configuration(run):
    (run / "result.json").unlink()
    assert "trained on digits to maximise the renyi bound." in Page(report.write(run)).text


def test_everything_is_escaped(run):
    save(run / "config.json", {"name": EVIL, EVIL: EVIL, "command": EVIL, "description": EVIL})
    save(run / "result.json", {EVIL: 1.0, "protocol": {EVIL: EVIL}})
    page = Page(report.write(run))
    assert "script" not in {tag for tag, _ in page.tags}
    assert page.source.count("&lt;script&gt;") >= 9


def test_sections_configuration_command_and_log(run):
    page = Page(report.write(run))
    assert "A swap One." in page.text
    assert "100 0.9641 all –" in page.text
    assert "The figure gone.png is missing." in page.text
    assert "data.name digits objective.bound.is renyi objective.bound.alpha 0.5 optimizer.lr 0.001" in page.text
    assert "train --k 50 <x>" in page.text
    assert "12 of 50 lines; 1 unreadable" in page.text
    assert "490 49 −51" in page.text, "the last line of the log"
    assert len(page.all("details")) == 3


def test_the_smallest_run_has_a_page(tmp_path):
    save(tmp_path / "config.json", {})
    path = report.write(tmp_path)
    assert path == tmp_path / "report.html"
    text = Page(path).text
    assert "A variational auto-encoder." in text
    assert "not been evaluated yet" in text
    assert sorted(file.name for file in tmp_path.iterdir()) == ["config.json", "report.html"]


def test_results_without_a_protocol_say_so_and_nested_ones_keep_their_own(tmp_path):
    save(tmp_path / "config.json", {})
    save(
        tmp_path / "result.json",
        {"elbo": -1.0, "units": {"elbo": "nats"}, "long_run": {"nll": 2.0, "protocol": {"k": 7}}},
    )
    text = Page(report.write(tmp_path)).text
    assert "ELBO E log p(x|z) − KL −1 nats No protocol was recorded" in text
    assert "Long run NLL −log p(x) 2 Protocol k 7" in text


def test_figures_without_captions_get_a_name_and_what_is_no_png_is_named(tmp_path):
    save(tmp_path / "config.json", {})
    gallery.samples(tmp_path / "figures" / "prior_kl.png", np.zeros((1, 2, 2, 1)), title="t", caption="c")
    (tmp_path / "figures" / "captions.json").unlink()
    (tmp_path / "figures" / "torn.png").write_bytes(b"\x89PN")
    page = Page(report.write(tmp_path))
    assert [svg["aria-label"] for svg in page.all("svg") if "role" in svg] == ["Prior KL"]
    assert "Prior KL" in page.text
    assert "torn.png is no PNG" in page.text


def test_a_folder_that_is_no_run_and_broken_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"is no run folder: it holds no config\.json"):
        report.write(tmp_path)
    (tmp_path / "config.json").write_text("{half")
    with pytest.raises(ValueError, match=r"config\.json cannot be read as JSON"):
        report.write(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ValueError, match="must hold one JSON object, not list"):
        report.write(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["config.json"]


@pytest.mark.parametrize(
    ("value", "error", "wanted"),
    [
        (86.351234, 0.0234, ("86.351", "± 0.023")),
        (-1234.5, 12.3, ("−1,234", "± 12")),
        (-86.3512, None, ("−86.35", "")),
        (0.96412, None, ("0.9641", "")),
        (25312.4, None, ("25,312", "")),
        (9, None, ("9", "")),
        (float("nan"), 0.1, ("not finite", "")),
        (-86.3512, float("nan"), ("−86.35", "")),
        (-86.3512, 0.0, ("−86.35", "")),
    ],
)
def test_a_number_is_written_to_its_errors_second_digit(value, error, wanted):
    assert words.measured(value, error) == wanted


def test_several_seeds_are_counted_and_their_log_is_averaged(tmp_path):
    save(tmp_path / "config.json", {})
    save(tmp_path / "result.json", {"elbo": -1.0, "elbo_of_each_seed": [-1.5, -0.5], "protocol": {"seeds": [0, 1]}})
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"step": 3, "train_bound": [-1.5, -4.5]}))
    text = Page(report.write(tmp_path)).text
    assert "A variational auto-encoder, with 2 seeds." in text
    assert "Step Train bound 3 −3" in text
    assert "each seed" not in text


def test_an_experiment_of_its_own_has_a_page(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["x", "--folder", "a b"])
    gallery.samples(tmp_path / "picture.png", np.zeros((1, 2, 2, 1)), title=f"Title {EVIL}", caption=EVIL)
    save(tmp_path / "result.json", {"protocol": {"dataset": EVIL, "k": 7, "training_seconds": 1.25}})
    path = study.write(
        tmp_path,
        module="experiments.some",
        title=f"Some {EVIL}",
        text=f"Asked {EVIL}",
        columns=("beta", "rate"),
        rows=[(0.5, (12.3456, 0.0234)), (EVIL, (7.0, None))],
        picture="picture.png",
        options={"model": {"latent": 3}, "folder": EVIL},
    )
    page = Page(path)
    assert path == tmp_path / "report.html"
    assert "script" not in {tag for tag, _ in page.tags}
    assert f"Experiment Some {EVIL} Asked {EVIL} Results beta rate 0.5 12.346 ± 0.023 {EVIL} 7 ± one" in page.text
    assert f"Protocol {EVIL}, and 3 values in all Dataset {EVIL} k 7 Training 1.2 s" in page.text
    assert "python -m experiments.some --folder 'a b'" in page.text
    assert f"model.latent 3 folder {EVIL}" in page.text
    (drawn,) = [svg for svg in page.all("svg") if "role" in svg]
    assert drawn["aria-label"] == f"Title {EVIL}. {EVIL}"
