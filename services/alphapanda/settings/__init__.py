"""Every setting there is: the model by section, its sources, what must agree, and the catalogue."""
