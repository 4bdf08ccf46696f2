"""The figure of `linear_models`."""

from pathlib import Path
from typing import Any

import numpy as np

from jaxvae.run.figures.page import INK, WIDE, page
from jaxvae.run.figures.panels import LINES, panels


def caption(numbers: dict[str, Any]) -> str:
    """What the four models came to, in words that their numbers allow.

    Args:
        numbers: of `linear_models.compare`.

    Returns:
        The figure's caption.
    """
    differences = [by["factor analysis"]["test"] - by["probabilistic PCA"]["test"] for by in numbers["sizes"].values()]
    low, high = (f"{value:+.1f}".replace("-", "−") for value in (min(differences), max(differences)))
    between = f"by {low} nats" if low == high else f"by {low} to {high} nats"
    cosines = np.abs(numbers["cosine_of_vae_columns_with_principal_axes"])
    return (
        f"Left: the linear VAE ends {numbers['linear_vae_short_of_maximum']:.2f} nats below the maximum that "
        "probabilistic PCA has in closed form. Right: on test examples factor analysis, with a noise level for each "
        f"pixel, differs from probabilistic PCA {between}. Below: columns of W. The space of the VAE's lies at most "
        f"{numbers['models']['linear VAE']['angle_to_pca']:.1f} degrees from PCA's; their cosines with the principal "
        f"axes are {cosines.min():.2f} to {cosines.max():.2f}."
    )


def draw(path: Path, numbers: dict[str, Any], loadings: dict[str, np.ndarray], curve: np.ndarray, latent: int) -> None:
    """The linear VAE's way to the maximum; likelihoods over q; the columns of W as pictures."""
    sizes = {int(q): by_model for q, by_model in numbers["sizes"].items()}
    titles = ("ELBO while training", "Log likelihood over the latent dimensions q")
    columns = min(latent, 12)
    with page(path, "Four linear models of digits", caption(numbers), width=WIDE, height=1000, alone=True) as place:
        learning, over_size = panels(place, titles, height=540)
        maximum = numbers["probabilistic_pca_maximum"]
        learning.plot(np.arange(1, len(curve) + 1), curve, color=LINES[0], lw=1.6, label="linear VAE, ELBO of a batch")
        learning.axhline(maximum, color=LINES[1], lw=1.4, ls="--", label="probabilistic PCA, closed form")
        late = curve[len(curve) // 10 :]
        learning.set(xlabel="epoch", ylabel="nats per example", ylim=(late.min() - 0.5, max(maximum, late.max()) + 0.5))
        learning.legend(loc="lower right")
        for i, name in enumerate(("probabilistic PCA", "factor analysis"), start=1):
            for split, style in (("train", "o-"), ("test", "o--")):
                values = [by_model[name][split] for by_model in sizes.values()]
                label = f"{name}, {split}"
                over_size.plot(list(sizes), values, style, color=LINES[i], ms=3.5, lw=1.4, label=label)
        over_size.plot(
            latent, numbers["models"]["linear VAE"]["train"], "D", color=LINES[0], ms=7, label="linear VAE, train"
        )
        over_size.set_xscale("log", base=2)
        over_size.set_xticks(list(sizes), [str(q) for q in sizes])
        over_size.set(xlabel="q", ylabel="nats per example")
        over_size.legend(loc="center left", bbox_to_anchor=(0, 0.49), fontsize=7.5)
        for row, (name, columns_of_w) in enumerate(loadings.items()):
            for column in range(columns):
                axes = place(190 + (1170 // columns) * column, 570 + 146 * row, 132, 132)
                picture = columns_of_w[:, column].reshape(8, 8)
                most = np.abs(picture).max()
                axes.imshow(picture, cmap="RdBu_r", vmin=-most, vmax=most)
                axes.set_axis_off()
                if column == 0:
                    axes.text(-1.2, 3.5, name, ha="right", va="center", color=INK, fontsize=9)
