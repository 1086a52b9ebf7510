"""The stains of histology: `normalisation` makes slides look alike, `deconvolution` changes amounts."""
