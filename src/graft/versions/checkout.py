"""The git checkout that a promotion is written down in: commits of named files alone, and tags; or none."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from graft.errors import VersionError

_SECONDS = 120.0  # a hook of the user's may take a while; none takes longer than this
_SEPARATOR = "="  # between folder and name in a tag, as DVC's registry of artifacts reads it


@dataclass(frozen=True)
class Checkout:
    """The part of a git checkout that is the project's folder.

    Attributes:
        root: the project's folder.
        inside: the path from the checkout's top to it; empty where they are the same.
    """

    root: Path
    inside: str

    @classmethod
    def of(cls, root: Path) -> Checkout | None:
        """The checkout that tracks the project; None where git is not installed or does not know of it.

        An archive may have been unpacked inside somebody's checkout: it is none of the project's.
        """
        try:
            top = _run(root, "rev-parse", "--show-toplevel")
        except FileNotFoundError:
            return None
        if top.returncode:
            return None
        tracked = _run(root, "ls-files", "--error-unmatch", "dvc.yaml").returncode == 0
        if not tracked and not (root / ".git").exists():
            return None
        inside = root.resolve().relative_to(Path(top.stdout.strip()).resolve()).as_posix()
        return cls(root, "" if inside == "." else inside)

    def check_ready(self) -> None:
        """Refuse, before anything is changed, where a commit would fail.

        Raises:
            VersionError: git does not know who commits, or a merge or rebase is under way.
        """
        if _run(self.root, "var", "GIT_COMMITTER_IDENT").returncode:
            raise VersionError(
                "git does not know who you are, so a promotion cannot be committed",
                where=self.root,
                remedy="git config user.name NAME && git config user.email ADDRESS",
            )
        for name, what in (("MERGE_HEAD", "merge"), ("rebase-merge", "rebase"), ("CHERRY_PICK_HEAD", "cherry-pick")):
            if (self.root / self._git("rev-parse", "--git-path", name)).exists():
                raise VersionError(f"a {what} is under way in this checkout", where=self.root, remedy="finish it first")

    def tag_for(self, name: str, number: int) -> str:
        """The tag of promotion ``number``, such as ``graft@v3.0.0``, in a subfolder ``sub/folder=graft@v3.0.0``."""
        return f"{self.inside}{_SEPARATOR if self.inside else ''}{name}@v{number}.0.0"

    def has_tag(self, tag: str) -> bool:
        """Whether there is such a tag."""
        return _run(self.root, "rev-parse", "-q", "--verify", f"refs/tags/{tag}").returncode == 0

    def changed(self, *paths: Path) -> bool:
        """Whether any of these files differs from the last commit, or is not in it."""
        return bool(self._git("status", "--porcelain", "--untracked-files=all", "--", *map(self._named, paths)))

    def commit(self, paths: Sequence[Path], message: str) -> None:
        """Commit these files as they are and nothing else: what is staged stays staged, and is not in the commit.

        Files that are not there, or that git is told to ignore, are left out.

        Raises:
            VersionError: git refuses; its words are in the message.
        """
        there = [self._named(path) for path in paths if path.exists()]
        kept = [name for name in there if _run(self.root, "check-ignore", "-q", "--", name).returncode]
        # What git does not yet know cannot be named to `commit`.
        self._git("add", "--", *kept)
        self._git("commit", "--quiet", "--only", "-m", message, "--", *kept)

    def tag(self, tag: str, message: str, path: Path) -> None:
        """Tag the last commit that changed ``path``."""
        commit = self._git("log", "-1", "--format=%H", "--", self._named(path))
        self._git("tag", "-a", "-m", message, tag, commit)

    def head(self, *paths: str) -> str | None:
        """The commit at hand, with ``-dirty`` where tracked files in ``paths`` differ; None before the first."""
        found = _run(self.root, "rev-parse", "-q", "--verify", "HEAD")
        if found.returncode:
            return None
        dirty = self._git("status", "--porcelain", "--untracked-files=no", "--", *paths)
        return found.stdout.strip() + ("-dirty" if dirty else "")

    def _named(self, path: Path) -> str:
        return path.resolve().relative_to(self.root.resolve()).as_posix()

    def _git(self, *words: str) -> str:
        done = _run(self.root, *words)
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip()).removeprefix("fatal: ").removeprefix("error: ")
            raise VersionError(f"git {words[0]} failed: {said}", where=self.root)
        return done.stdout.strip()


def _run(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", *words],
        cwd=root,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
        env={**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"},
    )
