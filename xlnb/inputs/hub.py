"""Prompts and preferences in a dataset on the Hub, hub:ORG/NAME[/CONFIGURATION][:SPLIT][@REVISION],
or in a folder of that name, where there is one, as for `load_dataset`.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from xlnb.common.errors import InputError
from xlnb.common.languages import LANGUAGES
from xlnb.inputs.reader import Reader, Row, Source

_FORM = re.compile(
    r"hub:(?P<repo>[^/:@]+/[^/:@]+)(/(?P<config>[^:@]+))?(:(?P<split>[^:@]+))?(@(?P<revision>.+))?"
)


class Hub(Reader):
    """A dataset. {lang} may stand in the place of its configuration or of its split."""

    def handles(self, where: str) -> bool:
        # Only the name of a dataset may hold {lang}: what is none is refused with its form.
        return where.startswith("hub:") or "{lang}" in where

    def rows(self, source: Source, needed: Collection[str]) -> Iterator[Row]:
        from datasets import load_dataset

        hub = _parts(source.where)
        with _hub_errors(source.where):
            dataset = load_dataset(
                hub["repo"],
                hub["config"],
                split=hub["split"] or "train",
                revision=hub["revision"],
                # The cache tells a dataset on the Hub by its commit, and a folder not at all.
                download_mode="force_redownload" if Path(hub["repo"]).is_dir() else None,
            )
        for theirs in source.columns.values():
            if theirs not in dataset.column_names:
                raise InputError(
                    f"{source.where}: no column '{theirs}'; "
                    f"found: {', '.join(dataset.column_names)}"
                )
        wanted = {*needed, *source.columns.values()}
        dataset = dataset.select_columns([name for name in dataset.column_names if name in wanted])
        for number, row in enumerate(dataset, 1):
            yield f"{source.where}, row {number}", dict(row)

    def languages(
        self, source: Source, called: Mapping[str, str], langs: Sequence[str]
    ) -> dict[str, Source] | None:
        if "{lang}" not in source.where:
            return None
        there = _variants(source.where)
        found = {}
        for lang, name in (called or {lang: lang for lang in LANGUAGES}).items():
            if name in there:
                found[lang] = replace(source, where=source.where.replace("{lang}", name))
        return found

    def files(self, source: Source) -> list[Path]:
        folder = Path(_parts(source.where)["repo"])
        return sorted(file for file in folder.rglob("*") if file.is_file())

    def version(self, source: Source) -> str:
        """The commit; where the Hub is out of reach, that of the copy in the cache."""
        from datasets import load_dataset_builder

        if self.files(source):
            return ""
        hub = _parts(source.where)
        with _hub_errors(source.where):
            builder = load_dataset_builder(hub["repo"], hub["config"], revision=hub["revision"])
        return str(builder.hash)

    def name(self, where: str) -> str:
        return _parts(where)["repo"]

    def table(self, where: str) -> str:
        """The split, where it is named."""
        return where.rpartition(":")[2]


def _parts(where: str) -> dict[str, Any]:
    """The repo, config, split and revision that a text names; None where it names none."""
    found = _FORM.fullmatch(where)
    if not found:
        raise InputError(f"'{where}': expected hub:ORG/NAME[/CONFIGURATION][:SPLIT][@REVISION]")
    return found.groupdict()


def _variants(where: str) -> list[str]:
    """What a dataset has in the place of {lang}: of its configurations, else of its splits."""
    from datasets import get_dataset_config_names, get_dataset_split_names

    hub = _parts(where)
    by_config = "{lang}" in (hub["config"] or "")
    pattern = hub["config"] if by_config else hub["split"] or ""
    if where.count("{lang}") != 1 or "{lang}" not in pattern:
        raise InputError(
            f"{where}: {{lang}} may stand once, in the place of the configuration or of the split"
        )
    with _hub_errors(where):
        if by_config:
            names = get_dataset_config_names(hub["repo"], revision=hub["revision"])
        else:
            names = get_dataset_split_names(hub["repo"], hub["config"], revision=hub["revision"])
    form = re.compile(re.escape(pattern).replace(re.escape("{lang}"), "(.+)"))
    return [found[1] for name in names if (found := form.fullmatch(name))]


@contextmanager
def _hub_errors(where: str) -> Iterator[None]:
    """What the Hub or the library raises, as one line that says what to do."""
    from datasets.exceptions import DatasetNotFoundError, DatasetsError

    try:
        yield
    except DatasetNotFoundError as error:
        advice = "check the name, and for a private dataset"
        if "gated" in str(error):
            page = f"https://huggingface.co/datasets/{_parts(where)['repo']}"
            advice = f"accept its terms at {page} and"
        raise InputError(
            f"{where}: {_one_line(error)} {advice} log in (`hf auth login`, or set HF_TOKEN)"
        ) from None
    except (ConnectionError, httpx.HTTPError) as error:
        raise InputError(
            f"{where}: the Hub cannot be reached and the cache has no copy ({_one_line(error)}); "
            "load it once where there is a connection, or name a file"
        ) from None
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
        advice = ""
        if "scripts" in str(error):
            advice = "; a converted copy may be at @refs/convert/parquet"
        raise InputError(f"{where}: {_one_line(error)}{advice}") from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
