"""`croissant`: the photos of a run as a data set in Croissant 1.1 (MLCommons, 2026), over its ``manifest.csv``.

The description names no photo but those of the manifest, by id and digest: the photos themselves stay where they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CONFORMS_TO = "http://mlcommons.org/croissant/1.1"
MANIFEST = "manifest.csv"
FIELDS = {
    "image_id": "Stable and unique name of the photo.",
    "identity": "Who is on it; a name of the data set's own.",
    "role": "The part it plays: reference, probe, distractor, auxiliary, impostor, train or test.",
    "sha256": "Digest of the pixels that were measured.",
    "status": "Whether it could be used.",
    "note": "Why not.",
}
"""The columns of the manifest."""

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


@dataclass(frozen=True)
class Described:
    """What is said of the faces.

    Attributes:
        name, version: of the data set.
        description: what it is, in a sentence.
        licence: its terms.
        page: where they and the photos are to be had.
        published: the day of the description, ``2026-11-27``.
        creator: who made the data set.
    """

    name: str
    version: str
    description: str
    licence: str
    page: str
    published: str
    creator: str


def croissant(described: Described, columns: Mapping[str, str], manifest_sha256: str) -> dict[str, Any]:
    """The description as JSON-LD.

    Args:
        described: what is said of the faces.
        columns: those of the manifest, name to meaning.
        manifest_sha256: digest of the file ``manifest.csv`` beside the description.
    """
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": described.name,
        "version": described.version,
        "description": described.description,
        "license": described.licence,
        "url": described.page,
        "datePublished": described.published,
        "creator": {"@type": "Organization", "name": described.creator},
        "citeAs": described.page,
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": MANIFEST,
                "name": MANIFEST,
                "description": "Every photo of the run with person, role and digest.",
                "contentUrl": MANIFEST,
                "encodingFormat": "text/csv",
                "sha256": manifest_sha256,
            }
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "photos",
                "name": "photos",
                "description": "One record for each photo.",
                "key": {"@id": "photos/image_id"},
                "field": [_field(name, meaning) for name, meaning in columns.items()],
            }
        ],
    }


def _field(name: str, meaning: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"photos/{name}",
        "name": name,
        "description": meaning,
        "dataType": "sc:Text",
        "source": {"fileObject": {"@id": MANIFEST}, "extract": {"column": name}},
    }
