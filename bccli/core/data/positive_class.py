"""Which class is positive, and in which order classes stand, where only their names can say so.

Whole names are compared with the field's words; case, separators and a plural's s do not matter. Names of
other classes are never guessed at: `0` and `1` are no words, as some tables call malignant 0 and others 1.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

NORMAL, BENIGN, ATYPICAL, IN_SITU, MALIGNANT = range(5)
"""Severities."""

GIVEN, KNOWN, UNKNOWN = "given", "known", "unknown"
Origin = Literal["given", "known", "unknown"]
"""How a positive class came about: by --positive, by its dataset or its name, or as the last one."""

_TUMOR = ("tumor", "tumour", "cancer", "carcinoma", "malignant", "malignancy", "cancerous", "idc")

_WORDS: dict[int, tuple[str, ...]] = {
    NORMAL: (
        "normal", "normal tissue", "healthy", "healthy tissue", "negative", "neg",
        *(f"{no} {word}" for no in ("no", "non", "not", "without") for word in _TUMOR),
    ),
    BENIGN: (
        "benign", "benign lesion", "benign mass", "benign tumor", "benign tumour", "benign tissue",
        "benign without callback", "pathological benign", "adenosis", "sclerosing adenosis", "fibroadenoma",
        "phyllodes", "phyllodes tumor", "phyllodes tumour", "adenoma", "tubular adenoma", "cyst",
        "fibrocystic change", "hyperplasia", "usual ductal hyperplasia", "udh", "papilloma",
        "intraductal papilloma", "hamartoma", "lipoma", "fat necrosis",
    ),
    ATYPICAL: (
        "atypical", "atypia", "atypical hyperplasia", "atypical ductal hyperplasia", "adh",
        "atypical lobular hyperplasia", "alh", "flat epithelial atypia", "fea",
    ),
    IN_SITU: (
        "in situ", "in situ carcinoma", "carcinoma in situ", "cis", "dcis", "ductal carcinoma in situ",
        "lcis", "lobular carcinoma in situ", "non invasive", "non invasive carcinoma",
    ),
    MALIGNANT: (
        "malignant", "malignancy", "malignant lesion", "malignant mass", "malignant tumor",
        "malignant tumour", "malignant tissue", "cancer", "cancerous", "breast cancer", "carcinoma",
        "breast carcinoma", "ductal carcinoma", "lobular carcinoma", "mucinous carcinoma",
        "papillary carcinoma", "invasive", "invasive carcinoma", "invasive cancer",
        "invasive ductal carcinoma", "idc", "invasive lobular carcinoma", "ilc", "metastasis", "metastases",
        "tumor", "tumour", "positive", "pos",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Positive:
    """The positive class, and how it came about: GIVEN, KNOWN or UNKNOWN."""

    name: str
    origin: str


def _bare(name: str) -> str:
    """The name's letters and digits alone, in one case."""
    text = unicodedata.normalize("NFKC", name).casefold()
    return "".join(char for char in text if char.isalnum())


_SEVERITIES = {_bare(word): severity for severity, words in _WORDS.items() for word in words}


def severity(name: str) -> int | None:
    """How grave a class is as its name says, NORMAL to MALIGNANT; None where the field has no such word.

    >>> severity("No-Tumour"), severity("DCIS"), severity("class 1")
    (0, 3, None)
    """
    bare = _bare(name)
    return _SEVERITIES.get(bare, _SEVERITIES.get(bare.removesuffix("s")))


def class_order(names: Iterable[str]) -> tuple[str, ...]:
    """The classes by severity where all are known or two of them leave no doubt, else alphabetical with
    normal first; numbers in names count as numbers.

    >>> class_order(["tumor", "normal"]), class_order(["grade 10", "grade 2"])
    (('normal', 'tumor'), ('grade 2', 'grade 10'))
    """
    found = sorted(names, key=_natural)
    ranks = {name: severity(name) for name in found}
    if (positive := positive_of(found)) is not None:
        return *(name for name in found if name != positive), positive
    if None not in ranks.values():
        return tuple(sorted(found, key=lambda name: ranks[name] or NORMAL))
    return tuple(sorted(found, key=lambda name: ranks[name] != NORMAL))


def positive_of(classes: Sequence[str]) -> str | None:
    """The positive one of two classes as their names say; None where they do not, or are not two.

    The graver of two known ones; beside a normal, benign or negative class the other one.
    """
    if len(classes) != 2:
        return None
    one, other = (severity(name) for name in classes)
    if one == other:
        return None
    if one is not None and other is not None:
        return classes[int(other > one)]
    known = other if one is None else one
    return classes[int(one is not None)] if known is not None and known <= BENIGN else None


def find_positive(classes: Sequence[str], given: str | None = None, *, ordered: bool = False) -> Positive:
    """The positive one of classes in order, the last unless it is `given` or two names say another.

    `ordered` says that their order is itself known to be that of severity.
    """
    if given is not None:
        return Positive(given, GIVEN)
    if ordered:
        return Positive(classes[-1], KNOWN)
    if (named := positive_of(classes)) is not None:
        return Positive(named, KNOWN)
    known = len(classes) > 2 and None not in map(severity, classes)
    return Positive(classes[-1], KNOWN if known else UNKNOWN)


def gravest(classes: Sequence[str], positive: str | None = None) -> str:
    """The class that deserves an alarm: by severity, never a normal one beside others.

    Of equally grave ones, and of classes without a known name, the positive one, or else the last.
    """
    ranks = {name: severity(name) for name in classes}
    top = max((rank for rank in ranks.values() if rank is not None), default=NORMAL)
    unnamed = [name for name in classes if ranks[name] is None]
    among = unnamed if unnamed and top <= BENIGN else [name for name in classes if ranks[name] == top]
    return positive if positive in among else among[-1]


def most_harmless(classes: Sequence[str], positive: str | None = None) -> str:
    """The least grave of the classes that are not `gravest`, the first of several; of one class itself."""
    others = [name for name in classes if name != gravest(classes, positive)] or classes
    ranks = {name: severity(name) for name in others}
    return min(others, key=lambda name: len(_WORDS) if ranks[name] is None else ranks[name] or NORMAL)


def positive_sentence(classes: Sequence[str], positive: Positive) -> str:
    """What users are told: the positive one of two classes, or the order of more, and how it came about."""
    if len(classes) == 2 or positive.origin == GIVEN:
        return f"positive class: {positive.name} ({_REASONS[positive.origin]})"
    return f"classes: {', '.join(classes)} ({_ORDERS[positive.origin]})"


_REASONS = {
    GIVEN: "given by --positive",
    KNOWN: "known to be the graver one",
    UNKNOWN: "the last one, as the names do not say which is positive; --positive NAME chooses",
}
_ORDERS = {
    KNOWN: "in the order of their severity",
    UNKNOWN: "in alphabetical order, as not every name says how grave its class is",
}


def _natural(name: str) -> tuple[list[tuple[bool, int, str]], str]:
    """A key by which names sort with the numbers in them as numbers, whatever their length."""
    segments = re.split("([0-9]+)", name.casefold())
    numbers = (piece.lstrip("0") for piece in segments)
    return [
        (not index % 2, len(number) if index % 2 else 0, number if index % 2 else piece)
        for index, (piece, number) in enumerate(zip(segments, numbers, strict=True))
    ], name
