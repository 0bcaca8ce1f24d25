"""The end of a run over a person's photos: verdicts, warnings, the reports, and what is said on the screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cloakbench.bench.core.escape import terminal
from cloakbench.bench.core.status import OK
from cloakbench.bench.protect.discover import PhotoFolder
from cloakbench.bench.protect.recognition import Threshold, find_thresholds, summary, verdict
from cloakbench.bench.protect.report import Row, left_rows, to_csv, to_markdown
from cloakbench.bench.protect.settings import Settings, settings_in_words
from cloakbench.bench.protect.sheet import Shown, draw_sheet
from cloakbench.bench.protect.state import FinishedCopies
from cloakbench.methods.context import Need
from cloakbench.models.same_weights import same_weights


@dataclass(frozen=True)
class ProtectOutcome:
    """What a run did.

    Attributes:
        report: the report for people.
        protected: photos that have a protected copy.
        reused: how many of these an earlier run had made.
        problems: a line for each photo without one.
        warnings: what to know before anything is published.
        verdicts: a line for each recogniser: how many faces it still knows.
    """

    report: Path
    protected: int
    reused: int
    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    verdicts: tuple[str, ...] = ()


def finish(
    settings: Settings,
    copies: FinishedCopies,
    photo_folder: PhotoFolder,
    table: list[Row],
    reused: int,
    *,
    references: int,
) -> ProtectOutcome:
    """Judge the table of all photos, of which the method saw so many ``references``, and write the reports over it."""
    thresholds = find_thresholds(settings) if any("cosines" in row for row in table) else {}
    table = [_with_verdict(row, thresholds) for row in table]
    alike = same_weights(settings.models)  # a judge that is a surrogate under another name says as little
    attacked = [key for key in settings.models if not alike[key].isdisjoint(settings.surrogates)]
    lines = summary(table, thresholds, attacked)
    warnings = _warnings(settings, table, references)
    labels = {key: f"{key} (surrogate)" if key in attacked else key for key in settings.models}
    labelled = [row | {"cosines": {labels[k]: v for k, v in row.get("cosines", {}).items()}} for row in table]
    listed = [*labelled, *left_rows(photo_folder)]
    said = [*settings_in_words(settings), *lines, *_threshold_words(thresholds)]
    reports = {
        "report.csv": to_csv([*table, *left_rows(photo_folder)], list(settings.models)),
        "report.md": to_markdown(listed, list(labels.values()), said, warnings, photo_folder),
    }
    if any(row["status"] == OK for row in table):
        reports["report.png"] = draw_sheet(_sheet(copies, photo_folder, table))
    copies.write_reports(reports)
    problems = tuple(
        terminal(f"{row['file']}: {row['status']}: {row['notes']}") for row in listed if row["status"] != OK
    )
    protected = len({row["file"] for row in table if row["status"] == OK})
    report = settings.output / "report.md"
    return ProtectOutcome(report, protected, reused, problems, tuple(warnings), tuple(lines))


def _with_verdict(row: Row, thresholds: Mapping[str, Threshold]) -> Row:
    return row | {"verdict": verdict(row["cosines"], thresholds)} if "cosines" in row else row


def _threshold_words(thresholds: Mapping[str, Threshold]) -> list[str]:
    return [
        f"Threshold of {key} at FAR 1e-3: {found.value:.4f}, {found.source}."
        for key, found in thresholds.items()
        if found.value is not None
    ]


def _sheet(copies: FinishedCopies, photo_folder: PhotoFolder, table: Sequence[Row]) -> list[Shown]:
    """The protected photos, each with what is said of its first face."""
    words: dict[str, str] = {}
    for row in table:
        if row["status"] == OK:
            words.setdefault(row["file"], row["verdict"])
    return [
        Shown(photo.name, words[photo.name], copies.pictures(photo))
        for photo in photo_folder.photos
        if photo.name in words
    ]


def _warnings(settings: Settings, table: Sequence[Row], references: int) -> list[str]:
    warnings = []
    embedded = [key for key in settings.surrogates if key in settings.embedded]
    if embedded:
        warnings.append(
            f"{', '.join(embedded)} learnt from rendered faces: changes made against it hide no real face. "
            "Choose a recogniser of real faces with model@surrogate=NAME."
        )
    if references and settings.references is None:
        warnings.append(
            "The change was learnt from these photos themselves; its effect on other photos of the person is not shown."
        )
    if references == 1 and Need.REFERENCES in settings.protector.needs:
        warnings.append(
            "The change was learnt from one photo alone, and may fail on others: name a folder of more with "
            "references=FOLDER."
        )
    if settings.generator is not None and (caution := settings.generator.card.caution):
        warnings.append(f"{caution[0].upper()}{caution[1:]}.")
    if settings.keys is not None and settings.seed_given:
        warnings.append(
            "The seed was given: whoever guesses it knows the random part of these keys. Leave seed out, and a secret "
            "one is drawn and kept with them."
        )
    lossy = {row["file"] for row in table if row.get("exact") == "no"}
    if lossy:
        warnings.append(
            f"{len(lossy)} copies are of a type that loses something: JPEG changes every pixel a little, also outside "
            "the face and beyond the budget; format=png does not."
        )
    return warnings
