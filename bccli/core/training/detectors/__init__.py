"""Detectors: networks that find lesions, trained on masks.

`lesion_cells` makes the truth of masks, `train` trains a head on the maps of a backbone.
"""
