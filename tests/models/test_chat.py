"""A turn as token ids, on tokenizers of every kind: decoding gives the text back, control tokens are
the template's alone, the end of turn stands once and last, the prompt's ids come first."""

import unicodedata
from dataclasses import replace

import pytest
from damage import DAMAGED, check_line, damaged
from families import checkpoint, fp32
from hypothesis import given, settings
from hypothesis import strategies as st
from merging import KINDS, merging_tokenizer
from transformers import AutoTokenizer

from xlnb.common.errors import InputError, UnfitText
from xlnb.common.files import ROOT
from xlnb.common.records import Response
from xlnb.models.chat import load_tokenizer, prompt_ids, response_ids, response_record
from xlnb.presets import Models

ASKED = "What is the capital?"
PLAIN = "Paris is."

BORDERS = {
    "two line breaks first": "\n\nParis is.",
    "one line break first": "\nParis is.",
    "two spaces first": "  Paris is.",
    "all kinds of space first": " \n\n \nParis is.",
    "line breaks last": "Paris is.\n\n",
    "a space last": "Paris is. ",
    "line breaks inside": "Paris\n\n\n  is.\n\nIt is.",
}


def control_tokens(tokenizer):
    return {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}


def check_turn(name, asked, said):
    """The ids of a turn, all that must hold of them having been looked at."""
    tokenizer = merging_tokenizer(name)
    end = tokenizer.convert_tokens_to_ids(KINDS[name].end)
    prompt, response = prompt_ids(tokenizer, asked), response_ids(tokenizer, asked, said)
    control = control_tokens(tokenizer)
    assert [token for token in response if token in control] == [end] == response[-1:]
    plain = prompt_ids(tokenizer, "a")
    kept = [[token for token in ids if token in control] for ids in (prompt, plain)]
    assert kept[0] == kept[1]
    # Qwen's tokenizer composes what it reads.
    form = "NFC" if name == "qwen2.5" else "NFD"
    read = [unicodedata.normalize(form, tokenizer.decode(ids)) for ids in (prompt, response[:-1])]
    assert read[1].strip() == unicodedata.normalize(form, said).strip()
    assert unicodedata.normalize(form, asked) in read[0]
    return prompt, response


@pytest.mark.parametrize("said", BORDERS.values(), ids=BORDERS)
@pytest.mark.parametrize("name", KINDS)
def test_white_space_at_the_border_is_the_response_s_own(name, said):
    prompt, response = check_turn(name, ASKED, said)
    # As in sampling: what comes first does not depend on what follows.
    assert prompt == check_turn(name, ASKED, PLAIN)[0]
    if "trim" not in KINDS[name].template:
        tokenizer = merging_tokenizer(name)
        whole = tokenizer.decode(prompt + response[:-1])
        assert whole == tokenizer.decode(prompt) + said
        assert response[:-1] != response_ids(tokenizer, ASKED, PLAIN)[:-1]


@pytest.mark.parametrize("name", ["smollm2", "phi3"])
def test_the_border_does_merge_in_the_text(name):
    # Otherwise the test above would show nothing.
    tokenizer = merging_tokenizer(name)
    turns = [{"role": "user", "content": ASKED}, {"role": "assistant", "content": "\n\nParis is."}]
    whole = tokenizer(tokenizer.apply_chat_template(turns, tokenize=False)).input_ids
    prompt, response = check_turn(name, ASKED, "\n\nParis is.")
    assert whole[: len(prompt)] != prompt and prompt + response != whole[: len(prompt + response)]


@pytest.mark.parametrize("name", KINDS)
def test_control_tokens_that_a_text_mentions_are_text(name):
    special = KINDS[name].special
    said = f"First {special[-1]}, then {''.join(special)}; {special[0]}"
    _, response = check_turn(name, f"What is {special[-1]}? And {special[0]}{special[0]}", said)
    assert len(response) > 20
    # The whole text, and a name that is left where another is taken apart.
    check_turn(name, special[-1], special[-1])
    check_turn(name, ASKED, f"{special[-1][:-1]}{special[-1]}{special[-1][1:]}")


@pytest.mark.parametrize("name", KINDS)
def test_a_text_is_read_back_in_the_tokenizer_s_normal_form(name):
    check_turn(name, "Cafe\u0301?", "cafe\u0301 \U0001f642 \u0e01\u0e33 \u200b{{ x }} {% y %}")


def test_what_ends_the_turn_is_the_first_control_token_behind_the_response():
    # Phi-3's template writes a line break and the end of text after it.
    tokenizer = merging_tokenizer("phi3")
    assert tokenizer.convert_ids_to_tokens(response_ids(tokenizer, ASKED, PLAIN))[-1] == "<|end|>"


def turns(name):
    """Texts of what borders and control tokens are made of, and of anything else."""
    bits = [
        "\n",
        "\n\n",
        " ",
        "\t",
        "Paris",
        "is",
        ".",
        "e\u0301",
        "\U0001f642",
        "{{",
        "%}",
        "\r\n",
    ]
    special = KINDS[name].special
    halves = [half for token in special for half in (token[:3], token[3:])]
    return st.lists(st.sampled_from([*bits, *special, *halves]) | st.text(max_size=3), max_size=8)


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_turn_is_read_back_or_told(name, data):
    asked, said = ("".join(data.draw(turns(name))) for _ in range(2))
    try:
        check_turn(name, asked.strip(), said.strip())
    except UnfitText:
        # SentencePiece's sign for a space; a point that is no character
        assert {"▁", "\ufdd0"} & {*asked, *said}


def changed(tokenizer_name, template):
    tokenizer = AutoTokenizer.from_pretrained(checkpoint(tokenizer_name))
    tokenizer.chat_template = template
    return tokenizer


HEAD = "{{ bos_token }}{% for m in messages %}"
TAIL = "{% endfor %}{% if add_generation_prompt %}{{ '<|eot_id|>' }}{% endif %}"
END = "{% if m['role'] == 'assistant' %}{{ eos_token }}{% endif %}"

UNUSABLE = {
    "no end of turn": (
        HEAD + "{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}",
        "does not end the assistant's turn with a control token",
    ),
    "a system turn is demanded": (
        "{% if messages[0]['role'] != 'system' %}"
        "{{ raise_exception('A system message\n is required') }}{% endif %}",
        r"the chat template fails \(A system message is required\)",
    ),
    "a template's own mistake": ("{{ messages[0]['content'] + 1 }}", "the chat template fails "),
    "a variable that is not there": ("{{ nothing.there }}", r"fails \('nothing' is undefined\)"),
    "no valid template": ("{% if %}", "the chat template fails "),
    "the prompt changes": (
        "{{ bos_token }}{{ messages | length }}{{ messages[-1]['content'] + eos_token }}",
        "the chat template changes the prompt once a response follows",
    ),
    "the response is left out": (
        HEAD + "{{ m['content'] if m['role'] == 'user' else '' }}" + END + "{% endfor %}",
        "as the chat template has it, the response is ''",
    ),
    "the response is rewritten": (
        HEAD + "{{ m['content'] if m['role'] == 'user' else m['content'] | upper }}" + END
        + "{% endfor %}",
        "as the chat template has it, the response is 'IS ",
    ),
    "the prompt is rewritten": (
        HEAD + "{{ m['content'] | replace('&', 'and') }}" + END + "{% endfor %}",
        "as the chat template has it, the prompt is ",
    ),
    "reasoning is left out": (
        HEAD + "{{ m['content'].split('</think>')[-1] }}" + END + "{% endfor %}",
        "as the chat template has it, the response is ",
    ),
    "an empty reasoning is added": (
        HEAD + "{{ m['content'] if m['role'] == 'user' else '<think>\n\n</think>\n\n' +"
        " m['content'] }}" + END + "{% endfor %}",
        "as the chat template has it, the response is '<think>",
    ),
    "the prompt lacks the assistant's header": (
        HEAD + "{{ '<|start_header_id|>' + m['role'] + m['content'] + '<|eot_id|>' }}{% endfor %}",
        "as the chat template has it, the response is ''",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("template", "message"), UNUSABLE.values(), ids=UNUSABLE)
def test_a_template_that_cannot_be_used_is_refused_when_it_is_loaded(template, message, tmp_path):
    changed("llama3", template).save_pretrained(tmp_path)
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).symlink_to(checkpoint("llama3") / name)
    with pytest.raises(InputError, match=message) as error:
        load_tokenizer(Models(base=str(tmp_path)))
    line = str(error.value)
    assert line.startswith(f"model {tmp_path}: its chat template cannot be used: ")
    assert "\n" not in line and len(line) < 300 + len(str(tmp_path))


# As Qwen3's and its successors': the last answer stands behind a part for thinking, and the prompt
# ends with an empty one where there is to be none.
THINKING = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}{% if m['role'] == 'user' %}"
    "{{ m['content'] }}{% else %}{{ '<think>\n\n</think>\n\n' + m['content'].split('</think>')[-1]"
    " }}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% if enable_thinking is defined and enable_thinking is false %}"
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)


def thinking_model(folder, template=THINKING):
    changed("qwen2.5", template).save_pretrained(folder)
    for name in ("config.json", "model.safetensors"):
        (folder / name).symlink_to(checkpoint("qwen2.5") / name)
    return Models(base=str(folder))


def test_a_template_is_told_not_to_think(tmp_path):
    models = thinking_model(tmp_path)
    with pytest.raises(InputError, match=r"set models\.chat_template_kwargs=enable_thinking=false"):
        load_tokenizer(models)
    tokenizer = load_tokenizer(replace(models, chat_template_kwargs="enable_thinking=false"))
    assert tokenizer.decode(prompt_ids(tokenizer, ASKED)).endswith("\n<think>\n\n</think>\n\n")
    ids = response_ids(tokenizer, ASKED, PLAIN)
    assert tokenizer.decode(ids) == f"{PLAIN}<|im_end|>"
    # The template alone holds it, as it stands in a checkpoint that is saved.
    tokenizer.save_pretrained(tmp_path / "saved")
    again = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert prompt_ids(again, ASKED) == prompt_ids(tokenizer, ASKED)


def test_a_template_is_told_what_it_reads_alone(tmp_path):
    models = replace(thinking_model(tmp_path), chat_template_kwargs="enable_thoughts=false")
    with pytest.raises(
        InputError, match=r"its chat template of .* does not read 'enable_thoughts'"
    ):
        load_tokenizer(models)


@pytest.mark.parametrize("value", ['a "quoted" \\ text', "true", "7", "ähnlich"])
def test_a_template_is_given_values_of_every_type(value, tmp_path):
    template = checkpoint_template("qwen2.5").replace(
        "{% for", "{{ (style is string, style is boolean, style) | string + '\n' }}{% for"
    )
    models = replace(thinking_model(tmp_path, template), chat_template_kwargs=f"style={value}")
    tokenizer = load_tokenizer(models)
    seen = {"true": (False, True, True), "7": (False, False, 7)}.get(value, (True, False, value))
    assert f"{seen}\n" in tokenizer.decode(prompt_ids(tokenizer, ASKED))


def checkpoint_template(name):
    return AutoTokenizer.from_pretrained(checkpoint(name)).chat_template


def test_a_given_text_with_thinking_is_told():
    tokenizer = load_tokenizer(fp32("llama3"))
    for text in (f"<think>Where?</think>{PLAIN}", f"Where?</think>{PLAIN}", "<think>Where"):
        with pytest.raises(UnfitText, match="it holds thinking"):
            response_ids(tokenizer, ASKED, text)


def test_a_sampled_response_is_what_follows_the_thinking(tmp_path):
    tokenizer = load_tokenizer(fp32("qwen2.5"))
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")

    def sampled(text, *last):
        ids = [*tokenizer(text).input_ids, *last]
        record = response_record(tokenizer, ids, [end])
        assert record.token_ids == ids
        return record.text, record.finish_reason, record.thinking

    said = "<think>\nWhere?\n</think>\n\nParis is."
    assert sampled(said, end) == (PLAIN, "stop", "Where?")
    # An empty part is form: what is said is scored with it, as it was sampled.
    assert sampled(f"<think>\n\n</think>\n\n{PLAIN}", end) == (PLAIN, "stop", None)
    assert sampled("<think>\nWhere") == ("", "length", "Where")
    assert sampled(PLAIN, end) == (PLAIN, "stop", None)
    # Gemma 4's marks are control tokens, which no text shows.
    marks = {"additional_special_tokens": ["<|channel>", "<channel|>"]}
    tokenizer = AutoTokenizer.from_pretrained(checkpoint("qwen2.5"))
    tokenizer.add_special_tokens(marks)
    said = f"<|channel>thought\nWhere?<channel|>{PLAIN}"
    assert tokenizer.decode(tokenizer(said).input_ids, skip_special_tokens=True) != said
    assert sampled(said, end) == (PLAIN, "stop", "Where?")


def test_a_text_that_cannot_be_read_back_is_told():
    tokenizer = load_tokenizer(fp32("llama3"))
    with pytest.raises(UnfitText, match=r"U\+FDD0"):
        response_ids(tokenizer, "Ask.", "a \ufdd0")
    for asked, said in (("Ask \ud83d.", "a"), ("Ask.", "a \ud83d")):
        with pytest.raises(UnfitText, match="half a character"):
            response_ids(tokenizer, asked, said)
    # A template may keep the probe and fail at a text.
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "message['content']", "message['content'] | replace('secret', '')"
    )
    with pytest.raises(UnfitText, match=r"the response is 'It is \.'"):
        response_ids(tokenizer, "Ask.", "It is secret.")
    with pytest.raises(UnfitText, match="the prompt is "):
        prompt_ids(tokenizer, "Is it secret?")


# Calls of what a template has no business to call are among its damages.
CALLS = [
    b"{{ 1 / 0 }}",
    b"{{ x.y.z }}",
    b"{{ messages[9].content }}",
    b"{% for %}",
    b"{{ 'a' * 10 }}",
]


@settings(DAMAGED, max_examples=30)
@given(data=st.data())
def test_a_damaged_template_is_one_that_can_be_used_or_refused_in_one_line(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "mine.jinja"
    whole = (ROOT / "data/lab/sft/chat_template.jinja").read_bytes()
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(whole)))
        whole = whole[:at] + data.draw(st.sampled_from(CALLS)) + whole[at:]
    else:
        whole = data.draw(damaged(whole))
    path.write_bytes(whole)
    try:
        tokenizer = load_tokenizer(Models(chat_template=str(path)))
    except InputError as error:
        check_line(error, path)
        return
    ids = response_ids(tokenizer, ASKED, PLAIN)
    assert tokenizer.decode(ids[:-1]) == PLAIN and prompt_ids(tokenizer, ASKED)


def test_control_tokens_that_were_sampled_stay_in_the_ids_and_are_no_text():
    """What is scored and trained on is what was sampled."""
    tokenizer = load_tokenizer(Models())
    begin, end = tokenizer.convert_tokens_to_ids(["<|assistant|>", "<|end|>"])
    ids = [begin, *tokenizer("Paris", add_special_tokens=False).input_ids, begin, end]
    assert response_record(tokenizer, ids, [end]) == Response("Paris", ids, "stop")
    # What reads a file of texts alone, TRL's form among them, never meets them.
    assert not {begin} & set(response_ids(tokenizer, ASKED, "Paris"))
