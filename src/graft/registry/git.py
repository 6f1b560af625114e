"""The git checkout around the project: commits of named files alone, and which commit is checked out."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from graft.core.errors import VersionError

_SECONDS = 120.0  # for hooks of the user's


@dataclass(frozen=True)
class Checkout:
    """A git checkout that tracks the project.

    Attributes:
        root: the project's folder.
        inside: path from the top of the checkout to the project; empty where they are the same.
    """

    root: Path
    inside: str

    @classmethod
    def of(cls, root: Path) -> Checkout | None:
        """The checkout that tracks the project's dvc.yaml; None without git, or in somebody else's checkout."""
        try:
            top = _run(root, "rev-parse", "--show-toplevel")
        except FileNotFoundError:
            return None
        if top.returncode:
            return None
        if not (root / ".git").exists() and _run(root, "ls-files", "--error-unmatch", "dvc.yaml").returncode:
            return None
        inside = root.resolve().relative_to(Path(top.stdout.strip()).resolve()).as_posix()
        return cls(root, "" if inside == "." else inside)

    def check_ready(self) -> None:
        """Check that a commit would succeed.

        Raises:
            VersionError: git does not know the committer, or a merge, rebase or cherry-pick is under way.
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

    def commit(self, paths: Sequence[Path], message: str) -> None:
        """Commit these files, and nothing else that is staged. Does nothing where none of them changed.

        Files that are missing or ignored by git are left out.

        Raises:
            VersionError: git refuses.
        """
        names = [self._name(path) for path in paths if path.exists()]
        kept = [name for name in names if _run(self.root, "check-ignore", "-q", "--", name).returncode]
        if not self._git("status", "--porcelain", "--untracked-files=all", "--", *kept):
            return
        self._git("add", "--", *kept)  # `commit --only` takes no untracked files
        self._git("commit", "--quiet", "--only", "-m", message, "--", *kept)

    def last_commit(self, path: Path) -> str:
        """Hash of the last commit that changed ``path``."""
        return self._git("log", "-1", "--format=%H", "--", self._name(path))

    def head(self, *paths: str) -> str | None:
        """Hash of HEAD, with ``-dirty`` where tracked files in ``paths`` differ; None before the first commit."""
        found = _run(self.root, "rev-parse", "-q", "--verify", "HEAD")
        if found.returncode:
            return None
        dirty = self._git("status", "--porcelain", "--untracked-files=no", "--", *paths)
        return found.stdout.strip() + ("-dirty" if dirty else "")

    def _name(self, path: Path) -> str:
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
