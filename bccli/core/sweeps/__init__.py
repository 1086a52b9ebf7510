"""Several runs in one folder: `sweep` makes and compares them, `grid` and `cross_validation` say which."""
