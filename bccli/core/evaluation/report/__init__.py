"""What `evaluate --report` shows, as records: `gather` collects them, `bccli.terminal.report.page` sets them.

`run_data` finds the images of a run, `album` makes small pictures of them. `card` says what was done,
`leak_box` what splits share, `galleries` where the run is right and wrong; `forest`, `curves`, `boxes`,
`calibration`, `patient_strip`, `feature_map` and `more_patients` have the numbers of one figure each. What
does not apply is `absent`, with a sentence that says why.
"""
