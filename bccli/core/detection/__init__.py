"""Boxes around lesions, and how well they find them, without any network.

`boxes` has what a detector answers with, `lesions` makes lesions of masks, `heat_boxes` boxes of a map.
`matching` says which box hits which lesion, `ranking` sorts both by score, `froc` and `average_precision`
measure them for many weightings of patients at once, and `figures` is all of it with intervals.
"""
