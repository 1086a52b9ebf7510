"""The options of the commands: `common` has those that several share, `training` those of what trains, and
`training_design` makes designs of these.
"""
