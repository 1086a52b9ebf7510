"""What metadata say of the images of a prepared dataset: `panels` of stats.png."""
