"""From predictions to what `evaluate` reports: `evaluate` measures, `plots` draws, `external` asks runs.

`subjects` are whose predictions are measured, `terms` how, `operating_points` what is chosen on val,
`leaderboard` several side by side, `run_figures` what a run stores; `published` has the papers' figures,
which `paper_comparison` puts beside a run's, and `tree_figures` and `tree_decisions` are for trees.
"""
