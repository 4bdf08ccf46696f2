"""The card of a model: `README.md`, with the front matter that hubs read, and for people the same in sentences."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxvae.run.report.words import flat, label, measured, numbers, sentence, text_of

PLACE = "user/name"  # of a model that has no place yet; `jaxvae push` writes the true one


def card(
    name: str,
    config: Mapping[str, Any],
    result: Mapping[str, Any],
    *,
    licence: str | None,
    pictures: Mapping[str, str],
    refusal: str | None = None,
) -> str:
    """The text of a model's card.

    Args:
        name: of the model.
        config: of its run, nested, with "kind", "version" and "command".
        result: of its run, with "units" and "protocol"; empty where it was not evaluated.
        licence: of the weights, as SPDX and hubs write it; None where none is given.
        pictures: files beside the card -> what they show.
        refusal: what the model says where it draws nothing by itself; None where it does.

    Returns:
        Markdown with YAML front matter.
    """
    return "\n".join(
        [*_front(name, config, result, licence), "", *_text(name, config, result, licence, pictures, refusal), ""]
    )


def _front(name: str, config: Mapping[str, Any], result: Mapping[str, Any], licence: str | None) -> Iterator[str]:
    """YAML by hand: every scalar is JSON, of which YAML is a superset."""
    data = _data(config, result)
    yield "---"
    yield "library_name: jaxvae"
    yield f"tags: {json.dumps(['jaxvae', 'jax', 'variational-autoencoder', config['kind']])}"
    if licence:
        yield f"license: {json.dumps(licence)}"
    if data:
        yield f"datasets: {json.dumps([data], ensure_ascii=False)}"
    units = result.get("units", {})
    found = [(key, value) for key, value, _ in numbers(dict(result)) if key in units and math.isfinite(value)]
    if found and data:
        split = json.dumps(str(result["protocol"].get("split", "")), ensure_ascii=False)
        named = json.dumps(data, ensure_ascii=False)
        yield "model-index:"
        yield f"- name: {json.dumps(name, ensure_ascii=False)}"
        yield "  results:"
        yield '  - task: {"type": "density-estimation", "name": "density estimation"}'
        yield f'    dataset: {{"type": {named}, "name": {named}, "args": {{"split": {split}}}, "split": "test"}}'
        yield "    metrics:"
        for key, value in found:
            unit = units[key]
            words = json.dumps(f"{label(key)} ({unit})" if unit else label(key), ensure_ascii=False)
            yield f'    - {{"type": {json.dumps(key)}, "value": {json.dumps(value)}, "name": {words}}}'
    yield "---"


def _text(
    name: str,
    config: Mapping[str, Any],
    result: Mapping[str, Any],
    licence: str | None,
    pictures: Mapping[str, str],
    refusal: str | None,
) -> Iterator[str]:
    protocol = result.get("protocol", {})
    yield f"# {name}\n\n{sentence(dict(config), dict(result))} A model of the kind *{config['kind']}*.\n"
    yield from (f"![{words}]({file})\n\n*{words}*\n" for file, words in pictures.items())
    draw = "xs = jax.vmap(model.sample, (0, None))(jax.random.split(jax.random.key(0), 16), params)"
    yield f"""## Load it

```python
import jax
import jaxvae  # pip install 'jaxvae[hub]'

model, params = jaxvae.from_hub("{PLACE}")  # of this folder on a disk: jaxvae.load("FOLDER")
{draw if refusal is None else f"# {refusal}"}
```

Parameters are in `model.safetensors`, the configuration in `config.json`, what the data looks like in `about.json`.
Nothing here can execute code. They were written by jaxvae {config["version"]}.
"""
    yield "## Data\n"
    told = [f"{_data(config, result) or 'unknown'}"]
    told += [f"split {protocol['split']}"] if protocol.get("split") else []
    told += [f"binarisation {protocol['binarisation']}"] if protocol.get("binarisation") else []
    yield f"{', '.join(told)}. The data is not part of the model, and has terms of its own.\n"
    yield "## Numbers\n"
    if result:
        yield f"| on the test set | mean | standard error {protocol.get('standard_error', '')} | unit |"
        yield "|---|---|---|---|"
        for key, value, error in numbers(dict(result)):
            number, spread = measured(value, error)
            yield f"| {label(key)} | {number} | {spread.removeprefix('± ') or '–'} | {result['units'].get(key, '')} |"
        yield "\nNumbers of other protocols are not comparable. These were measured so:\n"
        yield "| protocol | |\n|---|---|"
        yield from (f"| {_cell(label(key))} | {_cell(text_of(value))} |" for key, value in flat(dict(protocol)))
    else:
        yield "It was not evaluated."
    yield "\n## How it was trained\n"
    yield f"```sh\n{config.get('command') or 'by a program of its own'}\n```\n"
    yield "## Licence\n"
    yield f"The weights: {licence}." if licence else "None was given: ask who made the weights before you use them."


def _data(config: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """The data by its name, never by a place on somebody's disk."""
    data = config.get("data")
    found = result.get("protocol", {}).get("dataset") or (data.get("name") if isinstance(data, dict) else data)
    return Path(str(found)).name if found else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
