"""What the commands share: datasets, imaging, splits, models, training, measures."""
