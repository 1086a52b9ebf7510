"""What the scores of a network are compared with while it is trained.

`objective` has what an objective is, and that of classes; `cells` that of a detector's heat maps.
"""
