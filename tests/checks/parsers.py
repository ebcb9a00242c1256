#!/usr/bin/python3
"""Every file that reads bytes from the network is named by a fuzz target, and every fuzz target has seeds.

A target names a file by including its header, or in its comment where the file is behind another one's interface.
"""

import re

import tree

READS = re.compile(r"\b(rd_(u8|u16|u32|u64|le16|le32|le64|bytes|skip|sub)|cJSON_Parse\w*|ldns_wire2pkt|"
                   r"mnl_(attr_parse|nlmsg_ok|cb_run))\s*\(")
# The reader itself; the front, which reads files of the operator's.
EXEMPT = ("unprivileged/packet/bytes.h", "unprivileged/front/")


def check(root):
    found = tree.Findings()
    targets = [path for path in tree.files(root, (".c",), ("tests/fuzz",)) if path.name.startswith("fuzz_")]
    bodies = {path: tree.text(root / path) for path in targets}
    parsers = [path for path in tree.files(root, (".c", ".h"), ("ipc", "unprivileged"))
               if not path.as_posix().startswith(EXEMPT) and READS.search(tree.text(root / path))]
    for parser in parsers:
        word = re.compile(rf"\b{re.escape(parser.stem)}(\b|_)")
        if not any(word.search(body) for body in bodies.values()):
            found.add(parser, 0, "reads bytes from outside, and no target in tests/fuzz names it")
    for path in targets:
        seeds = root / "tests/fuzz/seeds" / path.stem.removeprefix("fuzz_")
        if not seeds.is_dir() or not any(seeds.iterdir()):
            found.add(path, 0, f"has no seeds in {seeds.relative_to(root)}")
    return found.finish("parsers", len(parsers) + len(targets))


if __name__ == "__main__":
    tree.main(check, __doc__)
