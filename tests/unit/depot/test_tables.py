import pickle
from datetime import UTC, datetime

import pytest

from depotlab._depot import CachePolicy, Listing, NewToken, Project, PullToken, Usage, table
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


def test_a_listing_is_a_tuple_that_shows_what_it_has():
    made = Listing([Project("p1", "<one>", region="eu"), Project("p2", "two")], "projects")
    assert made == (made[0], made[1])
    assert repr(made) == "<2 projects>"
    assert repr(Listing(made[:1], "projects")) == "<1 project>"
    assert repr(Listing([], "trust policies")) == "<0 trust policies>"
    assert repr(Listing([CachePolicy()], "trust policies")) == "<1 trust policy>"
    html = made._repr_html_()
    assert "&lt;one&gt;" in html
    assert "<one>" not in html
    assert "hardware" not in html, "a column that is empty in every row says nothing"
    again = pickle.loads(pickle.dumps(made))
    assert (again, repr(again), type(again)) == (made, repr(made), Listing)
    assert made.table("id").rows == (("p1",), ("p2",))


def test_a_long_list_is_cut_and_counted():
    html = Listing([Project(f"p{n}", "x") for n in range(50)], "projects")._repr_html_()
    assert html.count("<tr>") == 31
    assert "and 20 more" in html


def test_a_usage_says_what_it_comes_to():
    usage = Usage(BORN, None, builds=(BuildUsage("app", 3, 1.25, 2.0),))
    assert repr(usage) == "<usage 2026-01-02 to ?: 3 builds, 2.0 min billed>"
    assert "<b>builds</b>" in usage._repr_html_()
