"""Classes from few labels: M2 and M1+M2 over seeds and numbers of labels, `python -m experiments.few_labels --data.name mnist`.

M1 is a plain VAE, trained once on all images without any label. For every seed another class-balanced subset of labels is
drawn; the accuracy is that of q(y|x) on all test images, and nothing is chosen by it.
Source: Kingma, Rezende, Mohamed & Welling, "Semi-supervised Learning with Deep Generative Models" (2014), table 1.
"""
