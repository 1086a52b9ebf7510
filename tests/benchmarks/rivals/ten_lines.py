"""What ten lines of Keras need for one answer.

Usage: python -m tests.benchmarks.rivals.ten_lines MODEL.keras IMAGE
"""

import sys

import keras
import numpy as np
from PIL import Image

model = keras.saving.load_model(sys.argv[1], compile=False)
image = Image.open(sys.argv[2]).convert("RGB").resize((model.input_shape[2], model.input_shape[1]))
print(model.predict(np.asarray(image, dtype="float32")[None], verbose=0))
