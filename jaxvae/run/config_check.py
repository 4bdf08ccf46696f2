"""The checks of a configuration: what cannot be is refused with a sentence before anything begins."""

from jaxvae.run import RunError
from jaxvae.run import config as configuration


def check(config: configuration.Config) -> None:
    """Refuse what cannot be.

    Args:
        config: of a run.

    Raises:
        RunError: the first impossible value or combination, and what to do.
    """
    at_least_one = {
        "--model.latent": config.model.latent,
        "--model.width": 1 if config.model.width is None else config.model.width,
        "--model.classes": config.model.classes,
        "--model.layers": config.model.layers,
        "--model.codes": config.model.codes,
        "--model.flows": config.model.flows,
        "--model.inference-steps": config.model.inference_steps,
        "--model.pixel-radius": config.model.pixel_radius,
        "--model.components": config.model.components,
        "--objective.num-samples": config.objective.num_samples,
        "--objective.groups": config.objective.groups,
        "--objective.intervals": config.objective.intervals,
        "--epochs": config.epochs,
        "--batch-size": config.batch_size,
        "--accumulate": config.accumulate,
        "--remat": 1 if config.remat is None else config.remat,
        "--num-seeds": config.num_seeds,
        "--checkpoints.keep": config.checkpoints.keep,
    }
    not_negative: dict[str, float] = {
        "--objective.beta": config.objective.beta,
        "--objective.warmup-epochs": config.objective.warmup_epochs,
        "--objective.cycle-epochs": config.objective.cycle_epochs,
        "--model.pixel-layers": config.model.pixel_layers,
        "--objective.encoder-steps": config.objective.encoder_steps,
        "--objective.encoder-epochs": config.objective.encoder_epochs,
        "--optimizer.warmup-steps": config.optimizer.warmup_steps,
        "--evaluation.num-samples": config.evaluation.num_samples,
        "--checkpoints.seconds": config.checkpoints.seconds,
        "--seed": config.seed,
    }
    positive: dict[str, float | None] = {
        "--optimizer.lr": config.optimizer.lr,
        "--optimizer.clip": config.optimizer.clip,
        "--model.scale": config.model.scale,
        "--objective.temperature": config.objective.temperature,
        "--objective.free-bits": config.objective.free_bits,
        "--objective.capacity": config.objective.capacity,
        "--evaluation.examples": config.evaluation.examples,
    }
    for name, count in at_least_one.items():
        _refuse_if(count < 1, f"{name} {count} must be at least 1")
    for name, amount in not_negative.items():
        _refuse_if(not amount >= 0, f"{name} {amount} must not be negative")
    for name, given in positive.items():
        _refuse_if(given is not None and not given > 0, f"{name} {given} must be positive")
    average = config.optimizer.average
    _refuse_if(average is not None and not 0 < average < 1, f"--optimizer.average {average} must lie between 0 and 1")
    _refuse_if(
        config.batch_size % config.accumulate > 0,
        f"--batch-size {config.batch_size} cannot be taken in --accumulate {config.accumulate} parts of one size",
    )
    _refuse_if(
        config.num_seeds > 1 and config.data.stream == "yes",
        f"--num-seeds {config.num_seeds} visits the data in as many orders at once: leave out --data.stream yes",
    )
    _refuse_if(
        config.objective.warmup_epochs > config.epochs,
        f"--objective.warmup-epochs {config.objective.warmup_epochs} is longer than the run of --epochs "
        f"{config.epochs}",
    )
    _refuse_if(
        config.model.likelihood not in configuration.BINARY and configuration.binarization(config) != "none",
        f"--model.likelihood {config.model.likelihood} is a density of grey pixels: give --data.binarize none",
    )
    _check_objective(config.objective, config)
    _check_structure(config)
    _check_latents(config)
    _check_estimator(config)


def _check_objective(objective: configuration.Objective, config: configuration.Config) -> None:
    """Refuse a bound, an estimator and a loss that cannot be together."""
    doubly = objective.estimator in ("doubly-reparameterized", "generalized-doubly-reparameterized")
    weighed = objective.beta != 1 or objective.warmup_epochs > 0 or objective.cycle_epochs > 0
    _refuse_if(
        doubly and objective.bound not in ("iwae", "miwae"),
        f"--objective.estimator {objective.estimator} belongs to the importance-weighted bound, not to "
        f"{objective.bound}: give --objective.bound iwae, or --objective.estimator sticking-the-landing",
    )
    _refuse_if(
        doubly and weighed,
        "the doubly reparameterised estimator is unbiased for a beta of 1 alone: leave out --objective.beta, "
        "--objective.warmup-epochs and --objective.cycle-epochs, or give --objective.estimator pathwise",
    )
    grouped = objective.bound in ("miwae", "piwae")
    _refuse_if(
        grouped and objective.num_samples % objective.groups > 0,
        f"--objective.num-samples {objective.num_samples} cannot be taken in --objective.groups {objective.groups} of "
        "one size",
    )
    _refuse_if(
        not objective.alpha < float("inf"), f"--objective.alpha {objective.alpha} must be a number, or -inf for VR-max"
    )
    _refuse_if(
        not 0 <= objective.elbo_share <= 1, f"--objective.elbo-share {objective.elbo_share} must lie between 0 and 1"
    )
    _refuse_if(
        objective.cycle_epochs > 0 and objective.warmup_epochs > 0,
        "--objective.warmup-epochs raises the weight once and --objective.cycle-epochs again and again: give one",
    )
    other_price = objective.free_bits is not None or objective.capacity is not None
    _refuse_if(
        objective.free_bits is not None and objective.capacity is not None,
        "--objective.free-bits and --objective.capacity are two prices for the same divergence: give one",
    )
    _refuse_if(
        other_price and (objective.bound != "elbo" or config.remat is not None or config.accumulate > 1),
        "--objective.free-bits and --objective.capacity look at the mean divergence of a whole batch under the ELBO: "
        "leave out --objective.bound, --remat and --accumulate",
    )
    _refuse_if(
        other_price and objective.estimator in configuration.WITHOUT_PATH,
        "--objective.free-bits and --objective.capacity need draws with a path: give --objective.estimator pathwise, "
        f"not {objective.estimator}",
    )
    _refuse_if(
        objective.free_bits is not None and weighed,
        "--objective.free-bits is a price without a weight: leave out --objective.beta, --objective.warmup-epochs and "
        "--objective.cycle-epochs",
    )
    _refuse_if(
        objective.capacity is not None and (objective.warmup_epochs > 0 or objective.cycle_epochs > 0),
        "--objective.capacity grows over the run by itself: leave out --objective.warmup-epochs and "
        "--objective.cycle-epochs",
    )
    _refuse_if(
        objective.bound == "piwae" and (weighed or config.remat is not None),
        "--objective.bound piwae has two bounds of its own: leave out --objective.beta, --objective.warmup-epochs, "
        "--objective.cycle-epochs and --remat",
    )
    _refuse_if(
        objective.encoder_steps > 0 and config.batch_size % max(1, objective.encoder_steps) > 0,
        f"--batch-size {config.batch_size} cannot be taken in --objective.encoder-steps {objective.encoder_steps} "
        "parts of one size",
    )


def _check_latents(config: configuration.Config) -> None:
    """Refuse a posterior, a prior and an estimator that cannot be together."""
    model, estimator = config.model, config.objective.estimator
    named = f"--model.posterior {model.posterior}"
    _refuse_if(
        model.structure != "plain" and (model.posterior != "normal" or model.prior != "standard"),
        f"--model.structure {model.structure} has a posterior and a prior of its own: leave out --model.posterior and "
        "--model.prior",
    )
    _refuse_if(
        model.posterior in ("coupling", "spline") and model.latent < 2,
        f"{named} lets one half of the latents move the other: give --model.latent 2 at least",
    )
    _refuse_if(
        model.prior == "correlated" and model.latent < 2,
        "--model.prior correlated has neighbours: give --model.latent 2 at least",
    )
    connected = model.network in ("small", "iwae")
    _refuse_if(
        model.width is not None and not connected,
        f"--model.width {model.width} is of fully connected networks: give --model.network small or iwae, or leave it "
        "out",
    )
    _refuse_if(
        model.pixel_condition == "global" and not connected,
        "--model.pixel-condition global is a vector, and convolutions give maps: give --model.network small or iwae, "
        f"not {model.network}",
    )
    on_sphere = model.posterior == "von-mises-fisher"
    _refuse_if(
        on_sphere and model.prior not in ("standard", "vamp"),
        f"{named} lies on the sphere, and --model.prior {model.prior} does not: leave it out, for the uniform density",
    )
    _refuse_if(on_sphere and model.latent < 3, f"{named} needs --model.latent 3 at least, not {model.latent}")
    discrete = model.posterior in configuration.DISCRETE
    _refuse_if(
        discrete and model.prior not in ("standard", "learned", "vamp"),
        f"--model.prior {model.prior} is a density of real numbers, and {named} has latents that are discrete: give "
        "--model.prior standard, learned or vamp",
    )
    _refuse_if(
        model.posterior == "one-hot" and model.classes < 2,
        f"{named} has latents of several classes each: give --model.classes 2 at least, not {model.classes}",
    )
    _refuse_if(
        model.posterior == "auxiliary" and model.prior == "vamp",
        f"--model.prior vamp is a mixture of the posteriors' densities, and that of {named} cannot be evaluated: give "
        "another prior, or --model.posterior normal",
    )
    _refuse_if(
        model.prior != "learned" and estimator == "generalized-doubly-reparameterized",
        f"--objective.estimator {estimator} needs the path of a Gaussian prior with parameters: give --model.prior "
        "learned, or --objective.estimator doubly-reparameterized",
    )


def _check_estimator(config: configuration.Config) -> None:
    """Refuse an estimator that a posterior, a bound or a structure cannot serve."""
    model, objective = config.model, config.objective
    named, posterior = f"--objective.estimator {objective.estimator}", f"--model.posterior {model.posterior}"
    discrete = model.posterior in configuration.DISCRETE
    _refuse_if(
        discrete and objective.estimator not in (*configuration.WITHOUT_PATH, "straight-through"),
        f"{named} needs draws with a path, and the latents of {posterior} are discrete: give --objective.estimator "
        f"straight-through, or one of {', '.join(configuration.WITHOUT_PATH)}",
    )
    _refuse_if(
        objective.estimator == "straight-through" and not discrete,
        f"{named} relaxes discrete latents, and those of {posterior} are real numbers: give --model.posterior "
        "bernoulli or one-hot, or --objective.estimator pathwise",
    )
    _refuse_if(
        model.posterior in configuration.WITHOUT_DENSITY and objective.estimator != "pathwise",
        f"{named} looks at the posterior's density, and that of {posterior} cannot be evaluated: give "
        "--objective.estimator pathwise",
    )
    wake = objective.estimator in ("wake-wake", "wake-sleep")
    _refuse_if(
        wake and objective.bound != "iwae",
        f"{named} belongs to the importance-weighted bound, not to {objective.bound}: give --objective.bound iwae",
    )
    _refuse_if(
        wake and (objective.beta != 1 or objective.warmup_epochs > 0 or objective.cycle_epochs > 0),
        f"{named} follows the true posterior, which has no weight: leave out --objective.beta, "
        "--objective.warmup-epochs and --objective.cycle-epochs",
    )
    _refuse_if(
        objective.estimator == "learned-baseline" and objective.bound == "piwae",
        f"{named} foretells one bound, and piwae has two: give another --objective.bound, or --objective.estimator "
        "score-function",
    )
    _refuse_if(
        (wake or objective.estimator == "learned-baseline") and model.structure != "plain",
        f"{named} is for --model.structure plain, not {model.structure}: give --objective.estimator score-function",
    )


def _check_structure(config: configuration.Config) -> None:
    """Refuse what a structure cannot be combined with."""
    structure, model, objective = config.model.structure, config.model, config.objective
    named = f"--model.structure {structure}"
    _refuse_if(
        structure in ("ladder", "vq") and objective.estimator != "pathwise",
        f"{named} is trained by --objective.estimator pathwise, not by {objective.estimator}",
    )
    _refuse_if(
        structure == "ladder" and model.network not in ("small", "iwae"),
        f"{named} is made of fully connected networks: give --model.network small or iwae, not {model.network}",
    )
    _refuse_if(
        structure == "vq" and model.network not in ("conv", "residual"),
        f"{named} is made of convolutions: give --model.network conv or residual, not {model.network}",
    )
    _refuse_if(
        structure == "vq" and (objective.bound != "elbo" or objective.num_samples > 1),
        f"{named} has one code for each image and no importance weights: leave out --objective.bound and "
        "--objective.num-samples",
    )
    _refuse_if(
        structure == "vq" and (objective.beta != 1 or objective.warmup_epochs > 0 or config.remat is not None),
        f"{named} has a divergence that nothing moves: leave out --objective.beta, --objective.warmup-epochs "
        "and --remat",
    )
    _refuse_if(
        structure.startswith("quadrants") and model.likelihood in ("logistic-mixture", "structured", "pixelcnn"),
        f"{named} needs a likelihood of each pixel by itself: give another --model.likelihood than {model.likelihood}",
    )


def _refuse_if(impossible: bool, sentence: str) -> None:
    if impossible:
        raise RunError(sentence)
