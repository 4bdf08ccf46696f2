"""The command `jaxvae`: what there is, what is meant by a word that is unknown, and that it answers at once."""

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from jaxvae import cli
from jaxvae.run import kinds

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _own_hook(monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)  # the command sets its own


def said(words, capsys):
    """The exit code, and what is printed on stdout and stderr."""
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    return ended.value.code, *capsys.readouterr()


def process(*command):
    return subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]], ids=str)
def test_help_lists_every_kind_and_every_question_with_a_line(words, capsys):
    code, out, err = said(words, capsys)
    assert (code, err) == (0, "")
    listed = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.startswith("  ")}
    questions = [path.stem.replace("_", "-") for path in (ROOT / "jaxvae" / "questions").glob("[a-z]*.py")]
    assert len(questions) > 5
    for name in [*kinds.names(), *questions]:
        assert len(listed[name]) >= 2, f"{name} has no line"
    assert "`" not in out
    assert max(map(len, out.splitlines())) < 160


def test_it_is_quick_and_imports_no_jax():
    script = (
        "import sys; from jaxvae.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print(sorted({'jax', 'numpy', 'flax', 'optax', 'tyro', 'matplotlib'} & {*sys.modules}))\n"
    )
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = process("-c", script)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert done.stdout.endswith("\n[]\n"), done
    assert min(seconds) < 0.5


def test_the_package_hands_out_its_names_without_the_shells_packages():
    script = (
        "import sys, jaxvae; jaxvae.elbo, jaxvae.vae\n"
        "print(sorted({'tyro', 'orbax', 'matplotlib', 'tensorboardX', 'sklearn'} & {*sys.modules}))"
    )
    assert process("-c", script).stdout == "[]\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("trian", "jaxvae has no command 'trian': did you mean jaxvae train? (jaxvae --help)"),
        ("likelihod runs/a", "did you mean jaxvae likelihood?"),
        ("xyzzy", "jaxvae has no command 'xyzzy': there are train, data, "),
        ("train laddr", "jaxvae train knows no kind 'laddr': did you mean ladder?"),
        ("train class_conditional", "did you mean class-conditional?"),
        ("train xyzzy", "jaxvae train knows no kind 'xyzzy': there are avb, class-conditional, "),
        ("train ladder --model.latnt 3", "--model.latent"),
        ("train --model.posterior planr", "perhaps planar"),
        ("train --model.posterior.flows 3", "--model.posterior.flows is an option of --model.posterior planar, "),
        ("ladder xyzzy", "There is no data set 'xyzzy'"),
        ("table nothing.csv", "nothing.csv cannot be read"),
        ("train --data nothing.csv", "nothing.csv is a text file, and images are wanted"),
        ("tabel nothing.csv", "did you mean jaxvae table?"),
        ("data xyzzy", "There is no data set 'xyzzy'"),
        ("data digts", "did you mean 'digits'"),
        ("data", "jaxvae data --help"),
    ],
)
def test_an_unknown_word_ends_with_2_and_what_is_meant(words, sentence, capsys):
    code, out, err = said(words.split(), capsys)
    assert code == 2
    assert not out or re.fullmatch(r"reading \S+\n", out)  # what is silent for a moment
    assert sentence in err
    assert "Traceback" not in err


@pytest.mark.parametrize("kind", kinds.names())
def test_every_kind_has_a_page_of_help(kind, capsys):
    code, out, err = said(["train", kind, "--help"], capsys)
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: jaxvae train {kind} [OPTIONS]")
    for flag in ("--epochs", "--data", "--name", "--resume"):
        assert flag in out
    assert kinds.kind_of(kind).config.__doc__.split(".")[0].split()[0] in out


def test_a_kind_may_be_left_out(capsys):
    assert said(["train", "--help"], capsys) == said(["train", "plain", "--help"], capsys)


def test_a_kind_and_its_data_are_short_for_training_it(monkeypatch):
    given = []

    def train(kind, words):
        given.append((kind.name, words))
        raise SystemExit(0)

    monkeypatch.setattr("jaxvae.run.launch.train", train)
    for words in ("ladder mnist --epochs 2", "train ladder --data mnist --epochs 2", "ladder --epochs 2"):
        with pytest.raises(SystemExit):
            cli.main(words.split())
    with_data = ("ladder", ["--data", "mnist", "--epochs", "2"])
    assert given == [with_data, with_data, ("ladder", ["--epochs", "2"])]


def test_the_module_is_the_command():
    done = process("-m", "jaxvae", "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("jaxvae 0.")
    done = process("-m", "jaxvae", "trian")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: jaxvae has no command 'trian': did you mean jaxvae train? (jaxvae --help)\n"


def test_data_are_described(capsys):
    code, out, err = said(["data", "digits"], capsys)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "digits, split 1297/200/300"
    assert [line.split()[:2] for line in lines[1:]] == [["train", "1,297"], ["valid", "200"], ["test", "300"]]
    assert all("8 x 8 x 1 uint8, from 0 to 255; 10 classes" in line for line in lines[1:])


def test_a_package_that_is_missing_is_named(capsys, monkeypatch):
    monkeypatch.setattr(cli, "find_spec", lambda name: None)
    code, _, err = said(["data", "digits"], capsys)
    assert (code, err) == (2, "error: tyro is not installed, and the command needs it: pip install 'jaxvae[train]'\n")


@pytest.mark.slow
def test_a_kind_is_trained_by_its_name(tmp_path):
    words = "train ladder --epochs 1 --evaluation.num-samples 0 --model.network.width 16 --name it --runs"
    done = process("-m", "jaxvae", *words.split(), str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert os.listdir(tmp_path) == ["it"]
    assert "jaxvae train ladder --epochs 1" in (tmp_path / "it" / "report.html").read_text()
