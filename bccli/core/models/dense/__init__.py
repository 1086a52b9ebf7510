"""Dense heads without a network's runtime: their weights in a file, and their forward pass in NumPy.

`dense_head` has both; `layers` is the arithmetic.
"""
