"""How pictures are made of what each `--model.structure` yields."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxvae.model import VAE
from jaxvae.models import Given, conditional, quadrants
from jaxvae.run import config as configuration
from jaxvae.types import Array, Key, Params, Shape


class Pictured(NamedTuple):
    """How pictures of a structure are made."""

    image: Callable[[Any], Array]  # an example -> its image
    code: Callable[[Any], Any]  # the latent variable -> the part of it that tells examples apart
    finish: Callable[[Any, Array], Array]  # (the latent variable, the mean of p(x|z)) -> an image
    new: Callable[[VAE, Key, Params, Any], Any]  # (model, key, params, an example) -> a latent variable from the prior
    title: str
    caption: str


def pictured(config: configuration.Config, image_shape: Shape) -> Pictured:
    """How pictures of a run are made.

    Args:
        config: of the run.
        image_shape: [H, W, C].

    Returns:
        The functions, each of one example or latent variable.
    """
    structure = config.model.structure
    plain = Pictured(
        image=lambda x: x,
        code=lambda z: z,
        finish=lambda z, mean: mean,
        new=lambda model, key, params, x: model.prior(params).sample(key),
        title="Samples from the prior",
        caption="The decoder's mean for 100 draws z ~ p(z): look for whole, varied shapes.",
    )
    if structure == "class-conditional":
        caption = (
            "The decoder's mean for 100 draws z ~ p(z), each with a class at random: look for whole, varied shapes."
        )
        return plain._replace(image=lambda x: x[0], code=lambda latent: latent.z, caption=caption)
    if structure == "vq":
        caption = (
            "The decoder's mean for 100 images of codes, each code drawn by itself: no shapes are to be expected "
            "before a prior over the codes is learned (jaxvae.questions.code_prior)."
        )
        return plain._replace(caption=caption)
    if structure.startswith("quadrants"):
        visible = quadrants.visible_quadrants(image_shape, config.model.quadrants)

        def completion(model: VAE, key: Key, params: Params, x: Array) -> Any:
            condition = quadrants.parted(x, visible)[1]
            return Given(conditional.given(model, condition).prior(params).sample(key), condition)

        return plain._replace(
            code=lambda latent: latent.z,
            finish=lambda latent, mean: quadrants.completed(latent.condition, mean, visible),
            new=completion,
            title="Completions",
            caption="Test images as told from their visible quadrants: the mean for a draw z ~ p(z|visible).",
        )
    return plain
