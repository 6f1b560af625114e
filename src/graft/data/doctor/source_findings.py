"""Findings about a source that come before its samples: the rules of a table, and the names of class folders."""

from __future__ import annotations

from graft.core.errors import DataError
from graft.data.sources.labels import INNERMOST_FOLDER, nested_classes
from graft.data.sources.listing import SourceListing
from graft.data.sources.tables.spelling import spellings
from graft.data.validation.findings import FailingItem, Finding


def source_findings(found: SourceListing) -> tuple[Finding, ...]:
    """A table's rules, each with the change that is proposed for a row; or what is said of class folders."""
    if found.table is None and found.watched is not None:
        return (_similar_names(found), _nested_folders(found))
    return tuple(
        Finding(
            problem.check,
            problem.severity,
            problem.met,
            problem.says,
            len(problem.changes) or int(problem.by_hand),
            tuple(
                FailingItem(str(found.table), item.path or ("(empty)" if item.row else "heading"), item.sentence())
                for item in problem.changes
            ),
            problem.remedy,
        )
        for problem in found.problems
    )


def from_error(check: str, says: str, error: DataError) -> Finding:
    """The critical finding of what the pipeline would raise."""
    where = f" ({error.where})" if error.where else ""
    return Finding(check, "critical", False, f"{says}, but {error.what}{where}", 1, (), error.remedy or "")


def _similar_names(found: SourceListing) -> Finding:
    """Class folders that are called the same but for case or form; a table's rules say it of a table."""
    first = {sample.label: sample.source for sample in reversed(found.samples)}
    alike = [sorted(counts) for counts in spellings(sorted(first)).values() if len(counts) > 1]
    failing = tuple(
        FailingItem(first[name], first[name], f"classes {' and '.join(map(repr, names))}")
        for names in alike
        for name in names
    )
    return Finding(
        "class_names",
        "warning",
        not failing,
        "no two classes are called the same but for case, white space or Unicode form",
        len(failing),
        failing,
        "put their images into one folder, or call them something that differs in more than that",
    )


def _nested_folders(found: SourceListing) -> Finding:
    first = {sample.label: sample.source for sample in reversed(found.samples)}
    failing = tuple(
        FailingItem(first[label], label, f"{len(names)} sub-folders, such as {', '.join(names[:3])}")
        for label, names in nested_classes(found.samples).items()
    )
    return Finding(
        "nested_folders",
        "warning",
        not failing,
        "no class folder is divided into folders, which are not read as classes",
        len(failing),
        failing,
        "nothing has to be done where they are parts of one class; where each is a class of its own (species in a "
        f"genus), set data.label_from to '{INNERMOST_FOLDER}'",
        about="class",
    )
