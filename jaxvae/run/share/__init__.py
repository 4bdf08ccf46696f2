"""Weights that travel: a run as a folder of safetensors with its card, and to a hub and back."""
