"""Raw images in, answers of runs out: `predictor` is what `predict` runs on, `run_predictor` one run in it.

`image_paths` lists the images, `prepared_files` prepares them, and `file_predictions` has an answer for each.
`output_file` keeps the answers of one command, `shared_output` those that several tasks give together.
`masks` finds masks beside images, `region_finder` stands in for them, by the maps of `class_activation`.
"""
