"""From predictions to what `evaluate` reports: `evaluate` measures, `plots` draws, `external` asks runs.

`subjects` are whose predictions are measured, `terms` how, `operating_points` what is chosen on val,
`leaderboard` several side by side, `run_figures` what a run stores; `published` has the papers' figures,
`overfitting` says what β is measured on, and `tree_figures` and `tree_decisions` are for trees.
"""
