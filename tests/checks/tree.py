"""What the checks share: the tree's files and the way a finding is reported."""

import argparse
import os
import pathlib
import sys

SKIPPED_FOLDERS = {".git", "build", "__pycache__", ".pytest_cache", ".mypy_cache"}
ROOT = pathlib.Path(__file__).resolve().parents[2]


class Findings:
    """Collects findings; each is one line, 'file:line: sentence'."""

    def __init__(self):
        self.lines = []

    def add(self, path, line, text):
        where = f"{path}:{line}" if line else f"{path}"
        self.lines.append(f"{where}: {text}")

    def finish(self, name, seen):
        """Print the findings and return the exit status. A check that saw nothing has not checked anything."""
        for line in self.lines:
            print(line)
        print(f"{name}: {seen} looked at, {len(self.lines)} findings")
        return 1 if self.lines else 0


def files(root, suffixes, under=("",)):
    """Paths relative to root, sorted, of all files with one of the suffixes below one of the folders."""
    found = set()
    for folder in under:
        for top, folders, names in os.walk(root / folder):
            folders[:] = [name for name in folders if name not in SKIPPED_FOLDERS]
            for name in names:
                if name.endswith(tuple(suffixes)):
                    found.add((pathlib.Path(top) / name).relative_to(root))
    return sorted(found)


def text(path):
    return path.read_text(encoding="utf-8", errors="replace")


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--root", type=pathlib.Path, default=ROOT, help="the tree to look at")
    return parser


def main(check, description):
    """Run check(root) -> exit status on the tree the command line names."""
    sys.exit(check(arguments(description).parse_args().root.resolve()))
