"""The live view: keeps the newest answers, fetches them, draws them."""
