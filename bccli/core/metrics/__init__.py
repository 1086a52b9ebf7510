"""Arrays of labels and probabilities in, figures out: `figures` has the measures of the contract, section 4.

`cases` checks what comes in, `material` adds it up and sorts it once, `weighted` measures it for many
weightings at once. `bootstrap` draws these and `limits` makes intervals of them, `support` says what they
rest on. `comparison` compares two classifiers by the tests of `significance`, `thresholds` has operating
points, `folds` sums folds up, `losses` and `overfitting` are those of training. `roc` and `plots` draw
curves, `panels` headings, bars and axes.
"""
