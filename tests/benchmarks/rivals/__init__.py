"""What people write or call instead of bccli, on the same images."""
