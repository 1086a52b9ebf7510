"""Classify breast-cancer images (histology slides and mammograms) from the command line."""

__version__ = "0.1.0"
