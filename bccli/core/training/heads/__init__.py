"""Heads on features that stay as they are: what train's features are like, and what suits those left out."""
