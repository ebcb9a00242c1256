#!/usr/bin/python3
"""Words that speak of unfinished work, or of the machine somebody worked on, do not belong in the tree."""

import re

import tree

UNFINISHED = re.compile(r"\b(todo|fixme|xxx|hack|for now|stub(bed|s)?|not implemented|placeholder|simplified)\b", re.I)
# DNS calls a resolver without recursion of its own a stub resolver; hosts run one on 127.0.0.53.
FINE = re.compile(r"\bstub[- ](resolver|listener)", re.I)
MACHINE = re.compile(r"/(work|home/\w+|Users)/\w")
SUFFIXES = (".c", ".h", ".py", ".sh", ".cmake", ".txt", ".md", ".te", ".if", ".fc", ".ini", ".nft", ".conf", ".service",
            "demo", "test", "run")
HERE = "tests/checks/"


def check(root):
    found = tree.Findings()
    sources = [path for path in tree.files(root, SUFFIXES)
               if not path.as_posix().startswith((HERE, "tests/data/", "tests/fuzz/seeds/"))]
    for source in sources:
        for number, line in enumerate(tree.text(root / source).splitlines(), 1):
            for match in UNFINISHED.finditer(FINE.sub("", line)):
                found.add(source, number, f'says "{match.group(0)}"')
            for match in MACHINE.finditer(line):
                found.add(source, number, f'names a path of one machine: "{match.group(0)}..."')
    return found.finish("words", len(sources))


if __name__ == "__main__":
    tree.main(check, __doc__)
