"""A run to play with: its models asked, answers scored, α moved, the judge's weights changed.

Every panel (`panels`) wraps one function that returns a table and can be called by itself. Nothing
here writes a file.
"""
