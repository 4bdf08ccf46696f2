"""Train a VAE on one data set: `python -m experiments.train --data mnist --model.latent 20 --optimizer.lr 1e-3`."""

from jaxvae.run.command import command
from jaxvae.run.launch import Options, main

if __name__ == "__main__":
    command(main, Options)
