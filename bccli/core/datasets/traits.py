"""What the lists of datasets say of patients, breasts and lesions: a table of columns for each dataset.

A text that the table does not know is kept as it stands, and counted; nothing is guessed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bccli.core.data.foreign_tables import real
from bccli.core.data.manifest import Metadata
from bccli.core.datasets import Skip
from bccli.core.datasets.layout.indexes import Line
from bccli.core.reading.ages import is_age, years_of

_NONE = frozenset({"", "-", "nan", "none", "null", "removed"})


@dataclass(frozen=True)
class Trait:
    """A column of a manifest, and that of a list which it comes from.

    Its texts are some `words`, several of them with hyphens between, or numbers of `numbers`; those of an
    `age` are years. A dataset may lack it.
    """

    name: str
    column: str
    words: frozenset[str] = frozenset()
    numbers: range | None = None
    is_age: bool = False
    meaning: str = ""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


DENSITY = Trait("density", "breast_density", numbers=range(1, 5), meaning="1 (fatty) to 4 (dense)")
AGE = Trait("age", "Age", is_age=True, meaning="of the patient, in years")

_PATHOLOGIES = "MALIGNANT BENIGN BENIGN_WITHOUT_CALLBACK"
_SHAPES = """ROUND OVAL LOBULATED IRREGULAR ARCHITECTURAL_DISTORTION LYMPH_NODE FOCAL_ASYMMETRIC_DENSITY
    ASYMMETRIC_BREAST_TISSUE NA"""
_MARGINS = "CIRCUMSCRIBED OBSCURED MICROLOBULATED ILL_DEFINED SPICULATED NA"
_CALC_TYPES = """AMORPHOUS COARSE DYSTROPHIC EGGSHELL FINE_LINEAR_BRANCHING LARGE_RODLIKE LUCENT_CENTER
    LUCENT_CENTERED MILK_OF_CALCIUM PLEOMORPHIC PUNCTATE ROUND_AND_REGULAR SKIN VASCULAR NA"""
_DISTRIBUTIONS = "CLUSTERED SEGMENTAL LINEAR REGIONAL DIFFUSELY_SCATTERED NA"

CBIS = (
    DENSITY,
    Trait("birads", "assessment", numbers=range(6), meaning="BI-RADS assessment of the lesion, 0 to 5"),
    Trait("subtlety", "subtlety", numbers=range(1, 6), meaning="of the lesion, 1 (subtle) to 5 (obvious)"),
    Trait("pathology", "pathology", _words(_PATHOLOGIES), meaning="of the lesion"),
    Trait("mass_shape", "mass shape", _words(_SHAPES), meaning="of a mass"),
    Trait("mass_margins", "mass margins", _words(_MARGINS), meaning="of a mass"),
    Trait("calc_type", "calc type", _words(_CALC_TYPES), meaning="of a calcification"),
    Trait("calc_distribution", "calc distribution", _words(_DISTRIBUTIONS), meaning="of calcifications"),
    Trait("abnormality_id", "abnormality id", numbers=range(1, 100), meaning="number on its film"),
)
"""Contract, section 5; the words are those of the four lists."""

MINI_DDSM = (AGE, Trait("density", "Density", numbers=range(1, 5), meaning=DENSITY.meaning))
MIAS_TISSUES = Trait("tissue", "tissue", _words("F G D"), meaning="F fatty, G fatty-glandular, D dense")

INBREAST = (
    Trait("age", "Patient age", is_age=True, meaning=AGE.meaning),
    Trait("density", "ACR", numbers=range(1, 5), meaning=DENSITY.meaning),
    Trait("birads", "Bi-Rads", _words("1 2 3 4A 4B 4C 5 6"), meaning="BI-RADS assessment of the film"),
)

TRAITS: Mapping[str, tuple[Trait, ...]] = {
    "cbis-ddsm": CBIS,
    "mini-ddsm": MINI_DDSM,
    "mias": (MIAS_TISSUES,),
    "inbreast": INBREAST,
}
"""The columns of each dataset that has some; those of `csv` are whatever its table has."""


def traits_in(line: Line, traits: Iterable[Trait], skip: Skip) -> Metadata:
    """What a line says of the traits; what is empty is left out."""
    found = ((trait.name, text_of(trait, line.get(trait.column), line.where, skip)) for trait in traits)
    return tuple((name, text) for name, text in found if text)


def text_of(trait: Trait, text: str, where: str, skip: Skip) -> str:
    """The text of a trait as a manifest has it; one that is not known is kept, and remarked upon."""
    text = text.strip()
    if text.casefold() in _NONE:
        return ""
    plain = _plain(trait, text)
    if not _is_known(trait, plain):
        skip(f"{where}: {trait.column} {text!r}", "trait")
        return text
    return plain


def _plain(trait: Trait, text: str) -> str:
    """An age in years, a number without what programs add, such as 2 for 2.0 and 2,0, or the text."""
    if trait.is_age:
        return years_of(text) or text
    if trait.numbers is None:
        return text
    try:
        value = real(text.replace(",", "."))
        return str(int(value)) if value == int(value) else text
    except (ValueError, OverflowError):
        return text


def _is_known(trait: Trait, text: str) -> bool:
    if trait.is_age:
        return years_of(text) == text and is_age(text)
    if trait.numbers is not None:
        return text.isascii() and text.isdecimal() and int(text) in trait.numbers
    return set(text.upper().split("-")) <= trait.words
