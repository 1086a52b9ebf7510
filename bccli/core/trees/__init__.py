"""Trees of classifiers: `plan` settles what each node is, `train` trains them, `predictor` answers for them.

`node_predictions` asks nodes about prepared images, `shared_backbone` joins nodes on one frozen backbone, and
`train_region_finder` makes what finds a node's crops without masks.
"""
