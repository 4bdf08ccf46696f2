"""What the command line names: posteriors, priors, likelihoods, networks, bounds, each beside its builder."""
