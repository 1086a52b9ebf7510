"""What a person or a program reads of a command: `console` is what commands print with.

`capabilities` says what a terminal can show, `tables` lays out what it shows, `writers` writes CSV, JSON and
LaTeX, and each `*_table` is one kind of result.
"""
