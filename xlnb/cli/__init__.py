"""The command line, `python -m xlnb`: a command a file."""
