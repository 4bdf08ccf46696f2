"""The words of a report: names for keys, texts for numbers, what was trained in a sentence."""

import math
from collections.abc import Iterable
from typing import Any

WORDS = {"elbo": "ELBO", "nll": "NLL", "iwae": "IWAE", "kl": "KL", "vae": "VAE", "mse": "MSE", "k": "k", "psnr": "PSNR"}
ERROR = "_standard_error"


def label(key: str, *, first: bool = True) -> str:
    """A key as words: `test_iwae_bound` -> "Test IWAE bound".

    Args:
        key: of a JSON object.
        first: whether it begins with a capital.

    Returns:
        The words.
    """
    words = [WORDS.get(word, word) for word in key.replace("_", " ").split()]
    if first and words and words[0] != "k":  # k is the paper's symbol
        words[0] = words[0][:1].upper() + words[0][1:]
    return " ".join(words)


def text_of(value: Any) -> str:
    """A value as text: numbers grouped, with a true minus sign.

    Args:
        value: what JSON can hold.

    Returns:
        The text.
    """
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return ", ".join(map(text_of, value)) if isinstance(value, (list, tuple)) else str(value)
    if isinstance(value, int):
        text = f"{value:,}"
    elif not math.isfinite(value):
        text = "not finite"
    else:
        text = f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:,.6g}"
    return text.replace("-", "−") if "e" not in text else text.replace("e-", "e−")


def measured(value: float, error: float | None) -> tuple[str, str]:
    """A number and its standard error, both to the error's second digit.

    Args:
        value: the number.
        error: its standard error; None where there is none.

    Returns:
        Two texts, the second empty without an error.
    """
    if not math.isfinite(value):
        return "not finite", ""
    if error is None or not math.isfinite(error) or error <= 0:
        short = isinstance(value, float) and abs(value) < 10_000
        return (f"{value:.2f}" if abs(value) >= 10 else f"{value:.4g}").replace("-", "−") if short else text_of(
            value
        ), ""
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:,.{digits}f}".replace("-", "−"), f"± {error:,.{digits}f}"


def flat(nested: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Nested values by dotted keys: `{"data": {"name": x}}` -> ("data.name", x).

    Args:
        nested: a JSON object.
        prefix: of the keys.

    Yields:
        Keys and values.
    """
    for key, value in nested.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + str(key), value


def numbers(result: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, float, float | None]]:
    """The numbers that a protocol holds for.

    Args:
        result: flat or nested, `KEY_standard_error` beside KEY, with a dict `units`.
        prefix: of the names.

    Yields:
        (name, value, standard error); NaN for a number that JSON has no word for.
    """
    for key, value in result.items():
        if isinstance(value, dict) and key not in ("protocol", "units") and "protocol" not in value:
            yield from numbers(value, f"{prefix}{key}_")
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and not key.endswith(ERROR):
            yield prefix + key, value, result.get(key + ERROR)
        elif value is None and key in result.get("units", {}):
            yield prefix + key, math.nan, None  # JSON has no word for it


def sentence(config: dict[str, Any], result: dict[str, Any]) -> str:
    """What was trained, as far as the folder tells.

    Args:
        config: of the run, nested.
        result: of the run; empty where there is none.

    Returns:
        A sentence.
    """
    if config.get("description"):
        return str(config["description"])
    protocol = result.get("protocol", {})

    def find(*keys: str) -> str:
        """The first of the keys that the protocol or the configuration's upper two levels know."""
        inner = [value for value in config.values() if isinstance(value, dict)]
        for key in keys:
            for place in (protocol, config, *inner):
                value = place.get(key)
                if isinstance(value, dict):
                    value = value.get("name") or value.get("is")
                if isinstance(value, (str, int, float)) and not isinstance(value, bool):
                    return text_of(value)
        return ""

    data, epochs, seeds = find("dataset", "data"), find("epochs"), protocol.get("seeds", 1)
    seeds = len(seeds) if isinstance(seeds, list) else seeds  # which ones, or how many
    bound = label(find("bound"), first=False)
    bound += "" if not bound or "ELBO" in bound or "bound" in bound else " bound"
    said = "A variational auto-encoder"
    said += f" trained on {data}" if data else ""
    said += f" to maximise the {bound}" if bound else ""
    said += f", for {epochs} {'epoch' if epochs == '1' else 'epochs'}" if epochs else ""
    said += f", with {seeds} seeds" if seeds != 1 else ""
    return said + "."
