#!/usr/bin/env bash
# Runs shellcheck on every shell script of the tree, by name or by first line. Exit 77 where it is not installed.
set -euo pipefail
cd "$(dirname "$0")/../.."

if ! command -v shellcheck >/dev/null; then
	echo "shell: shellcheck is not installed"
	exit 77
fi
scripts=()
while IFS= read -r -d '' file; do
	if [[ $file == *.sh ]] || head -c 64 "$file" | head -n 1 | tr -d '\0' | grep -qE '^#!.*\b(ba)?sh\b'; then
		scripts+=("$file")
	fi
done < <(find . \( -name .git -o -name build -o -name data -o -name seeds \) -prune -o -type f -print0)
shellcheck -x "${scripts[@]}"
echo "shell: ${#scripts[@]} looked at, 0 findings"
