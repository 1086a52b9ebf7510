"""From a prepared dataset to a run: `network` trains one, `finetune` goes on with one, `design` says what.

`settings` is the table of all settings, `loop` trains, `checkpoint` keeps its state, `features` stores what
frozen backbones compute, and `run_contents` fills the run folder.
"""
