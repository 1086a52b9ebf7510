"""What a detector answers: a heat map of cells, and the boxes in it.

`heat_maps` makes boxes of maps, `boxes_file` keeps them and the true lesions in a run, `predictor` answers
for raw images, and `locator` finds what a node of a tree is to see.
"""
