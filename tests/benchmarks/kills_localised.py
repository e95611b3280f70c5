"""Kills while an endpoint translates prompts, and what was asked of it twice:

OMP_NUM_THREADS=1 python tests/benchmarks/kills_localised.py OUT [RUNS]

An endpoint on this machine, a process of its own, puts English questions into German and Spanish
and back. One run of stage `localise` is undisturbed; others are killed, with SIGKILL, SIGTERM and
SIGINT in turn, at random moments after their first call, and go on by the same command to the end.
Then each run's files are compared with the undisturbed one's, and its calls are counted: of what
was answered, no more may be asked again than was under way at a kill. Writes OUT/kills_localised.json.
"""

import hashlib
import json
import os
import random
import re
import signal
import sys
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from typing import Any

from xlnb.cli.main import main
from xlnb.common.files import sha256, write_json, write_jsonl
from xlnb.runs.provenance import environment
from xlnb.runs.run import open_run

WORKERS = 4
QUESTIONS = 60
ENGLISH = "How many books are there on the shelf with the number {}?"
INTO = {
    "German": "Wie viele Bücher stehen auf dem Regal mit der Nummer {}?",
    "Spanish": "¿Cuántos libros hay en el estante que lleva el número {}?",
    "English": ENGLISH,
}
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
# Seconds that an answer takes at most.
DELAY = 0.05
# Kills of a run that has not come to its end, at most.
MOST = 20


class Interpreter(BaseHTTPRequestHandler):
    """Every tenth question is cut off in German."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = body["messages"][0]["content"]
        lang = re.search(r"into (\w+)\.", request)[1]
        number = int(re.search(r"(\d+)\?$", request)[1])
        asked = hashlib.sha256(request.encode()).hexdigest()
        os.write(self.server.log, f"{asked}\n".encode())
        time.sleep(random.uniform(0, DELAY))
        finish = "length" if lang == "German" and number % 10 == 0 else "stop"
        message = {"role": "assistant", "content": INTO[lang].format(number)}
        answer = json.dumps({"choices": [{"message": message, "finish_reason": finish}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", f"{len(answer)}")
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Those who asked were killed."""


def serve(log: Path) -> int:
    """The endpoint's process, which notes every call."""
    server = Server(("127.0.0.1", 0), Interpreter)
    os.environ["OPENAI_BASE_URL"] = f"http://127.0.0.1:{server.server_port}/v1"
    server.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    child = os.fork()
    if not child:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        server.serve_forever()
    server.socket.close()
    return child


def begin(folder: Path) -> int:
    """A process that goes on with a run."""
    child = os.fork()
    if not child:
        with folder.with_suffix(".log").open("a") as said:
            os.dup2(said.fileno(), sys.stdout.fileno())
            os.dup2(said.fileno(), sys.stderr.fileno())
        os._exit(main(["stage", "localise", "--run", f"{folder}", "--yes"]))
    return child


def ended(child: int) -> int | None:
    """Its exit code, once it has ended."""
    pid, status = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if pid else None


def finish(folder: Path) -> float:
    """Go on with a run to its end: seconds from the first call."""
    before = len(calls())
    child = begin(folder)
    while (code := ended(child)) is None and len(calls()) == before:
        time.sleep(0.005)
    began = time.monotonic()
    while code is None:
        time.sleep(0.005)
        code = ended(child)
    if code:
        raise SystemExit(f"{folder}: exit {code}; see its log")
    return time.monotonic() - began


def kill(folder: Path, number: int, seconds: float) -> bool:
    """Kill a run so many seconds after it has begun to ask; False where it had ended by then."""
    before = len(calls())
    child = begin(folder)
    while (code := ended(child)) is None and len(calls()) == before:
        time.sleep(0.002)
    if code is None:
        time.sleep(seconds)
        os.kill(child, SIGNALS[number % 3])
    while code is None:
        time.sleep(0.002)
        code = ended(child)
    expected = -SIGNALS[0] if number % 3 == 0 else 128 + SIGNALS[number % 3]
    if code not in (0, expected):
        raise SystemExit(f"{folder}: exit {code}; see its log")
    return code != 0


def calls() -> list[str]:
    return (out / "calls.log").read_text().splitlines()


def make(name: str) -> Path:
    values = {
        "prompts.path": f"{out / 'english.jsonl'},en=instruction",
        "localise.langs": "de,es",
        "localise.by": "endpoint:interpreter",
        "localise.workers": f"{WORKERS}",
    }
    return open_run(out / name, "lab-quick", values).path


def files(folder: Path) -> dict[str, str]:
    """What the stage wrote, and what was left over."""
    found = {}
    for part in ("drafts", "localised"):
        for path in (folder / part).rglob("*"):
            if path.is_file():
                found[f"{path.relative_to(folder)}"] = sha256(path)
    return found


def killed(number: int, whole: Path, seconds: float) -> dict[str, Any]:
    """A run that is killed until it has come to its end."""
    folder = make(f"killed{number}")
    stream = random.Random(number)
    start = len(calls())
    kills = 0
    while kills < MOST and kill(folder, kills + number, stream.uniform(0, seconds / 4)):
        kills += 1
    finish(folder)
    asked = Counter(calls()[start:])
    again = sum(asked.values()) - len(asked)
    expected, ours = files(whole), files(folder)
    names = sorted(expected.keys() | ours)
    differ = [name for name in names if ours.get(name) != expected.get(name)]
    return {
        "kills": kills,
        "files_compared": len(expected),
        "differ": differ,
        "questions": len(asked),
        "asked_again": again,
        "at_most": kills * WORKERS,
    }


out = Path(sys.argv[1]).absolute()
out.mkdir(parents=True)
os.environ["OPENAI_API_KEY"] = "none"
for name in ("xlnb.stages", "bitsandbytes", "httpx"):
    import_module(name)
# In the background of a shell it is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
rows = [{"instruction_id": f"q{i}", "instruction": ENGLISH.format(i)} for i in range(QUESTIONS)]
write_jsonl(out / "english.jsonl", rows)
(out / "calls.log").touch()
server = serve(out / "calls.log")
try:
    whole = make("whole")
    took = finish(whole)
    once = Counter(calls())
    if set(once.values()) != {1}:
        raise SystemExit(f"asked twice without a kill: {once.most_common(3)}")
    runs = []
    for number in range(int(sys.argv[2]) if len(sys.argv) > 2 else 3):
        runs.append(killed(number, whole, took))
        print(runs[-1], flush=True)
    result = {
        "command": "OMP_NUM_THREADS=1 python tests/benchmarks/kills_localised.py OUT",
        "questions": QUESTIONS,
        "languages": 2,
        "calls_at_once": WORKERS,
        "kills": sum(run["kills"] for run in runs),
        "runs": runs,
        **environment(),
    }
    write_json(out / "kills_localised.json", result)
finally:
    os.kill(server, signal.SIGKILL)
