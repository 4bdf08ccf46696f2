"""Train a VAE on one data set: `python -m experiments.train --data mnist --model.latent 20 --optimizer.lr 1e-3`.

The same as `jaxvae train`.
"""

from jaxvae.recipes.plain import KIND
from jaxvae.run.launch import train

if __name__ == "__main__":
    train(KIND)
