"""`python -m jaxvae`: the same as the command `jaxvae`."""

import sys

from jaxvae.cli import main

if __name__ == "__main__":
    main(sys.argv[1:])
