#!/usr/bin/env bash
# Layout of every C file by .clang-format. Without arguments: report what differs, exit 1. With --fix: rewrite it.
set -euo pipefail
cd "$(dirname "$0")/../.."

format=$(command -v clang-format-14 || command -v clang-format)
mapfile -d '' files < <(find docs ipc privileged unprivileged tests -name build -prune -o -name '*.[ch]' -print0)
if [ "${1:-}" = --fix ]; then
	"$format" -i "${files[@]}"
	exit 0
fi
"$format" --dry-run --Werror "${files[@]}"
echo "format: ${#files[@]} looked at, 0 findings"
