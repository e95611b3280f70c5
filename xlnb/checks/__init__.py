"""What a program can verify about a response, without a judge or a model.

text            words, sentences and phrases, in languages with and without spaces
kinds           each kind of check, with the value that it needs
instructions    checks asked for in words of the prompt's language
tastes          what met checks are worth
"""
