"""Faults in draws and in what is made of them, bounds."""

from mutants.fault import Fault

FAMILY = "bounds/test_bound_family.py"
BOUNDS = "bounds/test_bounds.py"
DRAWS = "draws/test_draws.py"
DISCRETE = "distributions/test_discrete.py"
LEAPFROG = "draws/test_leapfrog.py"

FAULTS = [
    Fault(
        "the score left in when sticking the landing",
        "draws/estimators.py",
        "value, frozen = posterior.sample(key), Frozen(posterior)",
        "value, frozen = posterior.sample(key), posterior",
        "models/test_linear.py::test_with_the_exact_posterior_the_path_gradient_of_the_encoder_vanishes",
    ),
    Fault(
        "the doubly reparameterised path not weighed",
        "draws/estimators.py",
        "return (normalised_weight * value_cotangent,)",
        "return (value_cotangent,)",
        DRAWS,
    ),
    Fault(
        "a path through a draw that has none",
        "draws/estimators.py",
        "value = jax.lax.stop_gradient(posterior.sample(key))",
        "value = posterior.sample(key)",
        f"{DRAWS}::test_a_draw_by_its_score_has_no_path_even_where_the_density_has_one",
    ),
    Fault(
        "no slope through a straight-through draw",
        "draws/estimators.py",
        "(soft - jax.lax.stop_gradient(soft))",
        "(soft - soft)",
        f"{DISCRETE}::test_a_straight_through_draw_is_discrete_and_its_slope_is_the_relaxed_one",
    ),
    Fault(
        "inputs not squared in the local variance",
        "draws/estimators.py",
        "jnp.square(inputs) @ jnp.square(scales)",
        "jnp.abs(inputs) @ jnp.square(scales)",
        f"{DISCRETE}::test_local_reparameterization_is_distributed_as_the_layer_with_drawn_weights",
    ),
    Fault(
        "a whole last kick for half of it",
        "draws/leapfrog.py",
        "return z, momentum + 0.5 * step_size * force, force",
        "return z, momentum + step_size * force, force",
        LEAPFROG,
    ),
    Fault(
        "the kinetic energy with the other sign in the acceptance",
        "draws/leapfrog.py",
        "- 0.5 * jnp.sum(jnp.square(end)",
        "+ 0.5 * jnp.sum(jnp.square(end)",
        LEAPFROG,
    ),
    Fault(
        "every move accepted",
        "draws/leapfrog.py",
        "jnp.where(accepted, proposal, z), acceptance",
        "proposal, acceptance",
        LEAPFROG,
    ),
    Fault(
        "ln k dropped",
        "bounds/base.py",
        "logsumexp(log_weight) - jnp.log(jnp.asarray(log_weight.shape[0], log_weight.dtype))",
        "logsumexp(log_weight)",
        f"{BOUNDS}::test_the_reductions_by_numpy",
    ),
    Fault(
        "ln (k + 1) for ln k",
        "bounds/base.py",
        "jnp.asarray(log_weight.shape[0], log_weight.dtype)",
        "jnp.asarray(log_weight.shape[0] + 1, log_weight.dtype)",
        f"{BOUNDS}::test_the_reductions_by_numpy",
    ),
    Fault(
        "the divergence a mean over latent groups",
        "bounds/base.py",
        "jnp.mean(terms.log_likelihood - jnp.sum(terms.kl, axis=-1))",
        "jnp.mean(terms.log_likelihood - jnp.mean(terms.kl, axis=-1))",
        f"{BOUNDS}::test_the_reductions_by_numpy",
    ),
    Fault(
        "k - 2 others in a draw's baseline",
        "bounds/base.py",
        "jnp.arange(1, k)[None]) % k",
        "jnp.arange(1, max(k - 1, 2))[None]) % k",
        f"{FAMILY}::test_leaving_each_draw_out_by_a_loop",
    ),
    Fault(
        "a draw in its own baseline",
        "bounds/base.py",
        "jnp.arange(1, k)[None]) % k",
        "jnp.arange(k - 1)[None]) % k",
        f"{FAMILY}::test_leaving_each_draw_out_by_a_loop",
    ),
    Fault(
        "the baseline added",
        "bounds/base.py",
        "jax.lax.stop_gradient(value - without_each(reduce, terms))",
        "jax.lax.stop_gradient(value + without_each(reduce, terms))",
        f"{DISCRETE}::test_the_value_is_the_bound_and_other_draws_lower_the_variance",
    ),
    Fault(
        "the weight that is handed back scaled with the loss",
        "bounds/base.py",
        "return cotangent * normalised_weight, normalised_weight",
        "return cotangent * normalised_weight, cotangent * normalised_weight",
        DRAWS,
    ),
    Fault(
        "the likelihood tempered too",
        "bounds/base.py",
        "log_weight = terms.log_likelihood + beta * (log_weight - terms.log_likelihood)",
        "log_weight = beta * log_weight",
        f"{BOUNDS}::test_tempered_terms_by_hand",
    ),
    Fault(
        "one key for all draws",
        "bounds/base.py",
        "keys = jax.random.split(key, num_samples)",
        "keys = jax.random.split(key, 1)[jnp.zeros(num_samples, int)]",
        f"{BOUNDS}::test_draws_are_independent_and_the_samples_axis_is_first",
    ),
    Fault(
        "one key for all examples of a batch",
        "bounds/base.py",
        "keys = jax.random.split(key, len(jax.tree.leaves(xs)[0]))",
        "keys = jax.random.split(key, 1)[jnp.zeros(len(jax.tree.leaves(xs)[0]), int)]",
        f"{BOUNDS}::test_examples_of_a_batch_have_independent_draws",
    ),
    Fault(
        "Rényi's 1 - α for 1/(1 - α)",
        "bounds/renyi.py",
        "log_mean_exp(powers)) / power",
        "log_mean_exp(powers)) * power",
        FAMILY,
    ),
    Fault(
        "the order of a chi bound off by one",
        "bounds/renyi.py",
        "renyi(alpha=1 - order)",
        "renyi(alpha=2 - order)",
        FAMILY,
    ),
    Fault(
        "left and right heights swapped",
        "bounds/thermodynamic.py",
        "((of_left, heights[:-1]), (of_right, heights[1:]))",
        "((of_left, heights[1:]), (of_right, heights[:-1]))",
        FAMILY,
    ),
    Fault(
        "tempered weights normalised over the temperatures",
        "bounds/thermodynamic.py",
        "jax.nn.softmax(scores, axis=1)",
        "jax.nn.softmax(scores, axis=0)",
        FAMILY,
    ),
    Fault(
        "the two shares of a combined bound swapped",
        "bounds/multisample.py",
        "beta * average(terms) + (1 - beta) * importance_weighted(terms)",
        "(1 - beta) * average(terms) + beta * importance_weighted(terms)",
        FAMILY,
    ),
    Fault(
        "number and size of the groups swapped",
        "bounds/multisample.py",
        "field.reshape(num_groups, -1, *field.shape[1:])",
        "field.reshape(-1, num_groups, *field.shape[1:])",
        FAMILY,
    ),
]
