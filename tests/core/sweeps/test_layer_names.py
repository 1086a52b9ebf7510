"""The layers that `finetune --from-layer` names, before any network is built."""

from pathlib import Path

import pytest

from bccli.core.errors import UsageError
from bccli.core.sweeps.finetune import Bases, Layers


@pytest.mark.parametrize("text", ["cnn-15:", ":34", ":"])
def test_a_layer_of_a_backbone_has_both_parts(text: str) -> None:
    layers, none = Layers((text,), lenient=True), Bases(Path("run"), ())
    with pytest.raises(UsageError, match=f"--from-layer '{text}' .*BACKBONE:GAMMA"):
        layers.of_all(none, device="cpu", deterministic=True, verbose=False)
