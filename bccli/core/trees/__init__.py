"""Trees of classifiers: `plan` settles what each node is, `train` trains them, `predictor` answers for them.
`trials` makes those of all folds and of several seeds.

`tree_data` checks the data, `train_node` makes the run of a node, `run_contents` what the tree's run holds.
`node_predictions` asks nodes about prepared images, `shared_backbone` joins nodes on one frozen backbone.
`learned_crops` and `train_region_finder` make what finds crops without masks: a detector, or maps.
"""
