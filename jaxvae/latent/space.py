"""The latent space of a trained model: where the data lies in it, paths between codes, directions with a meaning.

Codes are made by `jaxvae.latent`. A code becomes an image through the likelihood:
`model.likelihood(params, z).expectation()` is the picture to look at, `.sample(key)` an image as the model believes the
data to be.
"""

import jax
import jax.numpy as jnp

from jaxvae.distributions import Mixture, even_mixture
from jaxvae.model import VAE
from jaxvae.types import Array, Distribution, Key, Params


def likelihood_near(model: VAE, key: Key, params: Params, x: Array, *, spread: float = 1.0) -> Distribution:
    """What resembles an example: the likelihood at a code drawn near the example's own.

    p(x'|z),    z = μ + s (z̃ - μ),    z̃ ~ q(z|x),    μ = E_q[z|x]

    Args:
        model: any model with a posterior.
        key: for the draw of the code.
        params: the model's parameters.
        x: [*event] one example.
        spread: s; 1 draws from the posterior itself, 0 gives the reconstruction, more wanders farther away.

    Returns:
        The distribution of x': its `expectation()` is a picture, its `sample(key)` an image.

    Example:
        >>> from jaxvae.models import linear
        >>> params = linear.parameters(jnp.array([[2.0], [0.0]]), jnp.zeros(2), jnp.ones(()))
        >>> x = jnp.array([5.0, 1.0])
        >>> likelihood_near(linear.linear_vae(latent=1), jax.random.key(0), params, x, spread=0.0).expectation()
        Array([4., 0.], dtype=float32)

    Source: with a spread of 1 it is one step of the chain of Rezende, Mohamed & Wierstra (2014), appendix F.
    """
    posterior = model.posterior(params, x)
    mean = posterior.expectation()
    return model.likelihood(params, mean + spread * (posterior.sample(key) - mean))


def aggregated_posterior(model: VAE, params: Params, xs: Array) -> Mixture:
    """Where a data set lies in the latent space: the even mixture of its posteriors.

    q(z) = 1/N Σ_n q(z|x_n)

    Of all priors it is the one under which these N examples have the highest ELBO, the encoder being as it is: it
    describes them, and other examples only as far as they lie near. Its density costs N densities for each z.

    Args:
        model: any model with a posterior.
        params: the model's parameters.
        xs: [N, *event] the data set.

    Returns:
        The mixture of its N posteriors.

    Source: Makhzani et al., "Adversarial Autoencoders" (2016), section 2; Hoffman & Johnson, "ELBO surgery" (2016).
    """
    return even_mixture(jax.vmap(model.posterior, (None, 0))(params, xs))


def linear_interpolation(start: Array, end: Array, *, num_steps: int) -> Array:
    """Codes at equal steps on the straight line between two codes.

    z_t = (1 - t) z_0 + t z_1,    t = 0, ..., 1

    Args:
        start: [*latent] z_0.
        end: [*latent] z_1.
        num_steps: T, both ends included.

    Returns:
        [T, *latent].

    Raises:
        ValueError: `num_steps` is less than two.

    Example:
        >>> linear_interpolation(jnp.array([0.0]), jnp.array([2.0]), num_steps=3)[:, 0]
        Array([0., 1., 2.], dtype=float32)
    """
    times = _times(num_steps, start)
    return jax.vmap(lambda t: (1 - t) * start + t * end)(times)


def spherical_interpolation(start: Array, end: Array, *, num_steps: int) -> Array:
    """Codes on the arc between two codes: the direction turns at a constant speed, the length changes evenly.

    z_t = r_t [sin((1-t)Ω) ẑ_0 + sin(tΩ) ẑ_1] / sin Ω,    r_t = (1 - t) |z_0| + t |z_1|

    with ẑ the unit vectors and Ω the angle between them. Nearly all of N(0, I) in many dimensions lies near a sphere of
    radius √D, which the straight line leaves for the middle of the ball, where the decoder saw no code. For codes of
    equal length this is the cited formula; of unequal ones it is well behaved at every angle.

    Args:
        start: [*latent] z_0.
        end: [*latent] z_1.
        num_steps: T, both ends included.

    Returns:
        [T, *latent]. Between opposite codes, where every great circle passes, one is chosen; from or to the origin, and
        in one dimension, where there is no arc, it moves along the line.

    Raises:
        ValueError: `num_steps` is less than two.

    Example:
        >>> quarter = spherical_interpolation(jnp.array([2.0, 0.0]), jnp.array([0.0, 2.0]), num_steps=3)
        >>> [round(float(jnp.linalg.norm(z)), 4) for z in quarter]
        [2.0, 2.0, 2.0]

    Source: White, "Sampling Generative Networks" (2016), section 2.1, after Shoemake (1985).
    """
    times = _times(num_steps, start)
    first, last = start.reshape(-1), end.reshape(-1)
    if first.size == 1:
        return linear_interpolation(start, end, num_steps=num_steps)
    first_length, last_length = jnp.linalg.norm(first), jnp.linalg.norm(last)
    from_unit = jnp.where(first_length > 0, _unit(first), _unit(last))
    to_unit = jnp.where(last_length > 0, _unit(last), from_unit)
    angle = 2 * jnp.arctan2(jnp.linalg.norm(to_unit - from_unit), jnp.linalg.norm(to_unit + from_unit))
    # The arc is cos(tΩ) ẑ_0 + sin(tΩ) w with w across ẑ_0: the same as the formula, without its 0/0 at 0 and at π.
    across = _unit(to_unit - jnp.dot(to_unit, from_unit) * from_unit)
    any_across = jnp.zeros_like(first).at[jnp.argmin(jnp.abs(from_unit))].set(1)
    any_across = _unit(any_across - jnp.dot(any_across, from_unit) * from_unit)
    across = jnp.where(jnp.sin(angle) > 1e-6, across, any_across)

    def at(t: Array) -> Array:
        length = (1 - t) * first_length + t * last_length
        direction = jnp.cos(t * angle) * from_unit + jnp.sin(t * angle) * across
        return (length * direction).reshape(start.shape)

    return jax.vmap(at)(times)


def _times(num_steps: int, like: Array) -> Array:
    if num_steps < 2:
        raise ValueError(f"a path needs its two ends: num_steps={num_steps} must be at least two")
    return jnp.linspace(0, 1, num_steps, dtype=like.dtype)


def _unit(vector: Array) -> Array:
    length = jnp.linalg.norm(vector)
    return vector / jnp.where(length > 0, length, 1)


def traverse(z: Array, dimension: int, values: Array) -> Array:
    """Copies of a code in which one latent dimension takes other values, all others staying as they are.

    Args:
        z: [D] the code.
        dimension: j, counted from zero; below zero, from the end.
        values: [T] what z_j becomes.

    Returns:
        [T, D].

    Raises:
        ValueError: the code is no vector, or it has no such dimension.

    Example:
        >>> traverse(jnp.zeros(2), 1, jnp.array([-1.0, 1.0]))
        Array([[ 0., -1.],
               [ 0.,  1.]], dtype=float32)

    Source: Higgins et al., "beta-VAE" (2017), figure 2.
    """
    if z.ndim != 1 or not -z.size <= dimension < z.size:
        raise ValueError(f"a code of shape {z.shape} has no dimension {dimension}; count from 0 in a code [D]")
    return jax.vmap(lambda value: z.at[dimension].set(value))(values)


def attribute_vector(codes: Array, present: Array) -> Array:
    """The direction of an attribute: the mean code with it less the mean code without it.

    v = mean(z | present) - mean(z | absent)

    Args:
        codes: [N, *latent], posterior means.
        present: [N] booleans, at least one of each kind; otherwise the vector is not a number.

    Returns:
        [*latent].

    Example:
        >>> attribute_vector(jnp.array([[0.0, 1.0], [2.0, 1.0], [4.0, 1.0]]), jnp.array([False, True, True]))
        Array([3., 0.], dtype=float32)

    Source: Larsen et al., "Autoencoding beyond pixels using a learned similarity metric" (2016), its
    "visual attribute vectors".
    """
    weight = present.astype(codes.dtype)
    with_it = jnp.tensordot(weight, codes, axes=1) / jnp.sum(weight)
    without_it = jnp.tensordot(1 - weight, codes, axes=1) / jnp.sum(1 - weight)
    return with_it - without_it


def add_attribute(z: Array, vector: Array, strengths: Array) -> Array:
    """A code moved along the direction of an attribute.

    z_s = z + s v

    Args:
        z: [*latent] the code.
        vector: [*latent] v, of `attribute_vector`.
        strengths: [T] s; 0 leaves the code, 1 adds the whole difference of the means, below 0 takes it away.

    Returns:
        [T, *latent].

    Example:
        >>> add_attribute(jnp.zeros(2), jnp.array([3.0, 0.0]), jnp.array([0.0, 0.5]))
        Array([[0. , 0. ],
               [1.5, 0. ]], dtype=float32)

    Source: Larsen et al. (2016).
    """
    return jax.vmap(lambda strength: z + strength * vector)(strengths)
