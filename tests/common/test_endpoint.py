"""What an endpoint says and does: outages of any status, words in place of retries that cannot help,
its address, and no key in any file."""

import base64
import re
import ssl
import time
from pathlib import Path

import httpx
import pytest
from endpoint import comparisons, serving, without_proxies
from failing import FAILING

from xlnb.common.calling import NoAnswer
from xlnb.common.endpoint import ChatEndpoint, chat_url
from xlnb.common.errors import InputError
from xlnb.common.files import read_jsonl
from xlnb.common.journal import Journal
from xlnb.common.questions import ask_again, unanswered
from xlnb.inputs.localisation import read_response
from xlnb.judges.asking import judge_records
from xlnb.judges.endpoint import Endpoint
from xlnb.judges.model import ModelJudge

KEY = "sk-very-secret-0123456789"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setattr("xlnb.common.endpoint.TRIES", 2)
    without_proxies(monkeypatch)


def judge_at(server, monkeypatch, workers=2):
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    return ModelJudge(Endpoint("test", workers=workers, wait=0.005, timeout=1.0), "random")


def judged(judge, tmp_path, n=40):
    return judge_records(judge, comparisons(n), Journal(tmp_path / "en.jsonl"), label="judge")


# Outage or answer.


@pytest.mark.parametrize("status", ["402", "400", "413", "422", "418", "302"])
@pytest.mark.parametrize("left", [30, 3])
def test_what_fails_alike_without_any_success_is_an_outage_whatever_its_status(
    tmp_path, monkeypatch, status, left
):
    down = True

    def faults(number):
        # What was answered is asked again, and fails as well by then.
        return ["ok"] if not down else [status] if number >= 40 - left else ["ok", status]

    with serving(faults) as server:
        judge = judge_at(server, monkeypatch)
        with pytest.raises(InputError, match=rf"without an answer, the last: HTTP {status}, no"):
            judged(judge, tmp_path)
        kept = list(Journal(tmp_path / "en.jsonl").records())
        assert len(kept) == 40 - left and not any("error" in record for record in kept)
        down = False
        records = judged(judge_at(server, monkeypatch), tmp_path)
    assert all(record.preference is not None for record in records) and len(records) == 40


def test_questions_that_fail_by_themselves_are_no_outage_however_many_in_a_row(
    tmp_path, monkeypatch
):
    with serving(lambda number: ["400"] if 10 <= number < 35 else ["ok"]) as server:
        records = judged(judge_at(server, monkeypatch), tmp_path)
        errors = [record.said.get("error") for record in records]
        assert [error is not None for error in errors] == [False] * 10 + [True] * 25 + [False] * 5
        assert errors[10] == "HTTP 400, no more, Bearer [key]"
    # What has no answer can be asked about again.
    with serving() as server:
        path = tmp_path / "en.jsonl"
        assert unanswered([path]) == 25
        ask_again([path])
        records = judged(judge_at(server, monkeypatch), tmp_path)
        assert all(record.preference is not None for record in records) and len(records) == 40
        assert sum(server.calls.values()) == 25


# No retries where they cannot help.


def test_a_used_up_quota_stops_at_once_in_the_server_s_own_words(tmp_path, monkeypatch):
    with serving(lambda number: ["quota"] if number >= 5 else ["ok"]) as server:
        judge = judge_at(server, monkeypatch, workers=1)
        with pytest.raises(
            InputError,
            match=r"HTTP 429, You exceeded your quota, Bearer \[key\]; what was answered",
        ):
            judged(judge, tmp_path)
        assert server.calls[5] == 1
    assert len(list(Journal(tmp_path / "en.jsonl").records())) == 5


def test_a_self_signed_certificate_stops_at_once(monkeypatch):
    calls = []

    def refuse(request):
        calls.append(request)
        error = ssl.SSLCertVerificationError(1, "verify failed: self-signed certificate")
        raise httpx.ConnectError(f"{error}") from error

    client = httpx.Client(transport=httpx.MockTransport(refuse))
    monkeypatch.setattr("xlnb.common.calling.Caller.client", lambda self: client)
    endpoint = ChatEndpoint("test", workers=1, wait=0.0)
    with pytest.raises(
        InputError, match=r"self-signed certificate; the certificate of http://127.* SSL_CERT_FILE"
    ):
        endpoint.ask(lambda: endpoint.post("Hello."), read_response)
    assert len(calls) == 1


def test_an_outage_is_told_in_the_server_s_own_words(monkeypatch):
    with serving(lambda number: ["429"]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        endpoint = ChatEndpoint("test", workers=1, wait=0.0)
        prompt = '<answer label="m">\nx\n</answer>'
        with pytest.raises(NoAnswer, match="HTTP 429, 2 times: slow down"):
            endpoint.ask(lambda: endpoint.post(prompt), read_response)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    endpoint = ChatEndpoint("test", workers=1, wait=0.0)
    with pytest.raises(NoAnswer, match=r"ConnectError, 2 times: .*(refused|failed)"):
        endpoint.ask(lambda: endpoint.post("Hello."), read_response)


# The address.


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("https://a.b/v1", "https://a.b/v1/chat/completions"),
        ("https://a.b/v1/", "https://a.b/v1/chat/completions"),
        (
            "https://a.b/openai/deployments/gpt-4o/?api-version=2024-10-21",
            "https://a.b/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21",
        ),
        ("http://[::1]:8000/v1#top", "http://[::1]:8000/v1/chat/completions"),
    ],
)
def test_the_path_comes_before_the_query(base, url):
    assert chat_url(base) == url


@pytest.mark.parametrize(
    "base",
    [
        "",
        "localhost:8000",
        "http://",
        "ftp://a.b",
        f"https://a.b:{KEY}/v1",
        f"http://[{KEY}]/v1",
        f"https://a.b/{KEY} /v1",
        f"https://a.b/{KEY}\x00/v1",
    ],
)
def test_an_address_that_cannot_be_called_is_refused_without_being_shown(monkeypatch, base):
    if "\0" not in base:
        monkeypatch.setenv("OPENAI_BASE_URL", base)
    with pytest.raises(InputError, match="set OPENAI_BASE_URL to the endpoint's address") as error:
        chat_url(base)
    assert KEY not in str(error.value)


@pytest.mark.parametrize(
    "base", ["http://me:{key}@{place}/v1", "http://{key}@{place}/v1", "http://{place}/{key}/v1"]
)
def test_the_called_address_is_shown_without_a_key_in_it(monkeypatch, base):
    monkeypatch.delenv("OPENAI_API_KEY")
    with serving(lambda number: ["404"]) as server:
        place = server.url.removeprefix("http://").removesuffix("/v1")
        monkeypatch.setenv("OPENAI_BASE_URL", base.format(key=KEY, place=place) + "?api-version=7")
        endpoint = ChatEndpoint("test", workers=1, wait=0.0)
        prompt = '<answer label="m">\nx\n</answer>'
        with pytest.raises(InputError, match=r"HTTP 404, no more,.*/chat/completions\?") as error:
            endpoint.ask(lambda: endpoint.post(prompt), read_response)
    said = str(error.value)
    assert f"http://{place}/" in said and "?api-version=7 was called" in said
    assert KEY not in said
    assert base64.b64encode(f"me:{KEY}".encode()).decode()[:12] not in said


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("NO_PROXY", "localhost,[fe80::]/10"),
        ("NO_PROXY", "2001:db8::/32"),
        ("no_proxy", "fd00::/8"),
        ("ALL_PROXY", "socks5://user:hunter22@127.0.0.1:1080"),
        ("HTTPS_PROXY", "http://user:hunter22@127.0.0.1:port"),
        ("HTTP_PROXY", "gopher://127.0.0.1"),
    ],
)
def test_proxy_settings_that_cannot_be_used_are_named(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    try:
        httpx.Client()
    except (httpx.InvalidURL, ValueError, ImportError):
        with pytest.raises(InputError, match=rf"\): {variable.upper()}; write") as error:
            ChatEndpoint("test", workers=1)
        assert "hunter22" not in str(error.value)
    else:
        # This release of httpx can use it.
        ChatEndpoint("test", workers=1)


# Every way to fail.


def in_all_files(folder):
    return "".join(path.read_text() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def hides(tmp_path, capfd):
    """Looks for the key, in any form, in an error, in the output and in all files."""

    def look(error=""):
        shown = capfd.readouterr()
        text = f"{error}{shown.out}{shown.err}{in_all_files(tmp_path)}"
        assert KEY not in text and base64.b64encode(KEY.encode()).decode() not in text
        assert KEY[3:] not in text and "\x1b" not in f"{error}"

    return look


def quick(server, monkeypatch, fault):
    """A judge that gives up soon, on the clock only where the fault is one of time: a busy machine
    is slow by itself."""
    timeout = 0.5 if fault.how in ("hang", "drip", "drip of headers", "endless") else 30.0
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setattr("xlnb.common.endpoint.LONGEST_WAIT", 0.02)
    monkeypatch.setattr("xlnb.common.calling.MOST_BYTES", 2**22)
    return ModelJudge(Endpoint("test", workers=4, wait=0.005, timeout=timeout), "random")


@pytest.mark.parametrize("name", FAILING)
def test_an_endpoint_that_fails_so_from_the_first_call_or_the_sixth(
    tmp_path, monkeypatch, hides, name
):
    fault = FAILING[name]
    if fault.outcome in ("malformed", "verdict"):
        with serving(lambda number: [fault]) as server:
            records = judged(quick(server, monkeypatch, fault), tmp_path, 12)
        kept = [record.preference is not None for record in records]
        assert kept == [fault.outcome == "verdict"] * 12
        malformed = [record.said.get("malformed") for record in records]
        assert fault.outcome == "verdict" or all(one[0].startswith(fault.said) for one in malformed)
        assert all(len(one[0]) <= 200 for one in malformed if one)
        return hides()
    for answered in (0, 5):
        # What was answered is asked again, and fails as well by then.
        faults = {number: ["ok", fault] for number in range(answered)}
        with (
            serving(lambda number, faults=faults: faults.get(number, [fault])) as server,
            pytest.raises(InputError, match=re.escape(fault.said)) as error,
        ):
            judged(quick(server, monkeypatch, fault), tmp_path, 25)
        line = str(error.value)
        assert "\n" not in line and len(line) < 700
        kept = list(Journal(tmp_path / "en.jsonl").records())
        assert len(kept) <= answered and not any("error" in record for record in kept)
        hides(line)
    with serving() as server:
        records = judged(quick(server, monkeypatch, fault), tmp_path, 25)
        assert sum(server.calls.values()) == 25 - len(kept)
    assert all(record.preference is not None for record in records) and len(records) == 25


@pytest.mark.parametrize("name", [name for name in FAILING if FAILING[name].outcome == "outage"])
def test_a_single_question_that_an_endpoint_fails_at_is_filed_with_its_reason(
    tmp_path, monkeypatch, hides, name
):
    fault = FAILING[name]
    with serving(lambda number: [fault] if number == 3 else ["ok"]) as server:
        records = judged(quick(server, monkeypatch, fault), tmp_path, 12)
    assert fault.said in records[3].said["error"]
    assert [record.preference is None for record in records] == [i == 3 for i in range(12)]
    hides()


# What is kept of an endpoint's words.


@pytest.mark.parametrize(
    "echo", [KEY, "".join(f"\\u{ord(c):04x}" for c in KEY), base64.b64encode(KEY.encode()).decode()]
)
def test_a_translation_that_echoes_the_key_is_kept_without_it(echo):
    body = {"choices": [{"message": {"content": f"Hola {echo}!"}, "finish_reason": echo}]}
    assert read_response(body) == {"text": "Hola [key]!", "finish_reason": "[key]"}


# Load.


def test_a_judge_with_50_000_verdicts_goes_on_in_linear_time(tmp_path, monkeypatch):
    seconds = []
    for n in (12_500, 50_000):
        some = comparisons(n)
        journal = Journal(tmp_path / f"{n}.jsonl")
        journal.append([{"prompt_id": one.prompt_id, "preference": 2.0} for one in some[:-1]])
        with serving() as server:
            judge = judge_at(server, monkeypatch)
            began = time.process_time()
            records = judge_records(judge, some, Journal(journal.path), label="judge")
            seconds.append(time.process_time() - began)
            assert sum(server.calls.values()) == 1
        assert len(records) == n == len(read_jsonl(Path(journal.path)))
    # Four times as many take four times as long; a set a record took 500 s.
    assert seconds[1] < 8 * seconds[0] + 1 and seconds[1] < 30
