"""Kinds of VAE as the shell trains them, a file for each."""
