"""What people write instead of calling bccli: plain Keras scripts on the same prepared images."""
