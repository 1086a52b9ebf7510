"""Several runs in one folder: `sweep` makes and compares them, `grid`, `cross_validation` and
`finetune` say which, `preview` shows what they would be.
"""
