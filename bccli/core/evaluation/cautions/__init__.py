"""What speaks against figures: `doubtful_labels`, `shortcuts` that give labels away, and `guarding`, which
learns what images are like, so that `predict` can name others."""
