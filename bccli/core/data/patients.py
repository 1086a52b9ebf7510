"""What a cell or a name says about the patient: unknown, or an id; numbers are spelled in several ways."""

import re
from collections.abc import Callable, Iterable

_UNKNOWN = frozenset(
    {"", "nan", "-nan", "na", "n/a", "#n/a", "#na", "<na>", "none", "null", "unknown", "-", "--", "?"}
)
_PATIENTS = frozenset({"patient", "patientid", "patientnumber", "subject", "subjectid"})
_SAYS_WHO = frozenset(
    {
        *("name", "names", "initials", "patientinitials", "dob", "street", "zip", "phone", "fax"),
        *("email", "ssn", "mrn", "nhs", "nhsno", "nhsnr", "nhsid", "chinumber", "iban", "accession"),
        *("accessionno", "accessionnr", "accessionid", "hospitalno", "hospitalnr", "hospitalid"),
        *("nameofpatient", "ptname", "nom", "prenom", "nombre", "apellido", "apellidos", "nome"),
        *("cognome", "cpf", "casenote", "casenoteno", "otherpatientid", "otherpatientids"),
    }
)
_PARTS_THAT_SAY_WHO = re.compile(
    "patients?(?:full)?name|fullname|forename|firstname|middlename|lastname|surname|givenname|familyname|"
    "birthname|maidenname|vorname|nachname|birthdate|birthday|dateofbirth|geburtsdatum|datedenaissance|"
    "address|zipcode|postcode|postalcode|phonenumber|telephone|emailaddress|socialsecurity|insuranceno|"
    "insurancenumber|insuranceid|medicalrecord|nhsnumber|hospitalnumber|nationalid|passport|accessionnumber|"
    "instanceuid|referringphysician|physicians?name"
)
_BETWEEN = re.compile(r"[^a-z0-9]+")
_WHOLE = re.compile(r"0*([0-9]+?)(?:\.0+)?")


def known_patient(text: str) -> str:
    """A patient's id without blanks around it; empty where the text says that nobody knows it."""
    text = text.strip()
    return "" if text.lower() in _UNKNOWN else text


def compact(column: str) -> str:
    """A column's name in small letters and digits only, as PatientID and patient_id have in common."""
    return _BETWEEN.sub("", column.casefold())


def says_who(column: str) -> bool:
    """Whether a column of a table says who a patient is, by its name: such do not belong in a dataset."""
    name = compact(column)
    return name in _SAYS_WHO or _PARTS_THAT_SAY_WHO.search(name) is not None


def names_patients(column: str) -> bool:
    """Whether a column can only have the ids of patients, by its name, such as `PatientID`."""
    return compact(column) in _PATIENTS


def plain_number(text: str) -> str:
    """A text, or of a whole number what all its spellings have in common: no leading zeros, no trailing `.0`.

    >>> plain_number("007") == plain_number("7.0") == "7"
    True
    >>> plain_number("P007")
    'P007'
    """
    match = _WHOLE.fullmatch(text)
    return match[1] if match else text


class Spellings:
    """Gives all spellings of an id the first one; `met` is called with each other one, and the first."""

    def __init__(self, met: Callable[[str, str], None] = lambda other, first: None) -> None:
        self._first: dict[str, str] = {}
        self._others: set[str] = set()
        self._met = met

    def first(self, text: str) -> str:
        """The id as it was spelled first; empty for an unknown one."""
        patient = known_patient(text)
        if not patient:
            return ""
        first = self._first.setdefault(plain_number(patient), patient)
        if first != patient and patient not in self._others:
            self._others.add(patient)
            self._met(patient, first)
        return first


def spelled(name: str, known: Iterable[str]) -> str | None:
    """The id among `known` that `name` means, whatever its spelling; None where there is none."""
    by_key = {plain_number(patient): patient for patient in known}
    return by_key.get(plain_number(name))
