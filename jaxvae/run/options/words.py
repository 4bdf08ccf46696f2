"""What options ask of each other: an option `has` some of these words, and `needs` others of the options beside it."""

from typing import Any

from jaxvae.run.choice import named

PHRASES = {
    # of a posterior
    "reals": "latents that are real numbers",
    "path": "draws with a path",
    "density": "a density that can be evaluated",
    "mixable": "a density of which a mixture can be made",
    "relaxed": "discrete latents that can be relaxed",
    "independent": "a Gaussian whose dimensions are independent",
    "family": "a family whose parameters can be learned as a prior's",
    # of a prior
    "moving gaussian": "a Gaussian with learned parameters",
    # of a bound
    "terms": "the mean of its terms",
    "equal draws": "importance weights of draws that are all alike",
    "all weights": "the importance weights of all draws together",
    "one bound": "one bound for encoder and decoder",
    # of an estimator
    "reaches the likelihood": "draws with a path",
    # of a price
    "unit weight": "a weight of one for the latent part (--objective.price.beta 1 without a warm-up)",
    # of a network
    "vectors": "layers that are fully connected",
    # of a likelihood
    "factorises": "a density of each pixel by itself",
    "grey": "a density of grey pixels, whose mean may pass for an image",
}


def said(option: Any) -> str:
    """An option in the words of a protocol: its name, and its settings where it has some.

    Args:
        option: a member of a union of options.

    Returns:
        "planar (flows 4, amortised true)" for instance.
    """
    settings = [f"{name.replace('_', ' ')} {str(value).lower()}" for name, value in vars(option).items()]
    return named(type(option)) + (f" ({', '.join(settings)})" if settings else "")
