"""Arrays of labels and probabilities in, figures out: `figures` has the measures of the contract, section 4.

`bootstrap` has their intervals, `support` what they rest on, `significance` compares two classifiers,
`thresholds` has operating points, `folds` sums folds up, `plots` draws curves;
`weighted` computes them all for many weightings at once.
"""
