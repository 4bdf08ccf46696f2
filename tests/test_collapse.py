import json

import pytest

from experiments import collapse
from jaxvae.run import RunError, config, config_check

SMALL = collapse.Options(
    data=config.Data("digits", binarize="threshold"),
    model=config.Model(latent=3, likelihood="pixelcnn", pixel_layers=1, pixel_radius=1),
    epochs=2,
    examples=50,
)


@pytest.mark.parametrize("remedy", collapse.REMEDIES)
def test_every_remedy_is_a_configuration_that_passes_and_differs(remedy):
    settings = collapse.settings_of(remedy, collapse.Options())
    config_check.check(settings)
    changed = config.differences(settings, collapse.settings_of("none", collapse.Options()))
    assert bool(changed) == (remedy != "none")


def test_too_few_examples_are_refused(tmp_path):
    with pytest.raises(RunError, match="--examples 1 must be at least 2"):
        collapse.main(collapse.Options(examples=1, folder=tmp_path / "collapse"))


@pytest.mark.slow
def test_the_remedies_are_trained_measured_and_reported(tmp_path):
    from dataclasses import replace

    assert collapse.main(replace(SMALL, folder=tmp_path / "collapse")) is None
    found = json.loads((tmp_path / "collapse" / "result.json").read_text())
    assert [row["remedy"] for row in found["rows"]] == list(collapse.REMEDIES)
    rates = {row["remedy"]: row["rate"] for row in found["rows"]}
    assert rates["delta-VAE"] > rates["none"]
    page = (tmp_path / "collapse" / "report.html").read_text()
    assert "leading encoder" in page
    assert "<img" in page
