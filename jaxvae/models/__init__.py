"""Kinds of VAE, each a way to produce terms."""

from jaxvae.models.auxiliary import DrawnPosterior, auxiliary_vae
from jaxvae.models.chain import Chain, Sequence, Steps, Unrolled, ended, keys_of, total
from jaxvae.models.checked import Checked, Support, checked, support
from jaxvae.models.codebook import Codebook, Nearest, UniformCodes, averaged, nearest, perplexity, revived
from jaxvae.models.conditional import conditional_vae, given, reading_both, regression, the_same_for_all, with_planes
from jaxvae.models.denoising import Corrupt, denoising, gaussian_noise, masking, salt_and_pepper
from jaxvae.models.dequantized import dequantized
from jaxvae.models.few_labels import (
    ClassAndCode,
    adding_both,
    analogies,
    balanced_labels,
    class_probabilities,
    classify,
    drawn_features,
    extended_objective,
    labelled_vae,
    repeated,
)
from jaxvae.models.generalized import generalized_doubly_reparameterized
from jaxvae.models.given import ConditionalPrior, Conditioned, Given
from jaxvae.models.hamiltonian import hamiltonian_vae
from jaxvae.models.ladder import Codes, TopDown, combined, ladder_vae
from jaxvae.models.linear import exact_posterior, linear_vae, log_marginal, parameters, probabilistic_pca
from jaxvae.models.missing import Imputed, imputed, multiply_imputed, reading_cells
from jaxvae.models.perceptual import Features, Perceptual, perceptual_vae
from jaxvae.models.quadrants import completed, of_hidden, visible_quadrants
from jaxvae.models.semi_amortised import semi_amortised
from jaxvae.models.sequences import Family, deep_markov, variational_recurrent
from jaxvae.models.stacked import held, stacked
from jaxvae.models.vq import negative_bound, straight_through, vq_vae

__all__ = [
    "Chain",
    "Checked",
    "ClassAndCode",
    "Codebook",
    "Codes",
    "ConditionalPrior",
    "Conditioned",
    "Corrupt",
    "DrawnPosterior",
    "Family",
    "Features",
    "Given",
    "Imputed",
    "Nearest",
    "Perceptual",
    "Sequence",
    "Steps",
    "Support",
    "TopDown",
    "UniformCodes",
    "Unrolled",
    "adding_both",
    "analogies",
    "auxiliary_vae",
    "averaged",
    "balanced_labels",
    "checked",
    "class_probabilities",
    "classify",
    "combined",
    "completed",
    "conditional_vae",
    "deep_markov",
    "denoising",
    "dequantized",
    "drawn_features",
    "ended",
    "exact_posterior",
    "extended_objective",
    "gaussian_noise",
    "generalized_doubly_reparameterized",
    "given",
    "hamiltonian_vae",
    "held",
    "imputed",
    "keys_of",
    "labelled_vae",
    "ladder_vae",
    "linear_vae",
    "log_marginal",
    "masking",
    "multiply_imputed",
    "nearest",
    "negative_bound",
    "of_hidden",
    "parameters",
    "perceptual_vae",
    "perplexity",
    "probabilistic_pca",
    "reading_both",
    "reading_cells",
    "regression",
    "repeated",
    "revived",
    "salt_and_pepper",
    "semi_amortised",
    "stacked",
    "straight_through",
    "support",
    "the_same_for_all",
    "total",
    "variational_recurrent",
    "visible_quadrants",
    "vq_vae",
    "with_planes",
]
