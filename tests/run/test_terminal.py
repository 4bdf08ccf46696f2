"""What the terminal says: a word before what is silent, one rate, one sign for neighbouring lines, what comes next."""

import json
import re

import jax
import pytest
from small_runs import commanded
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData
from test_logs import events

from jaxvae.recipes import plain
from jaxvae.run import launch
from jaxvae.run.options import networks


@pytest.fixture(autouse=True)
def _standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


def test_a_run_says_what_it_does_and_what_comes_next(tmp_path, capfd):
    config = plain.Config(model=plain.Model(networks.Small(width=8), latent=2), epochs=4)
    folder = commanded(config, tmp_path)
    out, err = capfd.readouterr()
    lines = out.splitlines()
    assert lines[:3] == [
        "reading digits",
        f"digits: 1,297 training examples; the run is {folder}",
        f"watch it: tensorboard --logdir {folder}",
    ]
    assert lines[-2:] == [
        f"report: {folder / 'report.html'}",
        f"ask it next: jaxvae likelihood {folder} (and more: jaxvae --help)",
    ]
    bars = [part for part in re.split(r"[\r\n]+", err) if part]
    assert "compiling" in bars[0]
    training = [bar for bar in bars if bar.startswith("training")]
    assert "compiling" not in training[-1]
    result = json.loads((folder / "result.json").read_text())
    rate = f"{result['protocol']['examples_per_second']:,.0f} examples/s"
    assert rate in training[-1], "the bar's rate is the report's"
    numbers = {name: line for line in lines for name in re.findall(r"^  (Test [^:]*):", line)}
    assert set(numbers) == {"Test ELBO", "Test KL", "Test reconstruction", "Test log p(x)"}
    for name in ("ELBO", "reconstruction", "log p(x)"):
        assert numbers[f"Test {name}"].startswith(f"  Test {name}: −")
    assert f"(NLL {result['test_nll']:.2f}" in numbers["Test log p(x)"]
    assert "over test examples:\n  Test ELBO" in out
    found = [value for event in events(folder) for value in event.summary.value]
    assert {f"figures/{name}" for name in ("curves", "samples", "reconstructions")} <= {value.tag for value in found}
    told = [value.metadata.plugin_data.content for value in found if value.tag.endswith("session_start_info")]
    options = HParamsPluginData.FromString(told[0]).session_start_info.hparams
    assert options["model.network.width"].number_value == 8
    assert options["epochs"].number_value == 4


def test_neighbouring_lines_have_one_sign(capsys):
    numbers = {"test_elbo": -98.5, "test_nll": 91.25, "test_nll_bits": 0.17, "test_accuracy": None}
    units = {"test_elbo": "nats", "test_nll": "nats per step", "test_nll_bits": "bits", "test_accuracy": ""}
    errors = {f"{name}_standard_error": 0.5 if name == "test_nll" else None for name in numbers}
    protocol = {"dataset": "d", "split": "s", "standard_error": "over seeds"}
    launch._print_result(numbers | errors | {"units": units, "protocol": protocol})
    assert capsys.readouterr().out.splitlines() == [
        "d, s, test set, ± one standard error over seeds:",
        "  Test ELBO: −98.50 nats",
        "  Test log p(x): −91.25 ± 0.50 nats per step (NLL 91.25)",
        "  Test NLL bits: 0.17 bits",
        "  Test accuracy: not finite",
    ]
