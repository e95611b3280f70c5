"""Where prompts and preferences come from, and how a model translates them.

sources                 a preset's text, and what reads it: files, folders, datasets on the Hub
parallel_prompts        the same instructions in several languages, joined by id
preferences             English pairs, for π^0
localisation            English prompts put into other languages
redrafting              those that failed, asked for again (TACTIC)
response_translation    responses put into English, for R_t
"""
