"""How fast `Model.predict` is with batches of 32, its arrays in memory and itself warm.

Usage: python -m tests.benchmarks.rivals.keras_predict MODEL.keras FOLDER
"""

import json
import sys
import time
from pathlib import Path

import keras
import numpy as np
from PIL import Image

model = keras.saving.load_model(sys.argv[1], compile=False)
images = np.stack([np.asarray(Image.open(path), "float32") for path in sorted(Path(sys.argv[2]).iterdir())])
model.predict(images[:64], batch_size=32, verbose=0)
started = time.perf_counter()
model.predict(images, batch_size=32, verbose=0)
print(json.dumps({"images_per_second": len(images) / (time.perf_counter() - started)}))
