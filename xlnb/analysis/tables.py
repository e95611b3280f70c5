"""How a table is shown."""

import pandas as pd
from pandas.io.formats.style import Styler

from xlnb.common.text import shorten

# The most characters of a cell.
LONGEST = 400

# Headers stand over their columns.
LEFT = [{"selector": "th, td", "props": "text-align: left; white-space: normal"}]


def left(table: pd.DataFrame, uuid: str, *, precision: int = 3, index: bool = False) -> Styler:
    """The table as HTML: left-aligned, long texts shortened, and the same from run to run. What
    texts of others hold of HTML is escaped.

    `uuid`: the HTML table's name, which pandas would draw at random; `precision`: of numbers;
    `index`: whether the rows' names are shown.
    """
    short = table.map(lambda value: shorten(value, LONGEST) if isinstance(value, str) else value)
    styler = short.style.format(precision=precision, escape="html", na_rep="")
    styler = styler.format_index(escape="html", axis=0).format_index(escape="html", axis=1)
    styler = styler.set_uuid(uuid).set_table_styles(LEFT)
    return styler if index else styler.hide(axis="index")
