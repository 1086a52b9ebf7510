"""Images as arrays: uint8 of shape (height, width, 3), RGB, wherever nothing else is said."""
