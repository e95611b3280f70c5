"""English prompts, an endpoint that puts them into German and Spanish, some of them wrongly, and a
run that asks it."""

import json
import re
from contextlib import contextmanager

from endpoint import Handler, serving, without_proxies

from xlnb.common.files import write_jsonl
from xlnb.runs.run import open_run

ENGLISH = {
    "ok": "What is the capital of France? Answer in one short sentence.",
    "other": "Write a poem about the sea and the ships that sail on it.",
    "blank": "Name three rivers of Germany and the towns that they flow through.",
    "same": "Explain how a bicycle works to a child of five years.",
    "french": "Which mountains are higher than the Alps, and where are they?",
    "refused": "Tell me how to cook rice without burning it.",
    "cut": "List all the kings of England with the years of their reigns.",
    "lost": "Describe the house that you would like to live in.",
    "fine": "How many days are there in a leap year, and why?",
}
GERMAN = {
    "ok": "Was ist die Hauptstadt von Frankreich? Antworte in einem kurzen Satz.",
    "other": "Schreibe ein Gedicht über das Meer und die Schiffe, die darauf fahren.",
    "blank": " \n",
    "same": ENGLISH["same"],
    "french": "Quelles montagnes sont plus hautes que les Alpes, et où sont-elles ?",
    "cut": "Liste alle Könige von England mit den Jahren ihrer Herrschaft auf.",
    "lost": "Beschreibe das Haus, in dem du gerne wohnen würdest.",
    "fine": "Wie viele Tage hat ein Schaltjahr, und warum ist das so?",
}
SPANISH = {
    name: f"Esta es la traducción al español de la pregunta número {i}."
    for i, name in enumerate(ENGLISH)
}
TEXTS = (ENGLISH, GERMAN, SPANISH)
BACK = {GERMAN["other"]: "I am an assistant and cannot do that, sorry.", GERMAN["lost"]: ""}
FAILED = {
    "other": "dissimilar", "blank": "empty", "same": "unchanged", "french": "wrong_language", "refused": "no_answer",
    "cut": "cut_off", "lost": "not_translated_back",
}  # fmt: skip


class Interpreter(Handler):
    """Translates between the texts above; counts calls by (language asked for, text)."""

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"][0][
            "content"
        ]
        asked, _, text = request.partition("\n\n")
        lang = re.search(r"into (\w+)\.", asked)[1]
        with self.server.lock:
            self.server.calls[lang, text] += 1
            if sum(self.server.calls.values()) > self.server.faults(None):
                return self.send(500, {"error": "down"})
        name = self.server.names[text]
        if lang == "German" and name == "refused":
            return self.send(400, {"error": "this is not allowed"})
        given = self.server.given(lang, name, text, asked)
        finish = "length" if lang == "German" and name == "cut" else "stop"
        return self.send(
            200, {"choices": [{"message": {"content": given}, "finish_reason": finish}]}
        )


NAMES = {text: name for texts in TEXTS for name, text in texts.items()}


def given(lang, name, text, asked):
    """What a text is translated to, by its name; `asked`: the request before it."""
    if lang == "English":
        return BACK.get(text, ENGLISH[name])
    return {"German": GERMAN, "Spanish": SPANISH}[lang].get(name)


@contextmanager
def interpreting(monkeypatch, most=10**6, given=given, names=NAMES):
    """An endpoint with an interpreter who leaves after so many calls. `names`: of the texts that it
    can be asked for."""
    without_proxies(monkeypatch)
    with serving(lambda _: most) as server:
        server.RequestHandlerClass = Interpreter
        server.given, server.names = given, names
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
        yield server


def english_run(folder, **overrides):
    rows = [{"prompt_id": i, "prompt": text} for i, text in ENGLISH.items()]
    write_jsonl(folder / "english.jsonl", rows)
    values = {
        "prompts.path": f"{folder}/english.jsonl,instruction_id=prompt_id,en=prompt",
        "prompts.langs": "",
        "localise.langs": "de,es",
        "localise.by": "endpoint:test",
        "localise.price": "2",
    }
    return open_run(folder / "run", "lab-quick", values | overrides)
