"""The notebooks as web pages, by the kit's template for nbconvert."""

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbconvert import HTMLExporter

from xlnb.runs.notebooks import NOTEBOOKS, numbered


def figures(notebook):
    """The metadata of every picture."""
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                found.append(output.metadata.get("image/png", {}))
    return found


@pytest.mark.parametrize("path", numbered(), ids=lambda path: path.stem)
def test_every_figure_has_an_alternative_text(path):
    shown = figures(nbformat.read(path, as_version=4))
    assert shown and all(len(figure.get("alt", "")) > 9 for figure in shown)


def test_a_page_holds_the_alternative_texts(caplog):
    notebook = nbformat.read(NOTEBOOKS / "00_tour.ipynb", as_version=4)
    notebook.cells[4].outputs[0].metadata["image/png"]["alt"] = 'a "quoted" text'
    exporter = HTMLExporter(template_name="pages", extra_template_basedirs=[str(NOTEBOOKS)])
    page, _ = exporter.from_notebook_node(notebook)
    texts = [image["alt"] for image in BeautifulSoup(page, "html.parser").select("img")]
    assert texts == [figure["alt"] for figure in figures(notebook)]
    assert "Alternative text is missing" not in caplog.text
