"""What a backbone sees of an image: itself, or itself and its middle part."""
