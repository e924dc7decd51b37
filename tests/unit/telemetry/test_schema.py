"""The tables: names, order and kinds of columns as the reference has them."""

from depotlab.telemetry._schema import TABLES, table_of
from tests.support.telemetryrows import build_row, log_row, step_row


def test_columns_of_the_reference_come_first_and_in_its_order():
    assert TABLES["build_steps_v1"].names[:10] == (
        "step_id",
        "started_at",
        "completed_at",
        "workspace_id",
        "project_id",
        "deployment_id",
        "name",
        "cached",
        "error",
        "has_logs",
    )
    assert TABLES["build_step_logs_v1"].names[:6] == (
        "time",
        "workspace_id",
        "project_id",
        "deployment_id",
        "message",
        "step_id",
    )


def test_instants_are_numbers_that_pack_well():
    instants = {
        (table.name, column.name)
        for table in TABLES.values()
        for column in table.columns
        if column.is_instant
    }
    assert instants == {
        ("builds_v1", "created_at"),
        ("builds_v1", "started_at"),
        ("builds_v1", "completed_at"),
        ("build_steps_v1", "started_at"),
        ("build_steps_v1", "completed_at"),
        ("build_step_logs_v1", "time"),
    }


def test_a_row_comes_back_from_its_values():
    for row in (build_row(3), step_row(4), log_row(5)):
        table = table_of(row)
        assert table.row(table.names, table.values(row)) == row
