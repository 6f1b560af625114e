"""Uncompressed tar files of class folders as a source: members are listed by their headers and read in place.

Whatever packed them will do (``tar -C photos -cf photos.tar .``, or graft itself), as long as they are not compressed.
Nothing of a tar file becomes a path here, so that none of its names can lead anywhere; those that would try are passed
over with links and devices.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from graft.core.errors import DataError
from graft.core.packed_files import INDEX_FILE, MAX_BYTES, SUFFIX, PackedFile
from graft.core.progress import track
from graft.data.sources.labels import label_by_folders, label_by_pattern
from graft.data.sources.listing import Skipped, SourceListing, SourceSpec, ignored_reason, in_order, printable
from graft.data.sources.scan import LEADS_OUT, NO_FOLDER, is_folder, list_dir
from graft.modalities.base import Modality, is_sample, not_a_sample


def has_tar_files(folder: Path) -> bool:
    """Whether the folder holds tar files and no class folders."""
    kept = [entry for entry in list_dir(folder)[0] if ignored_reason(entry.name) is None]
    return any(entry.name.endswith(SUFFIX) for entry in kept) and not any(is_folder(entry) for entry in kept)


def read_tar_files(spec: SourceSpec) -> SourceListing:
    """List the samples of a folder's tar files; train, val and test folders inside them are honoured.

    Raises:
        DataError: a tar file is damaged or compressed, an image is there twice, or its folders contradict each other.
    """
    root = spec.path.resolve()
    skipped: list[Skipped] = []
    files: dict[PurePosixPath, PackedFile] = {}
    for tar_file in track(list(_tar_files(root, spec.follow_links, skipped)), "listing tar files"):
        for member in _members(tar_file):
            path = PurePosixPath(member.name)
            why = _skipped_reason(member, path, spec.modality)
            if why and not (why == NO_FOLDER and spec.label_from):
                skipped.append(Skipped(f"{tar_file.name}: {printable(member.name)}", why))
            elif path in files:
                raise _duplicate_error(path, files[path].shard, tar_file)
            elif not member.isdir():
                files[path] = PackedFile(tar_file, member.name, member.offset_data, member.size)
    if spec.label_from is not None:
        samples = label_by_pattern(files, spec.label_from, skipped)
    else:
        samples = label_by_folders(
            files, root, skipped, lambda top: f"pack what is in it: `tar -C {top} -cf {top}.tar .`"
        )
    return SourceListing(in_order(samples), tuple(sorted(skipped, key=lambda item: item.path)), watched=root)


def _tar_files(root: Path, follow_links: bool, skipped: list[Skipped]) -> Iterator[Path]:
    for entry in list_dir(root)[0]:
        path = Path(entry.path)
        why = ignored_reason(entry.name)
        if why is None and not (entry.name.endswith(SUFFIX) and entry.is_file()):
            why = "not a tar file"
        if why is None and not follow_links and not path.resolve().is_relative_to(root):
            why = LEADS_OUT
        if why is None:
            yield path
        elif entry.name != INDEX_FILE:
            skipped.append(Skipped(printable(entry.name), why))


def _members(tar_file: Path) -> Iterator[tarfile.TarInfo]:
    """Members of a tar file. ``tarfile`` takes a damaged header for the end, so the end is checked."""
    end = 0
    try:
        with tarfile.open(tar_file, "r:") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined] # else it keeps a kilobyte for each
                blocks = -(-member.size // tarfile.BLOCKSIZE) if member.isreg() else 0
                end = member.offset_data + blocks * tarfile.BLOCKSIZE
                yield member
        with tar_file.open("rb") as file:
            file.seek(end)
            if file.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
                raise tarfile.ReadError("it was cut off, or its middle is damaged")
    except (tarfile.TarError, OSError) as error:
        raise DataError(
            f"the tar file cannot be read: {error}",
            where=tar_file,
            remedy="pack it again without compression, such as by `tar -C photos -cf photos.tar .`, or take it out",
        ) from None


def _skipped_reason(member: tarfile.TarInfo, path: PurePosixPath, modality: Modality) -> str | None:
    """Why a member is skipped, or None."""
    if path.is_absolute() or ".." in path.parts:
        return "its path leads out of the tar file"
    if reason := next(filter(None, map(ignored_reason, path.parts)), None):
        return reason
    if member.isdir():
        return None
    if not member.isreg() or member.issparse():
        return "neither a file nor a folder"
    if not is_sample(path.name, modality):
        return not_a_sample(modality)
    if member.size > MAX_BYTES:
        return f"larger than {MAX_BYTES >> 20} MiB"
    return None if len(path.parts) > 1 else NO_FOLDER


def _duplicate_error(path: PurePosixPath, first: Path, second: Path) -> DataError:
    where = first.name if first == second else f"{first.name} and {second.name}"
    return DataError(
        f"the tar files hold {printable(str(path))} twice, in {where}",
        where=second,
        remedy="take one of them out, or give it another name",
    )
