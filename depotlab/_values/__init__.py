"""How values show themselves: in one line, as a table in a notebook, as a pandas table.

May import `errors`.
"""

from depotlab._values.facts import Value, facts_html, one_line
from depotlab._values.tables import Rows, Tabular, data_frame, table_html
from depotlab._values.texts import bytes_text, cut, is_unicode, safe_html, time_text

__all__ = [
    "Rows",
    "Tabular",
    "Value",
    "bytes_text",
    "cut",
    "data_frame",
    "facts_html",
    "is_unicode",
    "one_line",
    "safe_html",
    "table_html",
    "time_text",
]
