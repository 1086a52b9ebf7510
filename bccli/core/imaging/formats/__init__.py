"""Files to pixels and back: `decoding` and `encoding` are for other rooms, and each format has a module."""
