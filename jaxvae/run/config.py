"""What a training run is made of, as frozen dataclasses: the command line, and the checks."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

BINARY = ("bernoulli", "pixelcnn")  # likelihoods of pixels that are zero or one
DISCRETE = ("bernoulli", "one-hot")  # posteriors of latents that are zeros and ones
WITHOUT_DENSITY = ("auxiliary", "hamiltonian")  # posteriors that are known by their draws alone
WITHOUT_PATH = ("score-function", "learned-baseline", "wake-wake", "wake-sleep")  # estimators
Binarize = Literal["none", "static", "dynamic", "threshold"]


@dataclass(frozen=True)
class Data:
    """The data set."""

    name: Annotated[str, tyro.conf.arg(aliases=["--data"])] = "digits"
    """digits, mnist, fashion_mnist, binarized_mnist, omniglot, frey_faces, tfds:NAME for a data set that
    tensorflow-datasets has prepared, or the path of an .npy or .npz file or of a folder of images."""
    binarize: Binarize | None = None
    """How grey pixels become zeros and ones: not at all; drawn once; drawn anew at every visit; cut at one half.
    By default dynamic under a Bernoulli likelihood, none under another."""
    split: str | None = None
    """The split by its name, 50k/10k/10k or 60k/10k for MNIST; by default the data set's own."""
    source: Path | None = None
    """A folder with the original files, read in place of the network (also: JAXVAE_DATA_SOURCE)."""
    folder: Path | None = None
    """Where prepared data is kept (also: JAXVAE_DATA); by default ~/.cache/jaxvae."""
    stream: Literal["auto", "yes", "no"] = "auto"
    """Whether the training images are read from disk as they are needed, or all lie on the device; the run is the
    same. auto: where they would take more than half of the device's memory."""


@dataclass(frozen=True)
class Model:
    """The model."""

    network: Literal["small", "iwae", "conv", "residual"] = "small"
    """small: one hidden layer of 400, ReLU; iwae: two of 200, tanh (Burda et al. 2016); conv: convolutions;
    residual: those with residual blocks."""
    latent: int = 20
    """The number of latent dimensions."""
    likelihood: Literal[
        "bernoulli",
        "continuous-bernoulli",
        "gaussian",
        "gaussian-shared",
        "gaussian-per-pixel",
        "structured",
        "laplace",
        "student-t",
        "categorical",
        "beta-binomial",
        "logistic-mixture",
        "pixelcnn",
    ] = "bernoulli"
    """The density of pixels: a Gaussian's scale is fixed, one learned number for all pixels (shared), or an output of
    the decoder for each pixel, with a covariance between neighbours (structured); categorical, beta-binomial and
    logistic-mixture are over the 256 levels of 8-bit pixels; pixelcnn draws binary pixels one by one."""
    structure: Literal["plain", "class-conditional", "quadrants", "quadrants-deterministic", "ladder", "vq"] = "plain"
    """plain: one latent vector; class-conditional: p(x|z, class); quadrants: the hidden pixels of an image given the
    visible quadrants, with a latent vector or (quadrants-deterministic) without; ladder: layers of latents, of which
    --model.latent is the lowest and each other half the one below; vq: an image of codes, a quarter as high and wide,
    each of --model.latent numbers."""
    classes: int = 10
    """How many classes there are: of images, for class-conditional; of each latent, for a one-hot posterior."""
    quadrants: Literal[1, 2, 3] = 1
    """How many quadrants are visible: the bottom left, then the top left too, then the top right too."""
    layers: int = 2
    """How many layers of latents a ladder has."""
    codes: int = 256
    """K, the number of vectors in the table of vq."""
    posterior: Literal[
        "normal",
        "full",
        "planar",
        "radial",
        "sylvester-orthogonal",
        "sylvester-householder",
        "sylvester-triangular",
        "iaf",
        "coupling",
        "spline",
        "mixture",
        "von-mises-fisher",
        "auxiliary",
        "hamiltonian",
        "semi-amortised",
        "bernoulli",
        "one-hot",
    ] = "normal"
    """q(z|x): a Gaussian, diagonal or full; one that is carried through flows; a mixture of Gaussians; a density on the
    sphere, whose prior is uniform; a Gaussian given an auxiliary variable, as large as z; a Gaussian whose draws are
    moved by leapfrog steps along p(x, z); a Gaussian refined by steps of ascent on the bound; zeros and ones
    (bernoulli) and latents of --model.classes classes each (one-hot), whose prior is uniform."""
    flows: int = 4
    """How many transforms a flow has."""
    amortised: bool = True
    """Whether the encoder gives the parameters of the flows, or they are the same for every image."""
    inference_steps: int = 5
    """How many leapfrog steps a hamiltonian posterior takes, or steps of ascent a semi-amortised one."""
    prior: Literal["standard", "learned", "mixture", "vamp", "flow", "autoregressive", "correlated"] = "standard"
    """p(z): N(0, I), or uniform on a sphere and over discrete latents; a Gaussian, or a density of discrete latents,
    with learned parameters; a mixture of Gaussians; the mixture of the posteriors of learned pseudo-inputs; a Gaussian
    carried through flows; one dimension given those before it; standard Gaussians with a correlation of 0.95 between
    neighbours, which no independent posterior can match (the delta-VAE)."""
    components: int = 500
    """Of a mixture prior or a VampPrior; a mixture posterior has ten."""
    pixel_condition: Literal["local", "global"] = "local"
    """What the code tells pixelcnn: something of its own for each pixel, or the same for all of them, which a posterior
    easily leaves unused."""
    pixel_radius: int = 3
    """How many rows and columns back the first layer of pixelcnn sees."""
    pixel_layers: int = 3
    """The layers of pixelcnn after the first, each of which sees one pixel further."""
    scale: float = 0.1
    """The standard deviation of a pixel under the fixed Gaussian, pixels being in [0, 1]."""
    mean_bias: bool = False
    """Start the decoder's output bias from the mean pixel of the training data, as the authors of iwae do: without it
    that network learns slowly at first, and its posterior may collapse."""
    width: int | None = None
    """The units of every hidden layer of small or iwae, in place of 400 or 200."""


@dataclass(frozen=True)
class Objective:
    """What training ascends."""

    bound: Literal["elbo", "iwae", "renyi", "ciwae", "miwae", "piwae", "tvo"] = "elbo"
    """The bound on log p(x): also Renyi's of --objective.alpha; the ELBO and IWAE mixed (ciwae, by
    --objective.elbo-share); IWAE averaged over --objective.groups of draws (miwae), or so for the encoder alone
    (piwae); the thermodynamic one of --objective.intervals."""
    num_samples: int = 1
    """k, the number of posterior draws for each example."""
    estimator: Literal[
        "pathwise",
        "sticking-the-landing",
        "doubly-reparameterized",
        "generalized-doubly-reparameterized",
        "score-function",
        "learned-baseline",
        "straight-through",
        "wake-wake",
        "wake-sleep",
    ] = "pathwise"
    """The gradient estimator; the value of the bound is the same for all. Of draws without a path: the score function,
    with the other draws or a network for its baseline (learned-baseline), and reweighted wake-sleep, whose encoder
    follows the true posterior at the image (wake-wake) or at dreams (wake-sleep). straight-through gives discrete
    latents the slope of relaxed ones."""
    temperature: float = 1.0
    """Of straight-through: a low one has less bias and more noise."""
    alpha: float = 0.5
    """Of Renyi's bound: 1 is the ELBO, 0 IWAE, -inf the largest weight alone."""
    elbo_share: float = 0.5
    """The share of the ELBO in ciwae."""
    groups: int = 5
    """Of draws, for miwae and piwae: a divisor of --objective.num-samples."""
    intervals: int = 5
    """Of the partition of tvo, which adapts to every image."""
    beta: float = 1.0
    """The weight of the latent part in the loss; the reported bound is never weighted."""
    warmup_epochs: int = 0
    """Raise that weight from zero over so many epochs."""
    cycle_epochs: int = 0
    """Raise it again every so many epochs, in the first half of them."""
    free_bits: float | None = None
    """Ask nothing for the first so many nats of each latent group, on average over a batch."""
    capacity: float | None = None
    """Ask for a divergence of so many nats, reached along a line over the run, and weigh the distance by
    --objective.beta."""
    encoder_steps: int = 0
    """Move the encoder alone so many times before each step, on as many parts of the batch."""
    encoder_epochs: int = 5
    """How long it is given these steps of its own: the first epochs, in which it would lag behind."""


@dataclass(frozen=True)
class Optimizer:
    """How training ascends it: Adam, through optax."""

    lr: float = 1e-3
    """The learning rate, the highest one where there is a schedule."""
    schedule: Literal["constant", "cosine"] = "constant"
    """Whether the learning rate falls to zero along a cosine over the whole run."""
    warmup_steps: int = 0
    """Raise the learning rate from zero over so many steps."""
    clip: float | None = None
    """Scale gradients down to this global norm."""
    average: float | None = None
    """Keep an exponential moving average of the parameters with this decay, and evaluate it."""


@dataclass(frozen=True)
class Evaluation:
    """What is measured on the test set at the end."""

    num_samples: int = 1000
    """k of the estimate of log p(x) by importance sampling; 0 leaves it out."""
    examples: int | None = None
    """Estimate log p(x) on so many test examples only, taken from all over the test set; by default on all."""


@dataclass(frozen=True)
class Checkpoints:
    """Saving, and stopping at any moment."""

    seconds: float = 15.0
    """Save at most every so many seconds; 0 saves after every call of the device."""
    keep: int = 2
    """How many of the latest checkpoints are kept; with two, a run whose latest is damaged goes on from the other."""


@dataclass(frozen=True)
class Config:
    """Train a variational auto-encoder, evaluate it, and write a report.

    python -m experiments.train --data mnist --model.latent 20 --optimizer.lr 1e-3
    """

    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)
    objective: Objective = field(default_factory=Objective)
    optimizer: Optimizer = field(default_factory=Optimizer)
    evaluation: Evaluation = field(default_factory=Evaluation)
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    epochs: int = 100
    """Passes over the training set."""
    batch_size: int = 100
    """Examples in one step."""
    accumulate: int = 1
    """Take every batch in so many parts, one after the other: the same numbers in less memory."""
    remat: int | None = None
    """Hold so many of the k draws at once, and compute the decoder again for the gradient: less memory, more time."""
    precision: Literal["float32", "bf16"] = "float32"
    """What the networks compute in. Parameters, densities and bounds are float32 in any case."""
    seed: int = 0
    """All randomness of the run comes from it."""
    num_seeds: int = 1
    """Train so many seeds (seed, seed + 1, ...), and report their mean and standard error. An accelerator trains them
    in one program, a CPU one after another, which is faster there."""


def binarization(config: Config) -> Binarize:
    """How the pixels become zeros and ones, the default resolved.

    Args:
        config: of a run.

    Returns:
        The configured word; without one, "dynamic" for grey pixels under a Bernoulli, else "none".
    """
    if config.data.binarize is not None:
        return config.data.binarize
    grey = config.data.name != "binarized_mnist"
    return "dynamic" if grey and config.model.likelihood in BINARY else "none"


def differences(left: Any, right: Any, prefix: str = "--") -> list[str]:
    """The options in which two configurations differ.

    Args:
        left: a configuration, or a part of one.
        right: another of the same type.
        prefix: before each name.

    Returns:
        The options' names.
    """
    found: list[str] = []
    for item in dataclasses.fields(left):
        a, b = getattr(left, item.name), getattr(right, item.name)
        name = prefix + item.name.replace("_", "-")
        if dataclasses.is_dataclass(a):
            found += differences(a, b, name + ".")
        elif a != b:
            found.append(name)
    return found
