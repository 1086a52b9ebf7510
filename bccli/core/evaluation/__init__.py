"""From predictions to what `evaluate` reports: `evaluate` measures, `plots` draws, `external` asks runs.

`published` has the papers' figures, `overfitting` says what β is measured on, and `tree_figures` and
`tree_decisions` are for trees.
"""
