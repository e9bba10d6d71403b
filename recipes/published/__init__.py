"""Settings that the papers published for each environment, one file for each recipe: the fields that differ from its defaults."""
