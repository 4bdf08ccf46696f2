"""How good a model is: log p(x) from both sides, and what the bound is made of."""

from jaxvae.evaluation.annealed import (
    Annealed,
    Bidirectional,
    Start,
    annealed_log_likelihood,
    bidirectional,
    from_posterior,
    from_prior,
    reverse_annealed,
    sigmoid_path,
)
from jaxvae.evaluation.decomposition import (
    KLDecomposition,
    KLParts,
    RateDistortion,
    active_units,
    collapse_sentence,
    decompose_kl,
    kl_parts,
    mutual_information,
    rate_distortion,
)
from jaxvae.evaluation.gaps import InferenceGap, best_posterior, inference_gap
from jaxvae.evaluation.importance import ImportanceEstimate, diagnose, importance_estimate, pareto_shape, trust_sentence
from jaxvae.evaluation.likelihood import log_likelihood, log_weight_of, prior_log_likelihood

__all__ = [
    "Annealed",
    "Bidirectional",
    "ImportanceEstimate",
    "InferenceGap",
    "KLDecomposition",
    "KLParts",
    "RateDistortion",
    "Start",
    "active_units",
    "annealed_log_likelihood",
    "best_posterior",
    "bidirectional",
    "collapse_sentence",
    "decompose_kl",
    "diagnose",
    "from_posterior",
    "from_prior",
    "importance_estimate",
    "inference_gap",
    "kl_parts",
    "log_likelihood",
    "log_weight_of",
    "mutual_information",
    "pareto_shape",
    "prior_log_likelihood",
    "rate_distortion",
    "reverse_annealed",
    "sigmoid_path",
    "trust_sentence",
]
