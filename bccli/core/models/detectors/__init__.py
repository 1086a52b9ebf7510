"""Networks that say where in an image something is: a heat map of cells, and no class of the whole."""
