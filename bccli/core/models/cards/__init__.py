"""Frozen networks that somebody else trained, described by cards: files of ONNX, LiteRT or Keras.

`card` reads a card, `card_files` finds the files that it names, `frozen_network` computes with them, `of_run`
does so for runs. Beside them lie cards without weights of networks that many have.
"""
