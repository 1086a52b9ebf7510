"""What a run folder holds: `run_folder` opens one, `predictions` are its answers row by row.

`aggregation` makes one row of those that belong together, `temperature` calibrates, `provenance` says with
what a run was made.
"""
