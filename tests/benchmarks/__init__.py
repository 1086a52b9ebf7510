"""The figures that bccli promises, measured against what people would do without it."""
