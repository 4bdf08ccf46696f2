"""The textbook's foundations, each a short experiment: the equations in the book's order, then figures and numbers.

The books are Prince, "Understanding Deep Learning" (2023), chapter 17, and Bishop, "Pattern Recognition and Machine
Learning" (2006), chapters 9, 10 and 12. Run one as `python -m experiments.foundations.elbo_curves`.
"""
