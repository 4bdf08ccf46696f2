"""Faults in what judges a trained model, and in its codes."""

from mutants.fault import Fault

ANNEALED = "evaluation/test_annealed.py"
PARTS = "evaluation/test_decomposition.py"
STREAMED = "evaluation/test_streamed_likelihood.py"

FAULTS = [
    Fault(
        "padded draws counted in a streamed likelihood",
        "evaluation/likelihood.py",
        "return total - jnp.log(jnp.asarray(num_samples, dtype))",
        "return total - jnp.log(jnp.asarray(num_chunks * chunk, dtype))",
        f"{STREAMED}::test_exactly_as_many_draws_as_asked_for_are_counted",
    ),
    Fault(
        "one key for all chunks of draws",
        "evaluation/likelihood.py",
        "jax.random.fold_in(key, index)",
        "jax.random.fold_in(key, 0)",
        f"{STREAMED}::test_every_draw_has_a_key_of_its_own",
    ),
    Fault(
        "the annealed start not tempered",
        "evaluation/annealed.py",
        "(1 - beta) * f_0.log_prob(z) + beta * log_joint(z)",
        "f_0.log_prob(z) + beta * log_joint(z)",
        f"{ANNEALED}::test_the_mean_weight_of_a_forward_chain_is_the_probability",
    ),
    Fault(
        "the reverse chains walk forwards",
        "evaluation/annealed.py",
        "(path[:-1], path[1:], step_size, keys), reverse=True)",
        "(path[:-1], path[1:], step_size, keys))",
        f"{ANNEALED}::test_the_mean_inverse_weight_of_a_reverse_chain_is_the_inverse_probability",
    ),
    Fault(
        "the mean of a reverse chain's weights, not of their inverses",
        "evaluation/annealed.py",
        "return -_log_mean_exp(-jax.vmap(log_weight)",
        "return _log_mean_exp(jax.vmap(log_weight)",
        f"{ANNEALED}::test_the_mean_inverse_weight_of_a_reverse_chain_is_the_inverse_probability",
    ),
    Fault(
        "ln N dropped from the aggregate posterior",
        "evaluation/decomposition.py",
        "logsumexp(jnp.sum(log_each, axis=1)) - log_num",
        "logsumexp(jnp.sum(log_each, axis=1))",
        f"{PARTS}::test_the_ratios_of_a_draw_are_those_of_scipy_and_add_up",
    ),
    Fault(
        "the total correlation with the other sign",
        "evaluation/decomposition.py",
        "total_correlation=log_aggregate - jnp.sum(log_marginals)",
        "total_correlation=jnp.sum(log_marginals) - log_aggregate",
        f"{PARTS}::test_the_ratios_of_a_draw_are_those_of_scipy_and_add_up",
    ),
    Fault(
        "N for N - 1 in the rate's standard error",
        "evaluation/decomposition.py",
        "jnp.std(rates, ddof=1)",
        "jnp.std(rates)",
        f"{PARTS}::test_rate_and_distortion_are_the_halves_of_the_bound",
    ),
    Fault(
        "active units by the standard deviation of their means",
        "evaluation/decomposition.py",
        "jnp.var(means, axis=0) > threshold",
        "jnp.std(means, axis=0) > threshold",
        f"{PARTS}::test_active_units_are_those_whose_mean_moves",
    ),
    Fault(
        "a draw's share of the weight not squared in the effective size",
        "evaluation/importance.py",
        "1 / jnp.sum(jnp.square(share))",
        "1 / jnp.sum(share)",
        "evaluation/test_importance.py::test_the_diagnostics_are_their_formulas",
    ),
    Fault(
        "the amortised bound in the gap of the family",
        "evaluation/gaps.py",
        "approximation=log_likelihood - jnp.mean(of_best)",
        "approximation=log_likelihood - jnp.mean(of_amortised)",
        "evaluation/test_gaps.py::test_both_gaps_are_their_closed_forms",
    ),
    Fault(
        "the prior dropped from the most probable code",
        "latent/map_codes.py",
        ".log_prob(x) + prior.log_prob(z)",
        ".log_prob(x)",
        "latent/test_map_codes.py",
    ),
    Fault(
        "a variance for a spread near an example",
        "latent/space.py",
        "mean + spread * (posterior.sample(key) - mean)",
        "mean + spread**2 * (posterior.sample(key) - mean)",
        "latent/test_latent.py",
    ),
    Fault(
        "missing pixels filled with their mean",
        "latent/imputation.py",
        "likelihood.sample(key_x).astype(x.dtype)",
        "likelihood.expectation().astype(x.dtype)",
        "latent/test_imputation.py",
    ),
    Fault(
        "the worst matching of clusters with classes",
        "evaluation/clusters.py",
        "maximize=True",
        "maximize=False",
        "evaluation/test_clusters.py::test_the_matching_is_the_best_of_all",
    ),
]
