import base64
import json
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from jaxvae.run.figures import gallery
from jaxvae.run.report import report, study, words

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
        assert not any(name.startswith("on") or name in ("href", "srcset") for name in attributes)
        assert attributes.get("src", "data:").startswith("data:image/png;base64,") or "src" not in attributes
    assert "url(" not in page.source
    assert "@import" not in page.source
    assert "http" not in page.source.replace("data:", "")


def test_every_figure_is_there_once_whole_and_in_reading_order(run):
    images = Page(report.write(run)).all("img")
    decoded = [base64.b64decode(image["src"].partition(",")[2]) for image in images]
    wanted = [(run / "figures" / f"{name}.png").read_bytes() for name in ("learning_curves", "samples", "swap")]
    assert decoded == wanted
    assert images[0]["alt"] == f"learning_curves {EVIL}. {EVIL}"
    assert (images[0]["width"], images[0]["height"]) == tuple(
        str(int.from_bytes(wanted[0][start : start + 4], "big")) for start in (16, 20)
    )


def test_numbers_stand_beside_their_protocol(run):
    text = Page(report.write(run)).text
    assert "Test NLL 86.351 ± 0.023 nats" in text
    assert "Test ELBO −88.50 bits per dimension" in text
    assert "Active units 9 ± one" in text
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
    assert page.text.count("<script>") >= 9


def test_sections_configuration_command_and_log(run):
    page = Page(report.write(run))
    assert "A swap One." in page.text
    assert "100 0.9641 all –" in page.text
    assert "The figure gone.png is missing." in page.text
    assert "data.name digits objective.bound.is renyi objective.bound.alpha 0.5 optimizer.lr 0.001" in page.text
    assert "train --k 50 <x>" in page.text
    assert "12 of 50 lines; 1 unreadable" in page.text
    assert "490 49 −51" in page.text, "the last line of the log"
    assert len(page.all("details")) == 2


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
    assert "ELBO −1 nats No protocol was recorded" in text
    assert "Long run NLL 2 Protocol k 7" in text


def test_figures_without_captions_get_a_name_and_what_is_no_png_is_named(tmp_path):
    save(tmp_path / "config.json", {})
    gallery.samples(tmp_path / "figures" / "prior_kl.png", np.zeros((1, 2, 2, 1)), title="t", caption="c")
    (tmp_path / "figures" / "captions.json").unlink()
    (tmp_path / "figures" / "torn.png").write_bytes(b"\x89PN")
    page = Page(report.write(tmp_path))
    assert [image["alt"] for image in page.all("img")] == ["Prior KL"]
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
    assert f"Protocol Dataset {EVIL} k 7 Training 1.2 s" in page.text
    assert "python -m experiments.some --folder 'a b'" in page.text
    assert f"model.latent 3 folder {EVIL}" in page.text
    (image,) = page.all("img")
    assert base64.b64decode(image["src"].partition(",")[2]) == (tmp_path / "picture.png").read_bytes()
