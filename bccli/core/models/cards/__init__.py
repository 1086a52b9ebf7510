"""Cards of foundation models, without weights: what each wants and gives, and how to export it."""
