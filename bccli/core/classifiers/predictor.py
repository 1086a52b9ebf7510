"""The predictor of a run of kind classifier: images to features, features to class probabilities."""

import numpy as np

from bccli.core.classifiers.models import load_classifier
from bccli.core.classifiers.visual_words import load_vocabulary
from bccli.core.errors import DataError
from bccli.core.models.runtimes import Engine, Network
from bccli.core.runs.run_folder import CLASSIFIER_FILE, EXTRACTOR, VOCABULARY_FILE, Run
from bccli.core.training.design import WORDS


def load_classified(run: Run, engine: Engine) -> Network:
    """The function from prepared images uint8 (n, height, width, 3) to class probabilities (n, classes).

    Raises DataError where a file of the run is damaged.
    """
    classifier = load_classifier(run.file(CLASSIFIER_FILE))
    features: Network = (
        load_vocabulary(run.file(VOCABULARY_FILE)).of_images
        if run.info.settings["classifier"] == WORDS
        else engine.outputs(run, EXTRACTOR)
    )

    def classified(images: np.ndarray) -> np.ndarray:
        values = features(images)
        if values.shape[1] != classifier.width:
            raise DataError(
                f"{run.root}: its classifier wants {classifier.width} numbers for an image, and gets "
                f"{values.shape[1]}; copy the whole folder again"
            )
        return classifier.probabilities(values)

    return classified
