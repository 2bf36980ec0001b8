"""The backends: thin adapters between the front-ends and what computes. Each imports its library only when it is used."""
