"""Heads on feature vectors that something else than Keras computes: a network that a card describes.

`sources` has where vectors come from, `train` trains a dense head on them.
"""
