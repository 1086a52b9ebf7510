"""Networks: backbones, heads, and their assembly. TensorFlow is imported inside functions only."""
