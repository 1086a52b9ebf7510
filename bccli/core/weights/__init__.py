"""Weights and models in files: `pretrained` finds them, `downloads` fetches them, `keras_files` and
`weight_files` look at them before Keras does, `keras_saving` writes them, `copying` gives them to a model.
"""
