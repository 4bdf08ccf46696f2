"""Faults in flows and priors."""

from mutants.fault import Fault

DETERMINANTS = "flows/test_posteriors.py::test_determinants_and_inverses"

FAULTS = [
    Fault(
        "a flow adds its log-determinant",
        "flows/flow.py",
        "log_density = log_density - log_determinant",
        "log_density = log_density + log_determinant",
        "flows/test_edges.py",
    ),
    Fault(
        "tanh² for 1 - tanh² in the planar determinant",
        "flows/planar.py",
        "jnp.log(square + (1 - square) * slope)",
        "jnp.log((1 - square) + square * slope)",
        f"{DETERMINANTS}[planar]",
    ),
    Fault(
        "D for D - 1 in the radial determinant",
        "flows/radial.py",
        "(dimensions - 1) * jnp.log(factor)",
        "dimensions * jnp.log(factor)",
        f"{DETERMINANTS}[radial]",
    ),
    Fault(
        "one of the two diagonals left out of Sylvester's determinant",
        "flows/sylvester.py",
        "* outer * inner))",
        "* outer))",
        f"{DETERMINANTS}[triangular sylvester]",
    ),
    Fault(
        "a triangle of Sylvester's not transposed",
        "flows/sylvester.py",
        "y @ jnp.tril(self.triangles, -1)",
        "jnp.tril(self.triangles, -1) @ y",
        f"{DETERMINANTS}[triangular sylvester]",
    ),
    Fault(
        "a projection for a mirror",
        "flows/sylvester.py",
        "z - 2 * jnp.sum(normal * z) * normal",
        "z - jnp.sum(normal * z) * normal",
        "flows/test_edges.py",
    ),
    Fault(
        "σ for ln σ in the determinant of an inverse autoregressive flow",
        "flows/autoregressive.py",
        "mean), jnp.sum(log_sigmoid(gate))",
        "mean), jnp.sum(sigmoid(gate))",
        f"{DETERMINANTS}[inverse autoregressive]",
    ),
    Fault(
        "≤ for < in its masks",
        "flows/autoregressive.py",
        "np.arange(size)[:, None] < seen[None]",
        "np.arange(size)[:, None] <= seen[None]",
        f"{DETERMINANTS}[inverse autoregressive]",
    ),
    Fault(
        "a coupling's log-determinant with the other sign",
        "flows/coupling.py",
        "jnp.exp(log_scale) + shift, log_scale",
        "jnp.exp(log_scale) + shift, -log_scale",
        f"{DETERMINANTS}[affine coupling]",
    ),
    Fault(
        "the square of a slope forgotten in the spline",
        "flows/splines.py",
        "return 2 * jnp.log(slope) + jnp.log(along)",
        "return jnp.log(slope) + jnp.log(along)",
        f"{DETERMINANTS}[neural spline]",
    ),
    Fault(
        "the log-determinant of the spline's inverse dropped",
        "flows/splines.py",
        "jnp.where(inside, -_log_slope(piece, place), 0)",
        "jnp.zeros_like(y)",
        f"{DETERMINANTS}[neural spline]",
    ),
    Fault(
        "no gradient to the pseudo-inputs",
        "priors/vamp.py",
        'jax.nn.sigmoid(params["pseudo_inputs"])',
        'jax.nn.sigmoid(jax.lax.stop_gradient(params["pseudo_inputs"]))',
        "priors/test_priors.py",
    ),
    Fault(
        "one key for all parameters of a learned prior",
        "priors/prior.py",
        "keys = jax.random.split(key, len(free))",
        "keys = [key] * len(free)",
        "priors/test_priors.py::test_parameters_that_start_by_chance_start_apart",
    ),
    Fault(
        "D - 1 for D - 2 in the committed rate",
        "priors/correlated.py",
        "(dimensions - 2) * jnp.log1p",
        "(dimensions - 1) * jnp.log1p",
        "distributions/test_correlated.py",
    ),
    Fault(
        "the codes above not from the row above",
        "priors/recurrent_codes.py",
        "jnp.pad(above[:-1], ((1, 0), (0, 0), (0, 0)))",
        "above",
        "priors/test_recurrent_codes.py",
    ),
]
