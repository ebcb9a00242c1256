"""./test counts what happened: a crash, a time-out or a report that cannot be read is never a pass."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

import runner  # noqa: E402


@pytest.fixture
def tests(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "OUT", tmp_path)
    return runner.Tests()


@pytest.mark.parametrize("script,skip,line", [
    ("exit 0", None, "1 passed, 0 failed"),
    ("exit 1", None, "0 passed, 1 failed"),
    ("exit 77", None, "0 passed, 1 failed"),
    ("exit 77", 77, "0 passed, 0 failed, 1 skipped"),
    ("kill -SEGV $$", None, "0 passed, 1 failed"),
])
def test_an_exit_status_counts(tests, script, skip, line):
    tests.single("x", ["/bin/sh", "-c", script], 10, skip=skip)
    assert tests.results.closing_line() == line


def test_a_program_past_its_time_fails_and_is_ended(tests):
    tests.single("x", ["/bin/sh", "-c", "sleep 61.25 & wait"], 0.2)
    assert tests.results.closing_line() == "0 passed, 1 failed"
    assert "61.25" not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout


def test_cases_of_a_report_count_one_by_one(tmp_path):
    report = tmp_path / "r.xml"
    report.write_text('<testsuites><testsuite><testcase name="a"/><testcase name="b"><failure>why</failure></testcase>'
                      '<testcase name="c"><skipped message="later"/></testcase></testsuite></testsuites>')
    assert runner.junit_cases(report) == [("a", "passed", ""), ("b", "failed", "why"), ("c", "skipped", "later")]


@pytest.mark.parametrize("body", [None, "", "<testsuites><testsuite>"])
def test_a_report_that_cannot_be_read_has_no_cases(tmp_path, body):
    if body is not None:
        (tmp_path / "r.xml").write_text(body)
    assert runner.junit_cases(tmp_path / "r.xml") == []


def test_a_folder_without_tests_fails(tests, tmp_path):
    (tmp_path / "empty").mkdir()
    tests.pytest("x", tmp_path / "empty", 60)
    assert tests.results.closing_line() == "0 passed, 1 failed"


CASE = '<testsuites><testsuite><testcase name="a"/></testsuite></testsuites>'


@pytest.mark.parametrize("script,line", [
    (f"echo '{CASE}' > $(echo $CMOCKA_XML_FILE | sed s/%g/t/)", "1 passed, 0 failed"),
    # Passed its cases, then crashed or leaked.
    (f"echo '{CASE}' > $(echo $CMOCKA_XML_FILE | sed s/%g/t/); exit 23", "1 passed, 1 failed"),
    ("exit 139", "0 passed, 1 failed"),
    ("exit 0", "1 passed, 0 failed"),
])
def test_a_unit_program_counts_its_cases_and_its_end(tests, tmp_path, monkeypatch, script, line):
    monkeypatch.setattr(runner, "BUILD", tmp_path)
    (tmp_path / "debug").mkdir()
    tests.unit_program("debug", {"name": "t", "command": ["/bin/sh", "-c", script]})
    assert tests.results.closing_line() == line


def test_an_unknown_part_is_a_usage_error():
    assert runner.main(["nothing"]) == 2


class Now:
    """Stands for the runner's process keeper: runs a command at once."""

    def run(self, command, timeout, _log, env=None):
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=timeout,
                              env={**os.environ, **(env or {})}, check=False)
        return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("second_try, expected", [(0, "failed"), (3, "passed")])
def test_failure_gets_a_second_try_only_where_allowed(tmp_path, monkeypatch, capsys, second_try, expected):
    (tmp_path / "test_one.py").write_text("import pathlib\n"
                                          "def test_first_time_fails():\n"
                                          "    mark = pathlib.Path(__file__).with_name('mark')\n"
                                          "    seen = mark.exists()\n"
                                          "    mark.touch()\n"
                                          "    assert seen\n", encoding="utf-8")
    monkeypatch.setattr(runner, "OUT", tmp_path)
    tests = runner.Tests()
    tests.runner = Now()
    tests.pytest("some", tmp_path, 60, second_try=second_try)
    assert tests.results.counts[expected] == 1
    assert ("second try for some/" in capsys.readouterr().out) == (second_try > 0)
