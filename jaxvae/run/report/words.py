"""The words of a report: names for keys, texts for numbers, what was trained in a sentence."""

import math
import re
from collections.abc import Iterable
from typing import Any

WORDS = {"elbo": "ELBO", "nll": "NLL", "iwae": "IWAE", "kl": "KL", "vae": "VAE", "mse": "MSE", "k": "k", "psnr": "PSNR"}
WORDS |= {"auroc": "AUROC", "jax": "JAX", "map": "MAP", "ms": "ms", "ssim": "SSIM"}
# What a key says by its look is not always what it means.
WHOLE = {
    "nll_k": "k of the NLL",
    "nll_examples": "examples of the NLL",
    "nll_estimator": "estimator of the NLL",
    "elbo_draws": "draws of the ELBO",
    "draw_seed": "seed of the draws",
    "wall_seconds": "wall time",
    "codes_npy": "codes.npy",
    "gap_log_likelihood": "log p(x) of the gap",
    "units": "unit",
    "test_accuracy": "test accuracy",
}
PHRASES = {
    "negative_log_likelihood": "nll",
    "log_likelihood": "reconstruction",  # E log p(x|z): beside an NLL it is no likelihood
    "bits_per_dimension": "bits per dimension",
}
MEANINGS = {
    "reconstruction": "E log p(x|z)",
    "kl": "KL(q(z|x) || p(z))",
    "nll": "−log p(x)",
    "elbo": "E log p(x|z) − KL",
    "estimated_kl": "by a discriminator",
    "estimate": "E log p(x|z) − estimated KL; no bound",
}
ERROR = "_standard_error"


def label(key: str, *, first: bool = True) -> str:
    """A key as words: `test_iwae_bound` -> "Test IWAE bound".

    Args:
        key: of a JSON object, dotted where it is nested.
        first: whether it begins with a capital.

    Returns:
        The words.

    Example:
        >>> label("test_log_likelihood"), label("nll_k"), label("share_taken_for_the_new_class_before", first=False)
        ('Test reconstruction', 'k of the NLL', 'share taken for the new class before')
    """
    inner = key.rpartition(".")[2]
    text = WHOLE.get(inner)
    if text is None:
        text = key.removesuffix("_seconds")
        for phrase, word in PHRASES.items():
            text = text.replace(phrase, word)
        text = text.replace("_", " ")
    words = [WORDS.get(word, word) for word in text.split()]
    if first and words and words[0] != "k":  # k is the paper's symbol
        words[0] = words[0][:1].upper() + words[0][1:]
    return " ".join(words)


def meaning(key: str) -> str:
    """What a number of a run is, as a formula.

    Args:
        key: of the number.

    Returns:
        The formula; empty where its name says all.

    Example:
        >>> meaning("test_log_likelihood")
        'E log p(x|z)'
    """
    name = key.removeprefix("test_")
    return MEANINGS.get(PHRASES.get(name, name), "")


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


def with_minus(text: str) -> str:
    """A text whose hyphens before a number or a logarithm are the true minus sign.

    Args:
        text: any.

    Returns:
        The text.

    Example:
        >>> with_minus("x-ray: -1.5, -log p(x)")
        'x-ray: −1.5, −log p(x)'
    """
    return re.sub(r"(?<![\w.])-(?=[\d.∞]|log\b)", "−", text)


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
