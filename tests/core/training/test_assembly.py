"""Building on what an earlier run has built."""

from bccli.core.models import backend
from bccli.core.models.heads import Head, assemble, build_head
from bccli.core.training.assembly import reserve_names


def test_what_is_built_on_a_held_extractor_has_names_of_its_own() -> None:
    """A sigmoid's answers take a negative, and so may what prepares the pixels."""
    backend.start("cpu")
    import keras

    keras.backend.clear_session()
    pixels = keras.Input((4,))
    extractor = keras.Model(pixels, 1.0 + -pixels / 2.0)
    for _ in range(2):
        keras.backend.clear_session()
        reserve_names(extractor)
        whole = assemble(extractor, build_head(Head(output="sigmoid"), 4, 2), "sigmoid")
        names = [operation.name for operation in whole.operations]
        assert len(set(names)) == len(names)
        assert {"negative", "negative_1"} <= set(names)
