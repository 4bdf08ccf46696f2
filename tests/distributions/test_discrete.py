"""Discrete latents, whose every expectation is a sum over all of them."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy
from standard_errors import assert_mean

from jaxvae import bounds, losses, networks, training
from jaxvae.bounds import renyi
from jaxvae.distributions import Bernoulli, Concrete, Normal, OneHot, kl
from jaxvae.draws import local_reparameterization, pathwise, score_function, straight_through
from jaxvae.likelihoods import Multinomial
from jaxvae.model import vae
from jaxvae.priors import Prior
from jaxvae.types import Network

BITS, PIXELS = 2, 3
X = jnp.array([1.0, 0.0, 1.0])
CODES = jnp.array(list(itertools.product([0.0, 1.0], repeat=BITS)))


def bit_vae(draw=score_function):
    """Two bits, three pixels, a learned prior."""
    encoder = Network(lambda key, x: {}, lambda params, x: {"logits": params["weights"] @ x + params["bias"]})
    decoder = Network(lambda key, z: {}, lambda params, z: {"logits": params["weights"] @ z + params["bias"]})
    prior = Prior(lambda key, x: {}, lambda params, posterior: Bernoulli(params["logits"]))
    return vae(encoder=encoder, decoder=decoder, prior=prior, posterior=Bernoulli, draw=draw)


def parameters():
    rng = np.random.default_rng(1)
    matrix = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)  # noqa: E731
    return {
        "encoder": {"weights": matrix(BITS, PIXELS), "bias": matrix(BITS)},
        "decoder": {"weights": 2 * matrix(PIXELS, BITS), "bias": matrix(PIXELS)},
        "prior": {"logits": matrix(BITS)},
    }


def log_joint(params, z):
    """ln p(x, z), by hand."""

    def of_bits(logits, bits):
        return jnp.sum(bits * jax.nn.log_sigmoid(logits) + (1 - bits) * jax.nn.log_sigmoid(-logits))

    decoder = params["decoder"]
    return of_bits(params["prior"]["logits"], z) + of_bits(decoder["weights"] @ z + decoder["bias"], X)


def log_posterior(params, z):
    encoder = params["encoder"]
    logits = encoder["weights"] @ X + encoder["bias"]
    return jnp.sum(z * jax.nn.log_sigmoid(logits) + (1 - z) * jax.nn.log_sigmoid(-logits))


def of_all_draws(params, value_of, num_samples):
    """Σ over all tuples of codes of their probability times a function of their log weights."""
    total = 0.0
    for codes in itertools.product(CODES, repeat=num_samples):
        log_q = jnp.stack([log_posterior(params, z) for z in codes])
        log_p = jnp.stack([log_joint(params, z) for z in codes])
        total += jnp.exp(jnp.sum(log_q)) * value_of(log_p - log_q)
    return total


def power_mean(log_weight, power):
    return (jax.nn.logsumexp(power * log_weight) - np.float32(np.log(len(log_weight)))) / power


CASES = {  # name: (reduction, the same of the log weights, draws)
    "elbo, one draw": (bounds.average, jnp.mean, 1),
    "elbo, two draws": (bounds.average, jnp.mean, 2),
    "iwae, one draw": (bounds.importance_weighted, partial(power_mean, power=1.0), 1),
    "iwae, three draws": (bounds.importance_weighted, partial(power_mean, power=1.0), 3),
    "renyi, two draws": (renyi(alpha=0.5), partial(power_mean, power=0.5), 2),
}


def gradients_of(objective, params, num=40_000):
    keys = jax.random.split(jax.random.key(0), num)
    return jax.jit(jax.vmap(jax.grad(objective, argnums=1), (0, None)))(keys, params)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_score_function_gradient_is_that_of_the_enumerated_bound(name):
    reduce, by_weights, num_samples = CASES[name]
    model, params = bit_vae(), parameters()

    def objective(key, params):
        return reduce(bounds.draw_terms(model, key, params, X, num_samples=num_samples))

    expected = jax.jit(jax.grad(partial(of_all_draws, value_of=by_weights, num_samples=num_samples)))(params)
    found = gradients_of(objective, params)
    jax.tree.map(assert_mean, found, expected)


def test_the_value_is_the_bound_and_other_draws_lower_the_variance():
    model, params = bit_vae(), parameters()
    terms = bounds.draw_terms(model, jax.random.key(0), params, X, num_samples=4)
    np.testing.assert_allclose(
        bounds.importance_weighted(terms), bounds.importance_weighted(terms._replace(score=None)), rtol=1e-6
    )

    def objective(key, params, baseline):
        terms = bounds.draw_terms(model, key, params, X, num_samples=4)
        if baseline:
            return bounds.average(terms)
        plain = terms._replace(score=None)
        value = bounds.average(plain)
        return value + jax.lax.stop_gradient(value) * jnp.sum(terms.score - jax.lax.stop_gradient(terms.score))

    variance = [
        np.var(gradients_of(partial(objective, baseline=baseline), params, 5000)["encoder"]["bias"], axis=0).sum()
        for baseline in (True, False)
    ]
    assert variance[0] < 0.3 * variance[1]


@pytest.mark.slow
def test_the_learned_baseline_leaves_the_gradient_alone_and_learns_the_bound():
    model, params = bit_vae(), parameters()
    baseline = Network(lambda key, x: jnp.zeros(()), lambda params, x: {"baseline": params})
    loss = losses.with_baseline(model, bounds.average, baseline)
    params = params | {"baseline": jnp.asarray(-2.0)}

    def objective(key, params):
        return -loss(key[None], params, (), X[None], jnp.array(0))[0]

    expected = jax.jit(jax.grad(partial(of_all_draws, value_of=jnp.mean, num_samples=1)))(params)
    found = gradients_of(objective, params)
    bound = of_all_draws(params, jnp.mean, 1)
    np.testing.assert_allclose(np.mean(found.pop("baseline")), 2 * (bound + 2.0), rtol=0.02)
    expected.pop("baseline")
    jax.tree.map(assert_mean, found, expected)
    with pytest.raises(ValueError, match="draws without a path"):
        losses.with_baseline(bit_vae(straight_through()), bounds.average, baseline)(
            jax.random.split(jax.random.key(0), 1), params, (), X[None], jnp.array(0)
        )


@pytest.mark.slow
def test_a_weight_is_in_the_baseline_s_gradient_and_not_in_the_bound_that_is_reported():
    model, params, beta = bit_vae(), parameters(), 0.3
    baseline = Network(lambda key, x: jnp.zeros(()), lambda params, x: {"baseline": params})
    loss = losses.with_baseline(model, bounds.average, baseline, beta=lambda step: jnp.asarray(beta))
    plain = losses.with_baseline(model, bounds.average, baseline)
    params = params | {"baseline": jnp.asarray(-2.0)}

    def weighed(params):
        """Σ over codes of q(z|x) ln p(x|z), less the weighted divergence by the same sum."""
        prior = Bernoulli(params["prior"]["logits"])
        total = 0.0
        for z in CODES:
            log_q, log_p = log_posterior(params, z), prior.log_prob(z)
            total += jnp.exp(log_q) * (log_joint(params, z) - log_p - beta * (log_q - log_p))
        return total

    def objective(key, params, loss=loss):
        return -loss(key[None], params, (), X[None], jnp.array(0))[0]

    found, expected = gradients_of(objective, params), jax.jit(jax.grad(weighed))(params)
    found.pop("baseline"), expected.pop("baseline")
    jax.tree.map(assert_mean, found, expected)
    metrics = [of(jax.random.key(0)[None], params, (), X[None], jnp.array(0))[1][1] for of in (loss, plain)]
    np.testing.assert_array_equal(metrics[0]["bound"], metrics[1]["bound"])


def test_a_baseline_stands_beside_the_model_s_params():
    model = bit_vae()._replace(init=lambda key, x: parameters())
    baseline = networks.mlp((3,), {"baseline": ()})
    beside = losses.beside_baseline(model, baseline)
    params = beside.init(jax.random.key(0), X)
    assert set(params) == {"prior", "encoder", "decoder", "baseline"}
    assert baseline.apply(params["baseline"], X)["baseline"].shape == ()
    with pytest.raises(ValueError, match='have an entry "baseline" of their own'):
        losses.beside_baseline(beside, baseline).init(jax.random.key(0), X)


@pytest.mark.slow
def test_the_wake_phases_are_their_enumerated_gradients():
    model, params, k = bit_vae(), parameters(), 2

    def expected_gradient(params):
        """Σ over pairs of q(z₁) q(z₂) Σ_i w̃_i ∇[ln p(x, z_i) + ln q(z_i|x)], by a function with that gradient."""
        total = 0.0
        for codes in itertools.product(CODES, repeat=k):
            log_q = jnp.stack([log_posterior(params, z) for z in codes])
            log_p = jnp.stack([log_joint(params, z) for z in codes])
            fixed = jax.lax.stop_gradient(jnp.exp(jnp.sum(log_q)) * jax.nn.softmax(log_p - log_q))
            total += jnp.sum(fixed * (log_p + log_q))
        return total

    def objective(key, params):
        return losses.wake(bounds.draw_terms(model, key, params, X, num_samples=k))

    found = gradients_of(objective, params)
    jax.tree.map(assert_mean, found, jax.jit(jax.grad(expected_gradient))(params))
    terms = bounds.draw_terms(model, jax.random.key(1), params, X, num_samples=k)
    np.testing.assert_allclose(losses.wake(terms), bounds.importance_weighted(terms), rtol=1e-6)
    with pytest.raises(ValueError, match="draw=score_function"):
        losses.wake(terms._replace(score=None))


def test_the_sleep_phase_follows_dreams_and_leaves_the_encoder_out_of_the_wake_phase():
    model, params, k = bit_vae(), parameters(), 2
    loss = losses.wake_sleep(model, num_samples=k)

    def objective(key, params):
        return -loss(key[None], params, (), X[None], jnp.array(0))[0]

    def dreams(params):
        """Σ over z and x of p(z, x) ln q(z|x)."""
        total = 0.0
        for z in CODES:
            for bits in itertools.product([0.0, 1.0], repeat=PIXELS):
                x = jnp.array(bits)
                logits = params["encoder"]["weights"] @ x + params["encoder"]["bias"]
                decoder = params["decoder"]
                log_p = Bernoulli(params["prior"]["logits"]).log_prob(z)
                log_p += Bernoulli(decoder["weights"] @ z + decoder["bias"]).log_prob(x)
                total += jax.lax.stop_gradient(jnp.exp(log_p)) * Bernoulli(logits).log_prob(z)
        return total

    def decoders(params):
        total = 0.0
        for codes in itertools.product(CODES, repeat=k):
            log_q = jax.lax.stop_gradient(jnp.stack([log_posterior(params, z) for z in codes]))
            log_p = jnp.stack([log_joint(params, z) for z in codes])
            total += jnp.exp(jnp.sum(log_q)) * power_mean(log_p - log_q, 1.0)
        return total

    found = gradients_of(objective, params)
    expected = jax.jit(jax.grad(lambda params: dreams(params) + decoders(params)))(params)
    jax.tree.map(assert_mean, found, expected)


def test_both_wake_sleep_losses_train():
    model = bit_vae()
    for make in (losses.wake_wake, losses.wake_sleep):
        loss = make(model, num_samples=5)
        optimizer = optax.sgd(0.1)
        state = training.start(parameters(), optimizer)
        step = jax.jit(training.make_step(loss, optimizer))
        keys = jax.random.split(jax.random.key(0), 4)
        before = None
        for _ in range(30):
            state, metrics = step(state, keys, jnp.tile(X[None], (4, 1)))
            before = metrics["bound"] if before is None else before
        assert metrics["bound"] > before


def test_a_straight_through_draw_is_discrete_and_its_slope_is_the_relaxed_one():
    logits, temperature = jnp.array([0.4, -1.0]), 0.7
    draw = straight_through(temperature)

    def value_of(key, logits):
        return draw(key, Bernoulli(logits)).value

    keys = jax.random.split(jax.random.key(0), 20_000)
    values = jax.jit(jax.vmap(value_of, (0, None)))(keys, logits)
    assert set(np.unique(values)) == {0.0, 1.0}
    assert_mean(values, scipy.special.expit(np.asarray(logits)))
    slopes = jax.jit(jax.vmap(jax.grad(lambda logits, key: jnp.sum(value_of(key, logits))), (None, 0)))(logits, keys)

    def expected(logit):
        def integrand(noise):
            soft = scipy.special.expit((logit + noise) / temperature)
            return soft * (1 - soft) / temperature * scipy.stats.logistic.pdf(noise)

        return scipy.integrate.quad(integrand, -30, 30)[0]

    assert_mean(slopes, [expected(float(logit)) for logit in logits])
    with pytest.raises(ValueError, match="not for a Normal"):
        draw(jax.random.key(0), Normal(jnp.zeros(2), jnp.zeros(2)))
    with pytest.raises(ValueError, match="temperature=0"):
        straight_through(0.0)


def test_one_hot_latents_in_a_model():
    """Samples, densities and the closed divergence by enumeration; both estimators give finite gradients."""
    logits = jnp.array([[0.3, -1.0, 0.8], [1.0, 0.0, -0.5]])
    q, p = OneHot(logits), OneHot(-logits)
    draws = jax.jit(jax.vmap(q.sample))(jax.random.split(jax.random.key(0), 20_000))
    assert_mean(draws, scipy.special.softmax(np.asarray(logits), axis=-1))
    np.testing.assert_array_equal(np.sum(draws, axis=-1), 1.0)
    corners = [jnp.stack([jnp.eye(3)[i], jnp.eye(3)[j]]) for i in range(3) for j in range(3)]
    log_q, log_p = (np.array([d.log_prob(corner) for corner in corners]) for d in (q, p))
    np.testing.assert_allclose(np.exp(log_q).sum(), 1.0, rtol=1e-6)
    np.testing.assert_allclose(kl(q, p, corners[0]), np.sum(np.exp(log_q) * (log_q - log_p)), rtol=1e-5)

    for draw in (score_function, straight_through(0.5)):
        model = vae(
            encoder=networks.mlp((5,), OneHot.parameters((4, 3))),
            decoder=networks.mlp((5,), Bernoulli.parameters((PIXELS,))),
            prior=Prior(lambda key, x: {}, lambda params, posterior: OneHot(jnp.zeros((4, 3)))),
            posterior=OneHot,
            draw=draw,
        )
        params = model.init(jax.random.key(0), X)
        value, gradient = jax.jit(
            jax.value_and_grad(lambda p, model=model: bounds.elbo(model, jax.random.key(1), p, X, num_samples=3))
        )(params)
        assert np.isfinite(value)
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


def test_the_concrete_density_integrates_to_one_over_the_simplex_and_is_that_of_its_draws():
    density = Concrete(jnp.array([0.5, -0.3, 0.1]), jnp.log(jnp.asarray(1.3)))
    edges = np.linspace(0, 1, 801)
    middle = 0.5 * (edges[1:] + edges[:-1])
    first, second = np.meshgrid(middle, middle, indexing="ij")
    inside = first + second < 1
    points = np.stack([first[inside], second[inside], 1 - first[inside] - second[inside]], axis=-1)
    logs = jnp.asarray(np.log(np.maximum(points, 1e-12)), jnp.float32)
    # from the density of y = ln z to that of z: divided by the product of z
    mass = np.exp(np.asarray(jax.jit(jax.vmap(density.log_prob))(logs), float) - np.asarray(logs, float).sum(axis=-1))
    cell = (edges[1] - edges[0]) ** 2
    np.testing.assert_allclose(mass.sum() * cell, 1.0, rtol=5e-3)
    mean = (mass[:, None] * points).sum(axis=0) * cell
    draws = np.exp(jax.jit(jax.vmap(density.sample))(jax.random.split(jax.random.key(0), 100_000)))
    np.testing.assert_allclose(draws.sum(axis=-1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(draws.mean(axis=0), mean, atol=5e-3)


def test_local_reparameterization_is_distributed_as_the_layer_with_drawn_weights():
    rng = np.random.default_rng(0)
    weights = Normal(*jnp.asarray([rng.normal(size=(4, 3)), rng.normal(size=(4, 3)) - 1], jnp.float32))
    inputs = jnp.array([0.5, -2.0, 0.0, 1.0])
    keys = jax.random.split(jax.random.key(0), 50_000)
    local = jax.jit(jax.vmap(lambda key: local_reparameterization(key, weights, inputs)))(keys)
    mean = np.asarray(inputs) @ np.asarray(weights.mean)
    covariance = np.diag(np.asarray(inputs) ** 2 @ np.exp(2 * np.asarray(weights.log_scale)))
    assert_mean(local, mean)
    centred = np.asarray(local) - mean
    assert_mean(centred[:, :, None] * centred[:, None, :], covariance)
    silent = jax.grad(lambda inputs: jnp.sum(local_reparameterization(keys[0], weights, inputs)))(jnp.zeros(4))
    assert np.all(np.isfinite(silent))


def test_a_relaxed_model_trains_by_its_path():
    classes = (2, 3)
    model = vae(
        encoder=networks.mlp((5,), OneHot.parameters(classes)),
        decoder=networks.mlp((5,), Bernoulli.parameters((PIXELS,))),
        prior=Prior(lambda key, x: {}, lambda params, posterior: Concrete(jnp.zeros(classes), jnp.zeros(()))),
        posterior=lambda logits: Concrete(logits, jnp.zeros(())),
        draw=pathwise,
    )
    params = model.init(jax.random.key(0), X)
    gradient = jax.jit(jax.grad(lambda p: bounds.iwae_bound(model, jax.random.key(1), p, X, num_samples=3)))(params)
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(gradient))


def test_a_class_that_cannot_be_takes_no_part():
    """0 ln 0 = 0: the density of the others, their divergence and all gradients are numbers."""
    some, all_of = OneHot(jnp.array([0.5, -jnp.inf, 1.0])), OneHot(jnp.array([0.2, 0.3, -0.4]))
    possible = np.array([0.5, 1.0]) - np.logaddexp(0.5, 1.0)
    value, gradient = jax.value_and_grad(lambda made: made.log_prob(jnp.eye(3)[0]))(some)
    np.testing.assert_allclose(value, possible[0], rtol=1e-6)
    assert np.all(np.isfinite(gradient.logits))
    assert some.log_prob(jnp.eye(3)[1]) == -np.inf
    others = np.array([0.2, -0.4]) - scipy.special.logsumexp([0.2, 0.3, -0.4])
    divergence, gradients = jax.value_and_grad(lambda q, p: kl(q, p, jnp.zeros(3)), argnums=(0, 1))(some, all_of)
    np.testing.assert_allclose(divergence, np.sum(np.exp(possible) * (possible - others)), rtol=1e-5)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradients))
    assert kl(some, some, jnp.zeros(3)) == 0
    assert kl(all_of, some, jnp.zeros(3)) == np.inf
    assert Multinomial(some.logits).log_prob(jnp.array([1.0, 1.0, 0.0])) == -np.inf
    np.testing.assert_allclose(
        Multinomial(some.logits).log_prob(jnp.array([2.0, 0.0, 0.0])), 2 * possible[0], rtol=1e-6
    )
