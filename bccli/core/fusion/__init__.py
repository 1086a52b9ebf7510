"""Images from their patches: rules, classifiers and small networks over the features of a patch run."""
