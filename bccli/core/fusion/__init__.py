"""Images from their patches: rules, support vector machines and small networks over a patch run's features."""
