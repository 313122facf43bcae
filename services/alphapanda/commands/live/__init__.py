"""The live view: what is folded from answers, how it is drawn, how it is fetched."""
