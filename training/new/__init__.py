"""From somebody's data file to a project about it: what each column is, what to leave out, and how good is good."""
