"""784-400-20 in eager PyTorch, as its tutorials write it: a DataLoader over tensors, Adam, clipped gradients.

It stands alone and needs only torch and numpy: `echo | python torch_vae.py` prints the seconds of one epoch for each
line of its input.
"""

import argparse
import json
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset


class VAE(nn.Module):
    """784-400-20."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder_hidden = nn.Linear(784, 400)
        self.mean = nn.Linear(400, 20)
        self.log_variance = nn.Linear(400, 20)
        self.decoder_hidden = nn.Linear(20, 400)
        self.logits = nn.Linear(400, 784)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """[B, 784] -> logits [B, 784], mean and log variance [B, 20]."""
        hidden = functional.relu(self.encoder_hidden(x))
        mean, log_variance = self.mean(hidden), self.log_variance(hidden)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        return self.logits(functional.relu(self.decoder_hidden(z))), mean, log_variance


def negative_elbo(logits: torch.Tensor, x: torch.Tensor, mean: torch.Tensor, log_variance: torch.Tensor):
    """Nats, the mean over the batch."""
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, x, reduction="sum")
    kl = -0.5 * torch.sum(1 + log_variance - mean.pow(2) - log_variance.exp())
    return (cross_entropy + kl) / len(x)


def main() -> None:
    """Train one epoch for each line of standard input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", help="a .npy file [N, 784], uint8; random bits when it is not given")
    parser.add_argument("--count", type=int, default=60_000, help="how many random images")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    arguments = parser.parse_args()
    generator = np.random.default_rng(0)
    stored = (
        np.load(arguments.images)
        if arguments.images
        else generator.integers(2, size=(arguments.count, 784), dtype=np.uint8) * np.uint8(255)
    )
    images = torch.from_numpy(stored.astype(np.float32) / 255)
    loader = DataLoader(TensorDataset(images), batch_size=128, shuffle=True)
    model = VAE().to(arguments.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    print(json.dumps({"torch": torch.__version__, "images": len(images)}), flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        total = 0.0
        for (x,) in loader:
            x = x.to(arguments.device)
            optimizer.zero_grad()
            logits, mean, log_variance = model(x)
            loss = negative_elbo(logits, x, mean, log_variance)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimizer.step()
            total += loss.item() * len(x)
        print(json.dumps({"seconds": time.perf_counter() - began, "loss": total / len(images)}), flush=True)


if __name__ == "__main__":
    main()
