"""log p(x) of 784-200-200-50 in eager PyTorch: a loop over chunks of draws, all images of a batch at once.

It stands alone and needs only torch and numpy: `echo | python torch_likelihood.py` prints the seconds of one batch for
each line of its input.
"""

import argparse
import json
import math
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional


class VAE(nn.Module):
    """784-200-200-50."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(784, 200), nn.Tanh(), nn.Linear(200, 200), nn.Tanh())
        self.mean, self.log_scale = nn.Linear(200, 50), nn.Linear(200, 50)
        self.decoder = nn.Sequential(nn.Linear(50, 200), nn.Tanh(), nn.Linear(200, 200), nn.Tanh(), nn.Linear(200, 784))


@torch.no_grad()
def log_likelihood(model: VAE, x: torch.Tensor, num_samples: int, chunk: int) -> torch.Tensor:
    """[B, 784] -> [B] nats, by importance sampling with a running logsumexp."""
    features = model.encoder(x)
    mean, log_scale = model.mean(features), model.log_scale(features)
    total = torch.full((len(x),), -math.inf, device=x.device)
    for _ in range(num_samples // chunk):
        noise = torch.randn(chunk, *mean.shape, device=x.device)
        z = mean + log_scale.exp() * noise
        logits = model.decoder(z)
        target = x.expand_as(logits)
        log_weight = -functional.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(-1)
        log_weight += (0.5 * (noise.square() - z.square()) + log_scale).sum(-1)
        total = torch.logaddexp(total, log_weight.logsumexp(0))
    return total - math.log(num_samples)


def main() -> None:
    """Estimate log p of one batch for each line of standard input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", help="a .npy file [N, 784], uint8; random bits when it is not given")
    parser.add_argument("--count", type=int, default=20, help="how many random images")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--num-samples", type=int, default=5000)
    parser.add_argument("--chunk", type=int, default=100)
    arguments = parser.parse_args()
    bits = np.random.default_rng(0).integers(2, size=(arguments.count, 784), dtype=np.uint8) * np.uint8(255)
    stored = np.load(arguments.images) if arguments.images else bits
    images = torch.from_numpy(stored.astype(np.float32) / 255).to(arguments.device)
    model = VAE().to(arguments.device)
    print(json.dumps({"torch": torch.__version__, "images": len(images)}), flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        mean = log_likelihood(model, images, arguments.num_samples, arguments.chunk).mean().item()
        print(json.dumps({"seconds": time.perf_counter() - began, "log_likelihood": mean}), flush=True)


if __name__ == "__main__":
    main()
