"""From probabilities to decisions over patients: `triage` sets aside and flags, `conformal` makes sets of
classes, `benefit` says what deciding is worth, and `suspects` which labels are doubtful."""
