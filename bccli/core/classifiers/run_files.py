"""The names of the files that a run of kind classifier holds besides those of any run."""

CLASSIFIER, VOCABULARY = "classifier.npz", "words.npz"
