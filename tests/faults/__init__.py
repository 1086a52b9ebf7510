"""Faults of the disk, and kills, at each act of each command: `python -m tests.faults`.

`shim.c` counts what a command does to the files below a folder and lets one act fail; `plan` builds it and
says what it is to do; `server` runs commands in forks of one process that has imported everything; `cases`
has the commands, `kinds` the faults, and `trial` what has to be true behind each.
"""
