from datetime import UTC, datetime

import pytest

from depotlab._depot import CachePolicy, NewToken, Project, PullToken, Usage, table
from depotlab._depot.images import PullInfo
from depotlab._depot.usage import BuildUsage, JobUsage, RepositoryUsage, StorageUsage
from depotlab._session import Credentials
from depotlab.errors import UsageError

BORN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_values_are_a_row_each_and_attributes_a_column():
    projects = [
        Project("p1", "one", "o", "eu", BORN, CachePolicy(50, 14), "4x4"),
        Project("p2", "two"),
    ]
    made = table(projects)
    assert made.columns[:2] == ("id", "name")
    assert made.rows[0] == ("p1", "one", "o", "eu", "2026-01-02 03:04:05", "50 GB, 14 days", "4x4")
    assert made.rows[1] == ("p2", "two", "", "", "", "", "")
    assert table(projects, columns=("name", "id")).rows == (("one", "p1"), ("two", "p2"))
    assert str(table(projects, columns=("name", "id"))) == "name  id\none   p1\ntwo   p2"


def test_secrets_are_no_column():
    values = [
        NewToken("t", "planted"),
        PullToken("planted"),
        PullInfo("r", Credentials("u", "planted")),
    ]
    for value in values:
        made = table([value])
        assert "planted" not in str(made) + repr(made) + repr(value)
        assert not {"secret", "token", "credentials"} & set(made.columns)
    with pytest.raises(UsageError, match="secret"):
        table([values[0]], columns=("secret",))


def test_a_usage_has_a_table_for_each_part():
    job = JobUsage("ci", "large", 2, 3.0, 4.0)
    usage = Usage(
        None,
        None,
        builds=(BuildUsage("app", 3, 1.25, 2.0),),
        repositories=(RepositoryUsage("octo/app", 2, 3.0, 4.0, (job,)),),
        storage=(StorageUsage("cache", 9.96),),
    )
    assert list(usage.tables) == ["builds", "repositories", "storage"]
    assert usage.tables["builds"].rows == (("app", "3", "1.2", "2.0"),)
    assert "jobs" not in usage.tables["repositories"].columns
    assert table(usage.repositories[0].jobs).rows[0][:2] == ("ci", "large")


def test_nothing_is_an_empty_table():
    assert table([]).rows == ()
    assert table([], columns=("id",)).columns == ("id",)


@pytest.mark.parametrize("items", [["text"], [Project("p", "n"), CachePolicy()], [1]])
def test_what_is_no_value_of_ours_is_refused(items):
    with pytest.raises(UsageError, match="one kind"):
        table(items)
