"""Prepared images, and who may stand on which side of a split.

For other rooms: `manifest` has the record of an image, `dataset` opens what `prepare` made, `image_batches`
reads its images, `splits` deals patients out, `audit` looks for leaks, `label_tree` reads trees of classes.
"""
