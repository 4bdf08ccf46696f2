"""The denoising criterion is a bound; its noises are what they are called; the command measures them."""

import json
import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.denoise import Options, main, psnr, psnr_gain
from jaxvae import bounds
from jaxvae.draws import sticking_the_landing
from jaxvae.models import denoising, gaussian_noise, linear, masking, salt_and_pepper
from jaxvae.recipes.plain import Model
from jaxvae.run import RunError
from jaxvae.run.settings import Optimizer


@pytest.fixture(autouse=True)
def _standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


MODEL = linear.linear_vae(latent=1)
PARAMS = linear.parameters(jnp.array([[1.0], [0.5]]), jnp.array([0.2, -0.1]), jnp.asarray(0.7))
X = jnp.array([0.9, -0.4])


def many(model, num_samples, count, bound=bounds.iwae_bound):
    keys = jax.random.split(jax.random.key(0), count)
    return np.asarray(jax.jit(jax.vmap(lambda key: bound(model, key, PARAMS, X, num_samples=num_samples)))(keys))


def test_without_noise_the_terms_are_those_of_the_model():
    silent = denoising(MODEL, gaussian_noise(0.0))
    # One latent dimension: the posterior is exact, and so is every draw's weight.
    np.testing.assert_allclose(many(silent, 1, 5), float(linear.log_marginal(PARAMS, X)), rtol=1e-5)


def test_its_bounds_lie_below_log_p_of_the_clean_example_and_rise_to_it():
    exact = float(linear.log_marginal(PARAMS, X))
    model = denoising(MODEL, gaussian_noise(0.5))  # beyond 0.6 the weights have no variance
    one, ten, thousand = (many(model, k, count) for k, count in ((1, 10_000), (10, 10_000), (1000, 400)))
    for values in (one, ten):
        assert exact - values.mean() > 5 * values.std() / 100
    assert ten.mean() - one.mean() > 5 * (one.std() + ten.std()) / 100
    assert abs(thousand.mean() - exact) < 0.02  # its gap is about var(w) / 2k


def test_the_elbo_is_the_closed_form_averaged_over_the_noise():
    # E over z and noise of ln p(x|z) - KL(q(z|x̃) || p): q(z|x̃) = N(V(x̃ - μ), D), and x̃ = x + s ε.
    scale = 0.5
    encoder, decoder = (
        jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), PARAMS[n]) for n in ("encoder", "decoder")
    )
    center, weights, variance = decoder["center"], encoder["V"], float(np.exp(2 * encoder["log_scale"][0]))
    mean = float((weights @ (np.asarray(X, np.float64) - center))[0])
    spread = scale**2 * float(np.sum(weights**2))
    loadings, noise = decoder["W"][:, 0], float(np.exp(2 * decoder["log_scale"]))
    residual = np.asarray(X, np.float64) - center - loadings * mean
    expected_error = np.sum(residual**2) + np.sum(loadings**2) * (variance + spread)
    log_likelihood = -expected_error / (2 * noise) - math.log(2 * math.pi * noise)
    kl = 0.5 * (mean**2 + spread + variance - 1 - math.log(variance))
    values = many(denoising(MODEL, gaussian_noise(scale)), 1, 20_000, bounds.elbo)
    assert abs(values.mean() - (log_likelihood - kl)) < 5 * values.std() / math.sqrt(len(values))


def test_the_gradient_estimator_is_a_choice_and_the_value_is_not():
    models = [denoising(MODEL, gaussian_noise(0.3), draw=draw) for draw in (sticking_the_landing,)]
    models.append(denoising(MODEL, gaussian_noise(0.3)))
    values, gradients = zip(
        *(
            jax.value_and_grad(lambda p, m=m: bounds.iwae_bound(m, jax.random.key(1), p, X, num_samples=1))(PARAMS)
            for m in models
        ),
        strict=True,
    )
    np.testing.assert_allclose(values[0], values[1], rtol=1e-5)
    assert not np.allclose(gradients[0]["encoder"]["V"], gradients[1]["encoder"]["V"])


def test_the_noises_are_what_they_are_called():
    key, x = jax.random.key(0), jnp.full((200, 200), 0.3)
    noise = np.asarray(gaussian_noise(0.4)(key, x) - x)
    assert abs(noise.std() - 0.4) < 5 * 0.4 / math.sqrt(2 * 40_000)
    assert noise.min() < -0.3  # it is not clipped
    for corrupt, values in ((salt_and_pepper(0.2), {0.0, 1.0}), (masking(0.2), {0.0})):
        corrupted = np.asarray(corrupt(key, x))
        changed = corrupted[corrupted != np.float32(0.3)]
        assert set(changed.tolist()) == values
        assert abs(changed.size / 40_000 - 0.2) < 5 * math.sqrt(0.16 / 40_000)
    salt = np.asarray(salt_and_pepper(1.0)(key, x))
    assert abs(salt.mean() - 0.5) < 5 * 0.5 / 200
    for wrong in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="must lie between 0 and 1"):
            masking(wrong)
        with pytest.raises(ValueError, match="must lie between 0 and 1"):
            salt_and_pepper(wrong)
    with pytest.raises(ValueError, match="must not be negative"):
        gaussian_noise(-1.0)


def test_psnr_and_its_standard_error():
    random = np.random.default_rng(0)
    before, after = random.exponential(0.1, size=(2, 2000, 400))
    of_each = np.array([psnr(errors)[0] for errors in before])
    assert psnr(np.full(9, 0.01)) == (20, 0)
    assert psnr(before[0])[1] == pytest.approx(of_each.std(), rel=0.2)
    gains = np.array([psnr_gain(b, a)[0] for b, a in zip(before, after, strict=True)])
    assert psnr_gain(before[0], after[0])[1] == pytest.approx(gains.std(), rel=0.2)
    assert psnr_gain(before[0], before[0] / 10) == (pytest.approx(10), pytest.approx(0, abs=1e-12))


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    options = Options(
        amount=0.5,
        epochs=120,
        optimizer=Optimizer(lr=4e-3),
        folder=tmp_path_factory.mktemp("denoise") / "out",
    )
    with jax.numpy_dtype_promotion("standard"):
        assert main(options) is None
    return options, json.loads((options.folder / "result.json").read_text())


@pytest.mark.slow
def test_the_command_cleans_images(result):
    options, numbers = result
    assert sorted(path.name for path in options.folder.iterdir()) == [
        "captions.json",
        "denoise.png",
        "denoise.svg",
        "report.html",
        "result.json",
    ]
    assert numbers["protocol"]["test_examples"] == 300
    assert f"{numbers['denoising VAE']['psnr']:.1f}" in (options.folder / "report.html").read_text()
    noisy, cleaned, usual = (numbers[name] for name in ("noisy", "denoising VAE", "usual VAE"))
    # Gaussian noise that is not clipped has the mean squared error σ².
    assert abs(noisy["psnr"] + 20 * math.log10(0.5)) < 5 * noisy["psnr_standard_error"]
    assert cleaned["psnr"] - noisy["psnr"] > 5
    assert cleaned["psnr"] - usual["psnr"] > 5 * (cleaned["psnr_standard_error"] + usual["psnr_standard_error"])
    gain = numbers["gain of the denoising VAE"]["psnr"]
    assert gain == pytest.approx(cleaned["psnr"] - noisy["psnr"])


def test_nothing_is_written_on_bad_input_and_nothing_overwritten(tmp_path):
    options, place = Options(amount=0.5, epochs=1), tmp_path / "out"
    with pytest.raises(RunError, match="exists already"):
        main(replace(options, folder=tmp_path))
    for changes, sentence in [
        ({"amount": 0.0}, "must be positive"),
        ({"amount": -1.0}, "must not be negative"),
        ({"noise": "masking", "amount": 1.5}, "must lie between 0 and 1"),
        ({"noise": "masking", "amount": 1e-9}, "changes no pixel"),
        ({"epochs": 0}, "--epochs 0 must be at least 1"),
        ({"model": Model()}, "has grey pixels"),
    ]:
        with pytest.raises(RunError, match=sentence):
            main(replace(options, folder=place, **changes))
    assert not place.exists()


def test_a_divergence_is_told_and_leaves_no_folder(tmp_path, capsys):
    options = Options(epochs=1, optimizer=Optimizer(lr=1e9), folder=tmp_path / "out")
    assert main(options) == 1
    assert "is not finite" in capsys.readouterr().err
    assert not options.folder.exists()
