"""How a release is cited: `release.citation` of a run's file."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from skymill.config.base import Settings

DOI = re.compile(r"10\.\d{4,9}/[A-Za-z0-9:/_;().-]+")
ORCID = re.compile(r"\d{4}-\d{4}-\d{4}-\d{3}[\dX]")
ORCID_URL, DOI_URL = "https://orcid.org/", "https://doi.org/"


def check_orcid(value: str) -> str:
    """Give an ORCID without its address, if its last digit is the check digit of the others (ISO 7064 MOD 11-2).

    Raises
    ------
    ValueError
        If it has another form or another check digit.
    """
    bare = value.removeprefix(ORCID_URL)
    if not ORCID.fullmatch(bare):
        raise ValueError(f"expected an ORCID like 0000-0002-1825-0097, found '{value}'")
    digits, last = bare.replace("-", "")[:-1], bare[-1]
    total = 0
    for digit in digits:
        total = 2 * (total + int(digit))
    expected = "0123456789X"[(12 - total % 11) % 11]
    if last != expected:
        raise ValueError(
            f"expected an ORCID that ends in {expected}, its check digit, found '{value}'; a digit is wrong"
        )
    return bare


def check_doi(value: str) -> str:
    """Give a DOI without its address.

    Raises
    ------
    ValueError
        If it has another form.
    """
    bare = value.removeprefix(DOI_URL)
    if not DOI.fullmatch(bare):
        raise ValueError(f"expected a DOI like 10.5281/zenodo.1234567, found '{value}'")
    return bare


def check_licence(value: str) -> str:
    """Give an identifier of the SPDX list in the spelling of that list.

    Raises
    ------
    ValueError
        If there is no such licence.
    """
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    try:
        name = str(canonicalize_license_expression(value))
    except InvalidLicenseExpression:
        name = ""
    if not name or " " in name or name.startswith("LicenseRef-"):
        raise ValueError(f"expected one identifier of https://spdx.org/licenses, like CC-BY-4.0, found '{value}'")
    return name


def check_identifier(value: str) -> str:
    """Give the DOI, or the address, of another work.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if value.startswith(("https://", "http://")) and not value.startswith(DOI_URL) and not re.search(r"\s", value):
        return value
    return check_doi(value)


Text = Annotated[str, Field(min_length=1)]


class Creator(Settings):
    """A person or an organisation that a release is by."""

    name: Text
    """In full, as it is to be cited."""
    given_name: Text | None = None
    """Of a person."""
    family_name: Text | None = None
    """Of a person."""
    orcid: Annotated[str, AfterValidator(check_orcid)] | None = None
    """Of a person, like 0000-0002-1825-0097; its check digit is checked."""
    affiliation: Text | None = None
    """Name of an organisation."""

    @property
    def is_person(self) -> bool:
        """Whether it is known to be a person, not an organisation."""
        return any((self.given_name, self.family_name, self.orcid))


class RelatedWork(Settings):
    """Another work: a paper that describes the survey, the data that the release was made from."""

    identifier: Annotated[str, AfterValidator(check_identifier)]
    """Its DOI, or its address (https://...)."""
    relation: Literal["IsDerivedFrom", "IsDescribedBy", "IsDocumentedBy", "IsSupplementTo", "References", "Cites"] = (
        "IsDerivedFrom"
    )
    """What the release is to it, in the words of DataCite."""
    title: Text | None = None
    """For people, beside the identifier."""

    @property
    def is_doi(self) -> bool:
        """Whether it is named by its DOI."""
        return DOI.fullmatch(self.identifier) is not None

    @property
    def url(self) -> str:
        """Its address."""
        return DOI_URL + self.identifier if self.is_doi else self.identifier


class CitationSettings(Settings):
    """How a release is cited; goes into its documents. What is not said here, they say is not known."""

    title: Text | None = None
    """Of the release; made of the survey's name where null."""
    description: Text | None = None
    """What the release is, in a few sentences; made of its contents where null."""
    creators: list[Creator] = []
    """Who the release is by, in the order of the citation."""
    publisher: Text | None = None
    """Who makes it available: an archive, an observatory."""
    license: Annotated[str, AfterValidator(check_licence)] | None = None
    """Identifier of a licence in the SPDX list, like CC-BY-4.0."""
    doi: Annotated[str, AfterValidator(check_doi)] | None = None
    """Of the next release, once it is reserved; change it for each."""
    keywords: list[Text] = []
    """Words that it is to be found by."""
    related: list[RelatedWork] = []
    """Other works: papers on the survey, the data that the release was made from."""
