"""From a prepared dataset to a run: `network` trains one, `finetune` goes on with one, `design` says what.

`settings` is how it is trained, `loop` trains, `features` keeps what frozen backbones compute, and
`run_contents` fills the run folder.
"""
