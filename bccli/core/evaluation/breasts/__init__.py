"""From films to breasts and examinations: what is said of each view becomes one answer."""
