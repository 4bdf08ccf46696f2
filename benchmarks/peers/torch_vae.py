"""Training in PyTorch as its tutorials write it, or with all that it offers for speed.

784-400-20 with the ELBO, or 784-200-200-50 with the importance-weighted bound; Adam, clipped gradients. The plain
script is eager and draws batches from a DataLoader over tensors; `--compiled` takes torch.compile, fused Adam, and
batches gathered from one tensor.

It stands alone and needs only torch and numpy: `echo | python torch_vae.py` prints the seconds of one epoch for each
line of its input. With `--target` it reads no input: it trains until -ELBO of the test images is below the target, and
prints when that was.
"""

import argparse
import itertools
import json
import math
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

Loss = Callable[[nn.Module, torch.Tensor, int], torch.Tensor]


class VAE(nn.Module):
    """The encoder's layers mirrored by the decoder's."""

    def __init__(self, hidden: list[int], latent: int, activation: type[nn.Module]) -> None:
        super().__init__()
        self.encoder = layers([784, *hidden], activation)
        self.mean = nn.Linear(hidden[-1], latent)
        self.log_variance = nn.Linear(hidden[-1], latent)
        self.decoder = nn.Sequential(layers([latent, *hidden[::-1]], activation), nn.Linear(hidden[0], 784))


def layers(widths: list[int], activation: type[nn.Module]) -> nn.Sequential:
    """Linear layers, each with an activation."""
    return nn.Sequential(
        *[module for pair in itertools.pairwise(widths) for module in (nn.Linear(*pair), activation())]
    )


def small() -> VAE:
    """784-400-20, ReLU."""
    return VAE([400], 20, nn.ReLU)


def iwae() -> VAE:
    """784-200-200-50, tanh."""
    return VAE([200, 200], 50, nn.Tanh)


def negative_elbo(model: VAE, x: torch.Tensor, num_samples: int) -> torch.Tensor:
    """Nats, the mean over the batch; one draw, whatever `num_samples` is."""
    features = model.encoder(x)
    mean, log_variance = model.mean(features), model.log_variance(features)
    z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
    cross_entropy = functional.binary_cross_entropy_with_logits(model.decoder(z), x, reduction="sum")
    kl = -0.5 * torch.sum(1 + log_variance - mean.pow(2) - log_variance.exp())
    return (cross_entropy + kl) / len(x)


def negative_importance_weighted(model: VAE, x: torch.Tensor, num_samples: int) -> torch.Tensor:
    """Nats, the mean over the batch; log p(x, z) - log q(z|x) of each draw."""
    features = model.encoder(x)
    mean, log_variance = model.mean(features), model.log_variance(features)
    noise = torch.randn(num_samples, *mean.shape, device=x.device)
    z = mean + torch.exp(0.5 * log_variance) * noise
    logits = model.decoder(z)
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none")
    log_weight = 0.5 * (noise.pow(2) - z.pow(2) + log_variance).sum(-1) - cross_entropy.sum(-1)
    return -(log_weight.logsumexp(0) - math.log(num_samples)).mean()


NETWORKS: dict[str, tuple[Callable[[], VAE], Loss]] = {
    "small": (small, negative_elbo),
    "iwae": (iwae, negative_importance_weighted),
}


class Gathered:
    """Shuffled batches of one size, gathered from one tensor."""

    def __init__(self, images: torch.Tensor, batch_size: int) -> None:
        self.images, self.batch_size = images, batch_size

    def __iter__(self) -> Iterator[tuple[torch.Tensor]]:
        """An epoch; its last incomplete batch is left out, for a compiled program has one shape."""
        order = torch.randperm(len(self.images), device=self.images.device)
        for rows in order.split(self.batch_size):
            if len(rows) == self.batch_size:
                yield (self.images[rows],)


def stored(path: str | None, count: int) -> torch.Tensor:
    """Pixels [N, 784] in [0, 1]: of a file, or random bits."""
    if path:
        pixels = np.load(path)
    else:
        pixels = np.random.default_rng(0).integers(2, size=(count, 784), dtype=np.uint8) * np.uint8(255)
    return torch.from_numpy(pixels.astype(np.float32) / 255)


def main() -> None:
    """Train one epoch for each line of standard input, or until the target is reached."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", help="a .npy file [N, 784], uint8; random bits when it is not given")
    parser.add_argument("--count", type=int, default=60_000, help="how many random images")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--network", choices=NETWORKS, default="small")
    parser.add_argument("--num-samples", type=int, default=1, help="k of the importance-weighted bound")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--compiled", action="store_true", help="torch.compile, fused Adam, gathered batches")
    parser.add_argument("--target", type=float, help="train until -ELBO of the test images is below so many nats")
    parser.add_argument("--epochs", type=int, default=30, help="give the target up after so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--test", help="a .npy file [N, 784], uint8: the test images")
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    make, loss_of = NETWORKS[arguments.network]
    images = stored(arguments.images, arguments.count)
    model = make().to(arguments.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=arguments.compiled)
    batches: Gathered | DataLoader
    if arguments.compiled:
        batches = Gathered(images.to(arguments.device), arguments.batch_size)
        loss_of = torch.compile(loss_of)
    else:
        batches = DataLoader(TensorDataset(images), batch_size=arguments.batch_size, shuffle=True)

    def epoch() -> tuple[float, int]:
        total, count = 0.0, 0
        for (x,) in batches:
            x = x.to(arguments.device)
            optimizer.zero_grad()
            loss = loss_of(model, x, arguments.num_samples)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimizer.step()
            total, count = total + loss.item() * len(x), count + len(x)
        return total / count, count

    if arguments.target:
        test = stored(arguments.test, 10_000).to(arguments.device)
        bounds: list[float] = []
        while not bounds or (bounds[-1] >= arguments.target and len(bounds) < arguments.epochs):
            epoch()
            with torch.no_grad():
                bounds.append(negative_elbo(model, test, 1).item())
        print(json.dumps({"reached": time.time(), "negative_elbo": bounds, "torch": torch.__version__}))
        return
    count = len(images)
    if arguments.compiled:
        count -= count % arguments.batch_size
    print(json.dumps({"torch": torch.__version__, "images": count}), flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        mean, _ = epoch()
        print(json.dumps({"seconds": time.perf_counter() - began, "loss": mean}), flush=True)


if __name__ == "__main__":
    main()
