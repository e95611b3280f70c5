"""Which prompts are not independent of each other."""

from xlnb.lab.world import load_world


def fact_of(prompt_id: str) -> str:
    """The cluster of a prompt: of one of the lab's its fact, which other phrasings ask for too, of
    a question of XQuAD's its paragraph; any other prompt is one of its own."""
    if prompt_id.startswith("xquad/"):
        return prompt_id.rpartition("/")[0]
    try:
        fact = load_world().fact(prompt_id)
    except KeyError:
        return prompt_id
    return f"{fact.kind}/{fact.id}"
