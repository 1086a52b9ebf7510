"""Where in an image networks look: `class_activation` and `occlusion` make maps, `heat` places them on a
picture of the image, and `overlay` paints them there."""
