"""The fuzz campaign keeps what covers, within its limits, and counts minutes of the code as it is only.

The example of the core's interface must say and link what it should.
"""

import importlib.machinery
import importlib.util
import json
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import example  # noqa: E402

LOADER = importlib.machinery.SourceFileLoader("fuzz_campaign", str(HERE.parents[1] / "scripts/fuzz-campaign"))
SPEC = importlib.util.spec_from_loader("fuzz_campaign", LOADER)
campaign = importlib.util.module_from_spec(SPEC)
LOADER.exec_module(campaign)

ENTRY = {"cpu_s": 600.0, "executions": 1200, "findings": 0, "edges": 7, "files": 3, "bytes": 2048, "sources": "abc",
         "lines": [9, 10], "functions": [2, 2], "date": "2026-01-01", "commit": "1234567"}


def entries(*triples):
    return [(pathlib.Path(name), size, set(features)) for name, size, features in triples]


def test_a_choice_covers_everything_with_few():
    inputs = entries(("a", 10, [1, 2]), ("b", 10, [2, 3]), ("c", 10, [1, 2, 3, 4]), ("d", 10, [5]))
    chosen = campaign.choose(inputs, set(), 9, 999)
    assert {entry[0].name for entry in chosen} == {"c", "d"}


def test_a_choice_leaves_out_what_adds_nothing():
    assert campaign.choose(entries(("a", 10, [1, 2])), {1, 2, 3}, 9, 999) == []


def test_a_choice_keeps_its_limits():
    many = entries(*((str(i), 10, [i]) for i in range(50)))
    assert len(campaign.choose(many, set(), 7, 999)) == 7
    assert len(campaign.choose(many, set(), 50, 45)) == 4


@pytest.fixture
def record(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text("before\n" + "stale\n".join(campaign.MARKS) + "after\n")
    monkeypatch.setattr(campaign, "RECORD", tmp_path / "record.json")
    monkeypatch.setattr(campaign, "PAGE", page)
    return campaign.Record()


def test_minutes_count_until_the_code_changes(record):
    record.put("ice", dict(ENTRY))
    assert campaign.Record().of("ice", "abc")["cpu_s"] == 600
    assert campaign.Record().of("ice", "abd") == {}


def test_the_page_shows_the_record_and_nothing_else_of_it_changes(record):
    record.put("turn", dict(ENTRY))
    record.put("ice", dict(ENTRY))
    text = campaign.PAGE.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "stale" not in text
    assert text.index("| `fuzz_ice` | 10.0 | 1,200 | 2 | 0 | 7 |") < text.index("| `fuzz_turn` | 10.0 |")
    assert list(json.loads(campaign.RECORD.read_text())) == ["ice", "turn"]


def test_a_changed_header_changes_the_digest(tmp_path, monkeypatch):
    for name in ("a.c", "a.h", "b.c"):
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(campaign, "ROOT", tmp_path)
    monkeypatch.setattr(campaign, "run", lambda *words: f"x/a.c.o: #deps 2, deps mtime 1 (VALID)\n    {tmp_path}/a.c\n"
                                                        f"    {tmp_path}/a.h\n    /usr/include/stdio.h\n\n")
    sources = campaign.Sources(tmp_path / "build")
    before = sources.digest([tmp_path / "a.c"])
    (tmp_path / "b.c").write_text("changed")
    assert sources.digest([tmp_path / "a.c"]) == before
    (tmp_path / "a.h").write_text("changed")
    assert sources.digest([tmp_path / "a.c"]) != before


@pytest.mark.parametrize("body", [
    'puts("relay: STUN method 1, class 0");',
    'socket(1, 2, 0); puts("relay: STUN method 1, class 0");',
])
def test_the_example_must_say_all_and_take_nothing(tmp_path, body, capsys):
    head = "#include <stdio.h>\n#include <sys/socket.h>\n"
    (tmp_path / "x.c").write_text(f"{head}int main(void)\n{{\n{body}\nreturn 0;\n}}\n")
    subprocess.run(["gcc", "-w", "-o", "x", "x.c"], cwd=tmp_path, check=True)
    assert example.check(tmp_path / "x") == 1
    said = capsys.readouterr().out
    assert "flow_authorized" in said and ("takes socket()" in said) == ("socket" in body)
