"""Figures, drawn without pyplot."""
