"""The options of the commands: `common` has those that several share, `training` those of what trains."""
