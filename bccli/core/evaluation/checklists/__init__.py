"""Journals' checklists, filled from what a run knows: `catalogue` names and fills them.

`facts` collects what is stored, `state` has the three states of an item, `of_data`, `of_model` and
`of_figures` say what follows from facts, and `claim` and `tripod_ai` have a row for each item.
"""
