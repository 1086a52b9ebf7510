"""The options of the commands: `common` has those that several share, `preparation` those of `prepare`, and
`training` those of what trains, of which `training_design` makes designs. `value_types` and `path_types` have
the types of their values. `diagnostics` is what `bccli -v --version` says, `help_pages` how help is set.
"""
