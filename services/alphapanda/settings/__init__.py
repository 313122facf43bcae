"""All settings: the model by section, the sources, the consistency checks, and the catalogue."""
