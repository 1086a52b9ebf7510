"""Fetching ImageNet weights into Keras's cache, the only thing that asks a network, and only when told to."""

import http.client
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bccli.core import interruption
from bccli.core.catalog import Backbone
from bccli.core.errors import UsageError, WeightsError
from bccli.core.files import replacing_file
from bccli.core.progress import SILENT, Watcher
from bccli.core.weights.pretrained import address, cached_file
from bccli.core.weights.weight_files import check_file

_BLOCK = 1 << 20
_SILENCE = 30
"""Seconds without a byte after which a connection is given up."""


def fetch_weights(backbones: Sequence[Backbone], watcher: Watcher = SILENT) -> list[dict[str, Any]]:
    """Fill Keras's cache with the weights of backbones; returns a row for each with its file and its size.

    What is there already is not fetched again. The environment's proxies are used. Raises UsageError where
    there is nothing to fetch, WeightsError where something cannot be fetched or is no file of weights.
    """
    published = [row for row in backbones if row.weights]
    if not published:
        names = ", ".join(row.name for row in backbones)
        raise UsageError(
            f"--fetch-weights: there are no ImageNet weights of {names}; name another --backbone"
        )
    rows = []
    for backbone in published:
        fetched = not _is_here(backbone)
        file = _fetch(backbone, watcher) if fetched else cached_file(backbone)
        state = "fetched" if fetched else "here"
        rows.append({"name": backbone.name, "state": state, "bytes": file.stat().st_size, "file": str(file)})
    return rows


def _is_here(backbone: Backbone) -> bool:
    """Whether the cache has a file of weights, and not what was left of one."""
    file = cached_file(backbone)
    try:
        check_file(file, backbone.name)
    except WeightsError:
        return False
    return True


def _fetch(backbone: Backbone, watcher: Watcher) -> Path:
    file, url = cached_file(backbone), address(backbone)
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with replacing_file(file) as temporary:
            _download(url, temporary, watcher, backbone.name)
            check_file(temporary, backbone.name)
    except (http.client.HTTPException, urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise WeightsError(
            f"{url} could not be fetched ({reason}); look at the network and at https_proxy, or fetch it "
            f"elsewhere and put it at {file}"
        ) from None
    return file


def _download(url: str, file: Path, watcher: Watcher, what: str) -> None:
    """Raises urllib's, http's and socket's errors, also where the file ends before it should."""
    # With the proxies of now: a shared opener has those of the first call.
    opener = urllib.request.build_opener()
    with opener.open(url, timeout=_SILENCE) as response, file.open("wb") as stream:
        expected = int(response.headers.get("Content-Length") or 0)
        with watcher.track(expected, f"bytes of {what}") as advance:
            while block := response.read(_BLOCK):
                interruption.stop_if_requested()
                stream.write(block)
                advance(len(block))
        if expected and stream.tell() != expected:
            raise http.client.IncompleteRead(b"", expected - stream.tell())
