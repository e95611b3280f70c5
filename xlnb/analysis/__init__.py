"""The tables that notebooks show: pure functions of a run's records, a subject a file.

    read        a run's records; the only file here that knows where they lie
    responses   a row a response: rewards beside the oracle's truth
    pairing     candidates, α and pairs, and what each of them changes
    sums        token log-probabilities summed, by two ways to compute them
    masks       scores under the release's mask beside the right ones
    weights     what 4 bits and training do to a model's weights
    learning    training logs, and what training did to the responses it was shown
    kinds       shares of the kinds of responses
    judging     annotations by model and language
    gains       from one model to another, over prompts, facts and seeds
    length      what a win rate owes to length
    derivation  rewards beside scores, on held-out prompts
    tour        one prompt followed; presets side by side
    tables      how a table is shown

Nothing but notebooks imports from here.
"""
