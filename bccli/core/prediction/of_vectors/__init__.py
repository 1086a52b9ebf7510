"""Answers of runs that know vectors and no images: to files of them, and to those of a dataset."""
