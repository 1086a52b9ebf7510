"""Facts about images from the names of files and folders, and from tables beside the images."""
