#!/usr/bin/python3
"""How long files may be, and how small the trusted base must stay (docs/architecture.md).

Functions are measured by clang-tidy (.clang-tidy: 60 lines, nesting 3).
"""

import json
import shutil
import subprocess

import tree

FILE_LINES_MAX = 800
HELPER_CODE_MAX = 900
HELPER_WITH_CONTRACT_MAX = 1300
OURS = ("ipc", "privileged", "unprivileged", "tests", "scripts", "selinux", "cmake", "packaging")


def code_lines(root, *folders):
    """Lines of C without comments and blank lines, by cloc; None when cloc is missing."""
    present = [str(root / folder) for folder in folders if (root / folder).is_dir()]
    if not present:
        return 0
    if not shutil.which("cloc"):
        return None
    done = subprocess.run(["cloc", "--json", "--quiet", "--include-lang=C,C/C++ Header", *present],
                          capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["SUM"]["code"] if done.stdout.strip() else 0


def check(root):
    found = tree.Findings()
    sources = tree.files(root, (".c", ".h", ".py", ".sh"), OURS)
    for source in sources:
        lines = tree.text(root / source).count("\n")
        if lines > FILE_LINES_MAX:
            found.add(source, 0, f"{lines} lines; at most {FILE_LINES_MAX}")
    for folders, limit in ((("privileged",), HELPER_CODE_MAX), (("privileged", "ipc"), HELPER_WITH_CONTRACT_MAX)):
        lines = code_lines(root, *folders)
        name = " and ".join(folders)
        if lines is None:
            found.add(name, 0, "cloc is not installed")
        elif lines > limit:
            found.add(name, 0, f"{lines} lines of code; at most {limit}")
        else:
            print(f"{name}: {lines} lines of code of at most {limit}")
    return found.finish("sizes", len(sources))


if __name__ == "__main__":
    tree.main(check, __doc__)
