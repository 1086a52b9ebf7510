"""Small faults in what results rest on, and whether a test sees each: `python -m tests.mutants`.

`mutations` makes the faults, one at a time, in a module's syntax tree; `modules` names the modules and the
tests that guard each, `coverage_map` finds which of these run a line, `trial` runs them on a fault in a fork
of one process that has imported everything, and `explained` lists faults that change nothing, and why.
"""
