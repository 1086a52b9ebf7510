"""Images from their patches: rules, classifiers and small networks over the features of a patch run.

`train` makes a run, `predictor` answers for it, `patch_run` is what it starts from; `methods` has a row for
each way to fuse, and `learners` learns it.
"""
