"""The edge of the command line: what is expected to go wrong becomes one line, without keys."""

import traceback

from xlnb.common.errors import InputError, system_error
from xlnb.common.secrets import hidden

# Errors of libraries by their class, and what is to be done; by name, so that none is imported for
# this. A class stands for those derived from it.
EXPECTED = {
    "jinja2.TemplateError": "the chat template cannot be used; mend the tokenizer's chat_template",
    "safetensors.SafetensorError": "a safetensors file is damaged; make or download it again",
    "zipfile.BadZipFile": "a file is damaged; make or download it again",
    "builtins.UnicodeDecodeError": "a file is not UTF-8; save it as UTF-8",
    "json.JSONDecodeError": "a file is not valid JSON; mend or make it again",
    "httpx.InvalidURL": "an address or a proxy setting (NO_PROXY, ALL_PROXY) is none; mend it",
    "httpx.HTTPError": "the network; look after it and start again, finished work is kept",
    "httpx2.InvalidURL": "an address or a proxy setting (NO_PROXY, ALL_PROXY) is none; mend it",
    "httpx2.HTTPError": "the network; look after it and start again, finished work is kept",
    "torch.OutOfMemoryError": "the GPU's memory is full; lower scoring.batch_tokens, "
    "sampling.batch_tokens or training.micro_batch and start again, finished work is kept",
    "builtins.MemoryError": "the memory is full; free some and start again, finished work is kept",
}


def explain(error: Exception) -> str | None:
    """The line of an expected error: file or place, what is wrong, what to do; None of another."""
    if isinstance(error, InputError):
        return _one_line(f"{error}")
    if isinstance(error, OSError):
        return _one_line(f"{system_error(error)}")
    for kind in type(error).__mro__:
        remedy = EXPECTED.get(f"{kind.__module__.partition('.')[0]}.{kind.__name__}")
        if remedy:
            return _one_line(f"{error or type(error).__name__} ({_place(error)}): {remedy}")
    return None


def trace(error: BaseException) -> str:
    """The whole traceback, what was raised from what included, without keys."""
    one: BaseException | None = error
    while one is not None:
        # `raise … from None` is for the reader of one line.
        one.__suppress_context__ = False
        one = one.__cause__ or one.__context__
    return hidden("".join(traceback.format_exception(error)))


def _one_line(text: str) -> str:
    return " ".join(hidden(text).split())


def _place(error: Exception) -> str:
    """The last line of this package that the error went through."""
    found = "xlnb"
    for frame in traceback.extract_tb(error.__traceback__):
        parts = frame.filename.replace("\\", "/").rpartition("/xlnb/")
        if parts[1]:
            found = f"xlnb/{parts[2]}, line {frame.lineno}"
    return f"in {found}"
