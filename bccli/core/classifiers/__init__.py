"""Classifiers of feature vectors that are no networks: scikit-learn fits them, NumPy answers for them."""

from bccli.core.classifiers.fitting import fit_classifier
from bccli.core.classifiers.models import Classifier, load_classifier, save_classifier

__all__ = ["Classifier", "fit_classifier", "load_classifier", "save_classifier"]
