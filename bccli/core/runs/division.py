"""A work on many things divided between processes that share a store, though each may want other things.

A thing is known by a hash, and a bucket is all things whose hashes begin with the same bits, by which it is
named. Whoever makes things claims buckets first, large ones where it has few things to make and small ones
where it has many. Nobody has to agree on a size: of two buckets that overlap, the name of the larger one is
the beginning of the other's, and only one is had at a time.
"""

import math
import os
import random
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Protocol

from bccli.core import interruption
from bccli.core.progress import Watcher
from bccli.core.runs.claims import Claims

BUCKET = 128
"""A bucket has at most about so many of the things that a process wants, down to buckets of `MOST_BITS`."""

MOST_BITS = 8
_NAME = "bits-"
_POLL, _LONGEST_POLL = 0.05, 2.0


class Store(Protocol):
    """What the processes make things for."""

    def look_again(self) -> None:
        """See what has been stored since the last look."""

    def missing(self, hashes: Iterable[str]) -> Collection[str]:
        """Those of the things that are not stored, as of the last look."""


class Division:
    """The things that this process wants made and the store lacks; `found` is told how many others made.

    At the end of the block all claims are free again, whatever has been made.
    """

    def __init__(
        self, claims: Claims, hashes: Sequence[str], store: Store, found: Callable[[int], None]
    ) -> None:
        self._claims, self._store, self._found = claims, store, found
        self._left = _divided(hashes, _bits_for(len(hashes)))
        self._queue: deque[str] = deque()
        self._held: deque[tuple[int, ExitStack]] = deque()

    def __enter__(self) -> "Division":
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as claims:
            for held in self._held:
                claims.push(held[1])
        with suppress(OSError):  # others may have claims
            self._claims.folder.rmdir()

    @property
    def finished(self) -> bool:
        """Whether each thing is in the store or was given to this process by `claim`."""
        return not self._left and not self._queue

    def claim(self, amount: int) -> list[str]:
        """The next things for this process to make, fewer than `amount` only where no others can be had."""
        for bucket in [*self._left]:
            if len(self._queue) >= amount:
                break
            self._try(bucket)
        return [self._queue.popleft() for _ in range(min(amount, len(self._queue)))]

    def stored(self, amount: int) -> None:
        """So many more of the things that `claim` gave, in their order, are in the store."""
        while self._held and amount >= self._held[0][0]:
            count, claim = self._held.popleft()
            amount -= count
            claim.close()
        if amount:
            count, claim = self._held.popleft()
            self._held.appendleft((count - amount, claim))

    def wait(self, watcher: Watcher) -> None:
        """Wait until others have stored what is left, or some of it can be claimed. Raises Stopped."""
        pause, announced = _POLL, False
        while True:
            interruption.stop_if_requested()
            time.sleep(random.uniform(0.5, 1) * pause)  # not in step with a rival who gave way, too
            pause = min(pause * 1.5, _LONGEST_POLL)
            self._store.look_again()
            for bucket in [*self._left]:
                self._keep_missing(bucket)
            if not self._left or any(map(self._can_be_had, self._left)):
                return
            if not announced and (signs := self._claims.living()):
                watcher.note(f"waiting for what {signs[0]} is making")
                announced = True

    def _try(self, bucket: str) -> None:
        """Claim a bucket if that can be; where others have parts of it, the rest of it."""
        with ExitStack() as claim:
            if claim.enter_context(self._taken(bucket)):
                self._store.look_again()  # whoever had it may have made all
                if wanted := self._keep_missing(bucket):
                    del self._left[bucket]
                    self._queue.extend(wanted)
                    self._held.append((len(wanted), claim.pop_all()))
                return
        if self._rivals(bucket) and self._can_be_had(bucket):
            halves = _divided(self._left.pop(bucket), len(bucket) + 1)
            self._left |= halves
            for half in halves:
                self._try(half)

    @contextmanager
    def _taken(self, bucket: str) -> Iterator[bool]:
        """Have a bucket, if nobody has one that overlaps it; of two who try at once, both may give way."""
        if self._rivals(bucket):
            yield False
            return
        with self._claims.taken(_NAME + bucket) as mine:
            yield mine and self._rivals(bucket) == [bucket]

    def _rivals(self, bucket: str) -> list[str]:
        """The buckets that somebody has and that overlap this one."""
        names = (name for name in self._claims.names() if name.startswith(_NAME))
        others = (name.removeprefix(_NAME) for name in names)
        near = [other for other in others if other.startswith(bucket) or bucket.startswith(other)]
        return [other for other in near if not self._claims.is_free(_NAME + other)]

    def _can_be_had(self, bucket: str) -> bool:
        """Whether nobody has all of a bucket, and what somebody has of it can be left out."""
        return all(len(other) > len(bucket) for other in self._rivals(bucket))

    def _keep_missing(self, bucket: str) -> list[str]:
        """Forget the things of a bucket that others have stored; returns the rest."""
        wanted = self._left[bucket]
        missing = [*self._store.missing(wanted)]
        self._found(len(wanted) - len(missing))
        self._left[bucket] = missing
        if not missing:
            del self._left[bucket]
        return missing


def _bits_for(count: int) -> int:
    """By how many bits so many things are divided into buckets."""
    return max(0, min(MOST_BITS, math.ceil(math.log2(max(count, 1) / BUCKET))))


def _divided(hashes: Iterable[str], bits: int) -> dict[str, list[str]]:
    """Things by their buckets; each process begins with another one."""
    found: dict[str, list[str]] = {}
    for text in hashes:
        found.setdefault(f"{int(text[:8], 16):032b}"[:bits], []).append(text)
    names = sorted(found)
    first = random.Random(f"{os.uname().nodename} {os.getpid()}").randrange(len(names)) if names else 0
    return {name: found[name] for name in [*names[first:], *names[:first]]}
