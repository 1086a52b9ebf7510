"""The levels above an image and the rules by which views become one, by their names in options."""

BREAST, EXAM = "breast", "exam"
LEVELS = (BREAST, EXAM)
MEAN, MAX, NOISY_OR, LEARNED = "mean", "max", "noisy-or", "learned"
RULES = (MEAN, MAX, NOISY_OR, LEARNED)
"""`learned` is the one that is best on val."""
