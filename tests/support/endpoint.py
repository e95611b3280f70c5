"""A chat endpoint on this machine whose verdicts are known and which fails as told; and a process
that asks it.

`python endpoint.py FOLDER` judges `comparisons()` through the endpoint of the environment, for
tests that kill it.
"""

import json
import re
import socket
import struct
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from failing import Failing, filled

from xlnb.evaluation.alpaca_eval import Annotation

N = 1000
# What goes wrong with a comparison, by its number modulo 100, before it is answered. A list is gone
# through call by call; the last entry stays.
FAULTS = {
    3: ["429", "ok"],
    7: ["429 wait", "ok"],
    11: ["500", "503", "ok"],
    13: ["hang", "ok"],
    17: ["drop", "drop", "ok"],
    19: ["truncated", "ok"],
    23: ["garbage", "ok"],
    29: ["empty", "ok"],
    31: ["not text", "ok"],
    37: ["no logprobs"],
    41: ["null logprobs"],
    43: ["broken logprobs"],
    47: ["wrong labels"],
    53: ["chatter"],
    59: ["refusal"],
    61: ["too long"],
    67: ["500"],
}
MALFORMED, UNANSWERED, BY_TEXT = (47, 53, 59), (61, 67), (37, 41, 43)


PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


def without_proxies(monkeypatch):
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def comparisons(n=N):
    """Comparisons whose better response says "good"; by their number it is the model's (even) or
    the baseline's."""
    good, bad = "a good answer", "a bad answer"
    return [
        Annotation(
            prompt_id=f"{i}",
            lang="en",
            instruction=f"Do number {i}.",
            output_1=bad if i % 2 == 0 else good,
            output_2=good if i % 2 == 0 else bad,
            preference=None,
        )
        for i in range(n)
    ]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["messages"][0]["content"]
        number = int((re.search(r"Do number (\d+)\.", prompt) or [0, -1])[1])
        with server.lock:
            call = server.calls[number]
            server.calls[number] += 1
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
        try:
            faults = server.faults(number)
            self.answer(faults[min(call, len(faults) - 1)], body, prompt)
        finally:
            with server.lock:
                server.at_once -= 1

    def answer(self, fault, body, prompt):
        first = re.search(r'label="m">\n(.*?)\n</answer>', prompt, re.DOTALL)[1]
        label = "m" if "good" in first else "M"
        other = "M" if label == "m" else "m"
        top = [
            {"token": label, "logprob": -0.1053605},
            {"token": f" {other}", "logprob": -2.3025851},
        ]  # 0.9, 0.1
        message, logprobs = label, {"content": [{"token": label, "top_logprobs": top}]}
        key = self.headers.get("Authorization", "")
        if isinstance(fault, Failing):
            return self.fail(fault, key)
        if fault == "429":
            return self.send(429, {"error": "slow down"})
        if fault == "429 wait":
            return self.send(429, {"error": "slow down"}, {"Retry-After": "0.05"})
        if fault in ("500", "503"):
            return self.send(int(fault), {"error": "broken"})
        if fault == "401":
            return self.send(401, {"error": f"wrong key {key}"})
        if fault.isdigit():
            return self.send(int(fault), {"error": {"message": f"no more, {key}", "code": fault}})
        if fault == "quota":
            error = {"message": f"You exceeded your quota, {key}", "code": "insufficient_quota"}
            return self.send(429, {"error": error})
        if fault == "too long" or (fault == "no logprobs at all" and "logprobs" in body):
            return self.send(400, {"error": f"refused to {key}"})
        if fault == "hang":
            time.sleep(2)
        if fault == "drop":
            self.close_connection = True
            return self.connection.close()
        if fault == "garbage":
            return self.send(200, b"<html>it works!")
        if fault == "empty":
            return self.send(200, {"choices": []})
        if fault == "not text":
            return self.send(200, {"choices": [{"message": {"content": 7}}]})
        if fault in ("no logprobs", "no logprobs at all"):
            message, logprobs = f"{label}.\n", None
        if fault == "null logprobs":
            logprobs = {"content": None}
        if fault == "broken logprobs":
            logprobs = {"content": [{"top_logprobs": [{"token": label}]}]}
        if fault == "wrong labels":
            message, logprobs = (
                "A",
                {"content": [{"token": "A", "top_logprobs": [{"token": "A", "logprob": 0.0}]}]},
            )
        if fault == "chatter":
            message, logprobs = f"Mine is the first, {key}", None
        if fault == "refusal":
            message, logprobs = None, None
        choice = {"message": {"role": "assistant", "content": message}}
        if logprobs is not None and "logprobs" in body:
            choice["logprobs"] = logprobs
        time.sleep(self.server.delay)
        return self.send(200, {"choices": [choice]}, cut=fault == "truncated")

    def fail(self, fault, key):
        """As one of `failing.FAILING` does."""
        headers = {
            name: filled(text.encode(), key).decode() for name, text in fault.headers.items()
        }
        data = filled(fault.body, key)
        if fault.how in ("whole", "cut"):
            return self.send(fault.status, data, headers, cut=fault.how == "cut")
        self.close_connection = True
        if fault.how == "hang":
            time.sleep(1)
        if fault.how == "garbage":
            self.wfile.write(data)
        if fault.how == "chunked":
            self.send_response(fault.status)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"7d0\r\n" + data)
        if fault.how == "drip of headers":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-More: ")
            while True:
                self.wfile.write(b"x")
                time.sleep(0.05)
        if fault.how in ("drip", "endless"):
            self.send_response(fault.status)
            self.send_header("Content-Length", f"{2**40}")
            self.end_headers()
            # Until the other side hangs up.
            while True:
                self.wfile.write(b" " if fault.how == "drip" else b" " * 2**20)
                time.sleep(0.05 if fault.how == "drip" else 0)
        if fault.how == "reset":
            # Closed with nothing to linger for, the other side is sent a reset.
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()

    def send(self, status, body, headers=None, cut=False):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            self.close_connection = True

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        # a client that was killed or has hung up
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


@contextmanager
def serving(faults=lambda number: ["ok"], delay=0.0):
    """The running server: `calls` counts them by comparison, `faults` maps its number to what goes
    wrong."""
    server = Server(("127.0.0.1", 0), Handler)
    server.calls, server.lock, server.at_once, server.most_at_once = (
        Counter(),
        threading.Lock(),
        0,
        0,
    )
    server.faults, server.delay = faults, delay
    server.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


if __name__ == "__main__":
    from xlnb.common.journal import Journal
    from xlnb.judges.asking import judge_records
    from xlnb.judges.endpoint import Endpoint
    from xlnb.judges.model import ModelJudge

    judge = ModelJudge(Endpoint("test", workers=8, wait=0.01, timeout=1.0), "random")
    judge_records(judge, comparisons(), Journal(Path(sys.argv[1]) / "en.jsonl"), label="judge")
