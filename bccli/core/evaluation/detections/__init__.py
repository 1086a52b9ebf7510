"""The boxes of a detector measured against lesions, film by film.

`films` brings boxes and lesions to the rows of predictions, `measuring` makes figures of them;
`lines` and `plot` are curves.
"""
