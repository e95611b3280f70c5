"""From responses to tables of win rates: AlpacaEval's files, entries of a table, judges' biases."""
