"""Numbers in prose against the numbers of a notebook's outputs."""

import re
from decimal import Decimal

NUMBER = re.compile(r"(?<![\w.^])[+−-]?\d+(?:,\d{3})*(?:\.\d+)?(?:[eE][+−-]?\d+)?(?![\w^])")


def plain(number):
    return number.replace(",", "").replace("−", "-")


def value(number):
    return float(plain(number))


def shown_by(cell):
    """The numbers of a cell's outputs, a table's as its HTML shows them."""
    texts = []
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        html = re.sub(r"<style.*?</style>|<[^>]*>", " ", data.get("text/html", ""), flags=re.S)
        texts += [output.get("text", ""), html or data.get("text/plain", "")]
    return [value(number) for number in NUMBER.findall("\n".join(texts))]


def borne_out(number, percent, shown):
    """Whether an output rounds to this; a share may be written in per cent, a sign be told in
    words ("falls by 0.5")."""
    last_digit = 10.0 ** Decimal(plain(number)).as_tuple().exponent
    signed = number[0] in "+−-"
    for one in [*shown, *(100 * one for one in shown if percent)]:
        found = one if signed else abs(one)
        if abs(found - value(number)) <= 0.500001 * last_digit:
            return True
    return False
