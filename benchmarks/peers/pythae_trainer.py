"""Training by pythae's own trainer: its VAE or IWAE over given networks, its DataLoader, its epoch.

784-400-20 with the ELBO, or 784-200-200-50 with the importance-weighted bound, by Adam; its trainer clips no
gradients. It stands alone and needs only pythae, torch and numpy: `echo | python pythae_trainer.py` prints the seconds
of one epoch for each line of its input.
"""

import argparse
import contextlib
import itertools
import json
import logging
import sys
import tempfile
import time
from importlib.metadata import version

import numpy as np
import torch
from pythae.data.datasets import BaseDataset
from pythae.models import IWAE, VAE, IWAEConfig, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from torch import nn


class Encoder(BaseEncoder):
    """Means and log variances of the latents."""

    def __init__(self, hidden: list[int], latent: int, activation: type[nn.Module]) -> None:
        super().__init__()
        self.features = layers([784, *hidden], activation)
        self.mean, self.log_variance = nn.Linear(hidden[-1], latent), nn.Linear(hidden[-1], latent)

    def forward(self, x: torch.Tensor) -> ModelOutput:
        """[B, 784] -> [B, latent] twice."""
        features = self.features(x)
        return ModelOutput(embedding=self.mean(features), log_covariance=self.log_variance(features))


class Decoder(BaseDecoder):
    """Means of the pixels: pythae's cross entropy takes no logits."""

    def __init__(self, hidden: list[int], latent: int, activation: type[nn.Module]) -> None:
        super().__init__()
        self.pixels = nn.Sequential(
            layers([latent, *hidden[::-1]], activation), nn.Linear(hidden[0], 784), nn.Sigmoid()
        )

    def forward(self, z: torch.Tensor) -> ModelOutput:
        """[B, latent] -> [B, 784]."""
        return ModelOutput(reconstruction=self.pixels(z))


def layers(widths: list[int], activation: type[nn.Module]) -> nn.Sequential:
    """Linear layers, each with an activation."""
    return nn.Sequential(
        *[module for pair in itertools.pairwise(widths) for module in (nn.Linear(*pair), activation())]
    )


NETWORKS: dict[str, tuple[list[int], int, type[nn.Module]]] = {
    "small": ([400], 20, nn.ReLU),
    "iwae": ([200, 200], 50, nn.Tanh),
}


def main() -> None:
    """Train one epoch for each line of standard input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", help="a .npy file [N, 784], uint8; random bits when it is not given")
    parser.add_argument("--count", type=int, default=60_000, help="how many random images")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--network", choices=NETWORKS, default="small")
    parser.add_argument("--num-samples", type=int, default=1, help="k of the importance-weighted bound")
    parser.add_argument("--batch-size", type=int, default=128)
    arguments = parser.parse_args()
    if arguments.images:
        pixels = np.load(arguments.images)
    else:
        generator = np.random.default_rng(0)
        pixels = generator.integers(2, size=(arguments.count, 784), dtype=np.uint8) * np.uint8(255)
    images = torch.from_numpy(pixels.astype(np.float32) / 255)
    network = NETWORKS[arguments.network]
    settings = {"input_dim": (784,), "latent_dim": network[1], "reconstruction_loss": "bce"}
    if arguments.network == "small":
        model = VAE(VAEConfig(**settings), Encoder(*network), Decoder(*network))
    else:
        config = IWAEConfig(number_samples=arguments.num_samples, **settings)
        model = IWAE(config, Encoder(*network), Decoder(*network))
    logging.disable(logging.WARNING)
    answers = sys.stdout
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        trainer = BaseTrainer(
            model,
            BaseDataset(images, torch.zeros(len(images))),
            training_config=BaseTrainerConfig(
                output_dir=folder,
                per_device_train_batch_size=arguments.batch_size,
                learning_rate=1e-3,
                no_cuda=arguments.device == "cpu",
            ),
        )
        trainer.prepare_training()
        versions = {"pythae": version("pythae"), "torch": torch.__version__}
        print(json.dumps(versions | {"images": len(images)}), file=answers, flush=True)
        for index, _ in enumerate(sys.stdin):
            began = time.perf_counter()
            loss = trainer.train_step(index + 1)
            print(json.dumps({"seconds": time.perf_counter() - began, "loss": loss}), file=answers, flush=True)


if __name__ == "__main__":
    main()
