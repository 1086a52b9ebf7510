"""The built-in augmentation policies, as data: `bccli.core.augmentation` reads them.

A policy is a list of operations, each with imgaug's name for it or one of bccli's own, a probability, and
parameters: [a, b] draws evenly from a to b, {choice = [...]} one of a list, anything else is fixed.
"""
