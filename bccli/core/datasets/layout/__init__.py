"""What names of files and folders, and tables beside images, say about the images."""
