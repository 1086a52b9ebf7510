"""The page that `evaluate --report` writes: `page` sets it, `words` says results in sentences, `svg_paths`
draws."""
