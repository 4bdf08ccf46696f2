"""Models of images with few labels: M1, M2 and M1+M2.

p(y) p(z) p(x|y, z),    q(y|x) q(z|x, y)

M2 has a class beside its code, and q(y|x) is a classifier. An example is (x, label), int32 and -1 where it is not
known: then the class is summed out. M1 is a plain VAE; M1+M2 is M2 of draws of its codes, with a Gaussian p(x|y, z).
Source: Kingma, Rezende, Mohamed & Welling, "Semi-supervised Learning with Deep Generative Models" (2014).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from jaxvae.bounds import Reduction, draw_terms, log_weights
from jaxvae.distributions import Bernoulli, Normal, OneHot
from jaxvae.draws import pathwise
from jaxvae.losses import Loss, Metrics, lifted, metrics_of
from jaxvae.model import VAE, Terms, terms_of
from jaxvae.models.given import Given
from jaxvae.priors import Prior
from jaxvae.types import Array, Distribution, Event, Key, Network, Params

UNKNOWN = -1


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ClassAndCode:
    """A class y, and a code z given it: p(y) p(z|y), or q(y|x) q(z|x, y). An event is `Given(z, y)`, y one-hot [K].

    Args:
        classes: the distribution of y.
        codes: the distributions of z of all classes, each leaf with a leading axis [K].
    """

    classes: OneHot
    codes: Distribution

    def given(self, condition: Array) -> Distribution:
        """The distribution of z at one class, a one-hot vector [K]."""
        return jax.tree.map(lambda leaf: leaf[jnp.argmax(condition)], self.codes)

    def sample(self, key: Key) -> Given:
        """One draw of a class, and of a code given it."""
        key_class, key_z = jax.random.split(key)
        y = self.classes.sample(key_class)
        return Given(self.given(y).sample(key_z), y)

    def log_prob(self, value: Given) -> Array:
        """The log density of both, [], in nats."""
        return self.classes.log_prob(value.condition) + self.given(value.condition).log_prob(value.z)

    def expectation(self) -> Given:
        """The mean code over classes, [*latent], and the probabilities of the classes, [K]."""
        probabilities = self.classes.expectation()
        means = jax.vmap(lambda codes: codes.expectation())(self.codes)
        return Given(jnp.tensordot(probabilities, means, axes=1), probabilities)


def labelled_vae(
    *,
    classes: int,
    classifier: Network,
    encoder: Network,
    decoder: Network,
    prior: Prior,
    posterior: Callable[..., Distribution] = Normal,
    likelihood: Callable[..., Distribution] = Bernoulli,
) -> VAE:
    """The generative semi-supervised model M2, with p(y) = 1/K.

    L(x, y) = E_q(z|x,y)[ln p(x|y, z)] + ln p(y) - KL(q(z|x, y) || p(z))  ≤  ln p(x, y)
    U(x) = Σ_y q(y|x) [L(x, y) - ln q(y|x)]  ≤  logsumexp_y L(x, y)  ≤  ln p(x)

    `elbo` is L of a labelled example and U of an unlabelled one, whose weight is the sum of those of all classes:

    ln w = logsumexp_y [ln p(x|y, z_y) + ln p(y) + ln p(z_y) - ln q(z_y|x, y)],    z_y ~ q(z|x, y), one for each y

    It is unbiased: the mean of class y's weight over z_y is ∫ p(x, y, z) dz = p(x, y), and these add up to p(x). (One
    z for all classes would need one q(z|x) in every weight.) So `iwae_bound` bounds ln p(x), or ln p(x, y) where y is
    known. As q(y|x) is not in it, it trains no classifier; that takes `extended_objective`.

    Args:
        classes: K.
        classifier: x [*event] -> {"logits": [K]} of q(y|x).
        encoder: (x, y [K] one-hot) -> outputs, q(z|x, y) by `posterior`; `adding_both` reads x once for all classes.
        decoder: (z, y [K] one-hot) -> outputs, p(x|y, z) by `likelihood`.
        prior: of z, one of `jaxvae.priors` that does not look at the posterior.
        posterior: named outputs -> q(z|x, y).
        likelihood: named outputs -> p(x|y, z).

    Returns:
        The model of examples (x, label), whose labels no one checks. Params have the entries "prior", "classifier",
        "encoder" and "decoder"; the latent variable is `Given(z, y)`; `kl` has two entries, the class's and the code's.

    Example:
        >>> from jaxvae import elbo, networks, standard_normal
        >>> from jaxvae.models import reading_both
        >>> model = labelled_vae(
        ...     classes=10,
        ...     classifier=networks.mlp((8,), {"logits": (10,)}),
        ...     encoder=reading_both(networks.mlp((8,), Normal.parameters((2,)))),
        ...     decoder=reading_both(networks.mlp((8,), Bernoulli.parameters((3, 3, 1)))),
        ...     prior=standard_normal((2,)),
        ... )
        >>> example = jnp.ones((3, 3, 1)), jnp.array(UNKNOWN)
        >>> params = model.init(jax.random.key(0), example)
        >>> elbo(model, jax.random.key(1), params, example).shape
        ()

    Source: Kingma et al. (2014), equations 2, 6 and 7.
    """

    def init(key: Key, example: Event) -> Params:
        key_prior, key_classifier, key_encoder, key_decoder = jax.random.split(key, 4)
        x, y = example[0], jnp.eye(classes)[0]
        encoder_params = encoder.init(key_encoder, x, y)
        z = posterior(**encoder.apply(encoder_params, x, y)).expectation()
        return {
            "prior": prior.init(key_prior, x),
            "classifier": classifier.init(key_classifier, x),
            "encoder": encoder_params,
            "decoder": decoder.init(key_decoder, z, y),
        }

    def possible(label: Array) -> Array:  # [K]
        label = jnp.asarray(label)
        return (label < 0) | (jnp.arange(classes, dtype=label.dtype) == label)

    def no_posterior(x: Array) -> Distribution:
        raise ValueError("a code has a posterior for each class here: take a prior that does not look at the posterior")

    def prior_of(params: Params) -> ClassAndCode:
        codes = prior.apply(params["prior"], no_posterior)
        of_all = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (classes, *leaf.shape)), codes)
        return ClassAndCode(OneHot(jnp.zeros(classes)), of_all)

    def posterior_of(params: Params, example: Event) -> ClassAndCode:
        x, label = example
        logits = classifier.apply(params["classifier"], x)["logits"]
        # a known class has all the mass, whatever the classifier says
        known = jnp.where(possible(label), jnp.zeros_like(logits), jnp.finfo(logits.dtype).min)
        codes = jax.vmap(lambda y: posterior(**encoder.apply(params["encoder"], x, y)))(jnp.eye(classes))
        return ClassAndCode(OneHot(jnp.where(jnp.asarray(label) < 0, logits, known)), codes)

    def likelihood_of(params: Params, latent: Given) -> Distribution:
        return likelihood(**decoder.apply(params["decoder"], latent.z, latent.condition))

    def terms(key: Key, params: Params, example: Event) -> Terms:
        x, label = example
        p, q = prior_of(params), posterior_of(params, example)

        def of_class(key: Key, y: Array, q_z: Distribution) -> Terms:
            drawn = pathwise(key, q_z)
            return terms_of(drawn, p.given(y), likelihood_of(params, Given(drawn.value, y)), x)

        each = jax.vmap(of_class)(jax.random.split(key, classes), jnp.eye(classes), q.codes)
        log_q, log_p = jax.nn.log_softmax(q.classes.logits), jax.nn.log_softmax(p.classes.logits)  # of y, [K]
        kl = jnp.stack([jnp.exp(log_q) @ (log_q - log_p), jnp.exp(log_q) @ each.kl[:, 0]])
        log_weight = logsumexp(log_weights(each) + log_p, where=possible(label))
        return Terms(jnp.exp(log_q) @ each.log_likelihood, kl, log_weight)

    def sample(key: Key, params: Params) -> Array:
        key_latent, key_x = jax.random.split(key)
        return likelihood_of(params, prior_of(params).sample(key_latent)).sample(key_x)

    return VAE(init, prior_of, posterior_of, likelihood_of, terms, sample)


def extended_objective(
    model: VAE, reduce: Reduction, *, alpha: float, examples: int, labelled: int, times: int = 1, num_samples: int = 1
) -> Loss:
    """The loss of few labels: the bound of every example, and the classifier's log probability of the known labels.

    -J/N,    J = Σ_labelled L(x, y) + Σ_unlabelled U(x) + α N/N_l Σ_labelled ln q(y|x)

    Args:
        model: of `labelled_vae`.
        reduce: `bounds.average` for L and U.
        alpha: α ≥ 0; the paper has 0.1.
        examples: N, the labelled ones among them.
        labelled: N_l.
        times: how often the rows that training visits have each labelled example (`repeated`). Each visit counts
            1/times, so that the mean over all rows is J/N whatever `times` is.
        num_samples: the draws that the bounds are made of.

    Returns:
        The loss, of rows (x, label). The means of its "bound", "log_likelihood" and "kl" over an epoch are those over
        examples; that of "cross_entropy" is -1/N_l Σ ln q(y|x).

    Raises:
        ValueError: α is negative, `times` less than one, or `labelled` not between one and `examples`.

    Source: Kingma et al. (2014), equations 8 and 9.
    """
    if not alpha >= 0 or times < 1 or not 1 <= labelled <= examples:
        numbers = f"alpha={alpha}, times={times}, labelled={labelled}, examples={examples}"
        raise ValueError(f"alpha must not be negative, times at least one, labelled in 1..examples: not {numbers}")
    rows = examples + (times - 1) * labelled

    def objective(key: Key, params: Params, example: Any, step: Array) -> tuple[Array, Metrics]:
        x, label = example
        terms = draw_terms(model, key, params, example, num_samples=num_samples)
        weight = jnp.where(label < 0, rows / examples, rows / (times * examples))
        log_q_y = jax.nn.log_softmax(_classifier(model, params, x).logits)[jnp.maximum(label, 0)]
        cross_entropy = jnp.where(label < 0, 0, -log_q_y * (rows / (times * labelled)))
        metrics = jax.tree.map(lambda metric: weight * metric, metrics_of(reduce(terms), terms))
        return metrics["bound"] - alpha * cross_entropy, metrics | {"cross_entropy": cross_entropy}

    return lifted(objective)


def class_probabilities(model: VAE, params: Params, x: Array) -> Array:
    """The classifier's q(y|x), [K], of an image x [*event], or of its features for M1+M2."""
    return _classifier(model, params, x).expectation()


def classify(model: VAE, params: Params, x: Array) -> Array:
    """The most probable class by q(y|x), [] int32, of an image x [*event], or of its features for M1+M2."""
    return jnp.argmax(class_probabilities(model, params, x)).astype(jnp.int32)


def analogies(model: VAE, params: Params, x: Array) -> Array:
    """The style of x in every class: the mean of p(x|y, z) for all y, [K, *event]; z is that of q(z|x, class of x)."""
    z = model.posterior(params, (x, classify(model, params, x))).expectation().z
    every = jnp.eye(len(_classifier(model, params, x).logits))
    return jax.vmap(lambda y: model.likelihood(params, Given(z, y)).expectation())(every)


def drawn_features(key: Key, stored: tuple[Distribution, Any]) -> tuple[Array, Any]:
    """The `prepare` of M1+M2: (q(z1|x), label) -> (z1, label), a fresh draw of the features at every visit.

    What is stored is made once of a trained M1, and is a tree of arrays as all data are:
    `(jax.lax.map(lambda image: m1.posterior(params, image), images, batch_size=1000), labels)`.
    """
    return stored[0].sample(key), stored[1]


def balanced_labels(seed: int, labels: np.ndarray, *, count: int, classes: int) -> np.ndarray:
    """The labels of a few examples, as many of every class, and -1 for all others: [N] int32.

    Args:
        seed: of the choice.
        labels: [N] integers in 0..classes-1.
        count: how many stay.
        classes: how many there are. It raises a ValueError where they do not divide the count, or one is too small.

    Example:
        >>> balanced_labels(0, np.array([1, 0, 1, 0]), count=4, classes=2)
        array([1, 0, 1, 0], dtype=int32)
    """
    each, rest = divmod(count, classes)
    if each < 1 or rest:
        raise ValueError(f"{count} labels cannot be dealt equally to {classes} classes: take a multiple of {classes}")
    kept, generator = np.full(len(labels), UNKNOWN, np.int32), np.random.default_rng(seed)
    for label in range(classes):
        members = np.flatnonzero(np.asarray(labels) == label)
        if len(members) < each:
            raise ValueError(f"class {label} has {len(members)} examples, {each} are asked for: take fewer labels")
        kept[generator.choice(members, each, replace=False)] = label
    return kept


def repeated(labels: np.ndarray, times: int) -> np.ndarray:
    """The rows that have every labelled example several times, so that each batch has some: [N + (times - 1) N_l].

    With 100 labels among 50,000 images, 20 times make 8 labelled rows of a batch of 200.

    Example:
        >>> repeated(np.array([-1, 7, -1]), 3)
        array([0, 1, 1, 1, 2])
    """
    return np.repeat(np.arange(len(labels)), np.where(np.asarray(labels) < 0, 1, times))


def adding_both(first: Network, second: Network, then: Network, activation: Callable[[Array], Array]) -> Network:
    """A network of two inputs that reads a once, however many b it goes with: then(activation(first(a) + second(b))).

    The first two have one output, "features" [width]: `networks.mlp((), {"features": (500,)})`.
    """

    def features(params: Params, a: Array, b: Array) -> Array:
        return activation(first.apply(params["first"], a)["features"] + second.apply(params["second"], b)["features"])

    def init(key: Key, a: Array, b: Array) -> Params:
        key_first, key_second, key_then = jax.random.split(key, 3)
        params = {"first": first.init(key_first, a), "second": second.init(key_second, b)}
        return params | {"then": then.init(key_then, features(params, a, b))}

    return Network(init, lambda params, a, b: then.apply(params["then"], features(params, a, b)))


def _classifier(model: VAE, params: Params, x: Array) -> OneHot:
    """q(y|x), as if no label were known."""
    return model.posterior(params, (x, UNKNOWN)).classes  # type: ignore[attr-defined]
