"""The predictor of a run of kind classifier: images to features, features to class probabilities."""

from bccli.core.classifiers.models import load_classifier
from bccli.core.classifiers.visual_words import load_vocabulary
from bccli.core.models.runtimes import Engine, Network
from bccli.core.runs.run_folder import CLASSIFIER_FILE, VOCABULARY_FILE, Run
from bccli.core.training.design import WORDS


def load_classified(run: Run, engine: Engine) -> Network:
    """The function from prepared images uint8 (n, height, width, 3) to class probabilities (n, classes).

    Raises DataError where a file of the run is damaged.
    """
    classifier = load_classifier(run.file(CLASSIFIER_FILE))
    features: Network = (
        load_vocabulary(run.file(VOCABULARY_FILE)).of_images
        if run.info.settings["classifier"] == WORDS
        else engine.outputs(run, "extractor")
    )
    return lambda images: classifier.probabilities(features(images))
