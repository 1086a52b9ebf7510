"""Vectors of features that other programs computed: they are read, matched with images, and written.

`sources` opens a file or a folder, `matching` finds the vectors of a dataset's rows, `quality` looks at the
numbers, and `feature_file` writes what `train --features-only` computes.
"""
