"""Networks that are not trained again: the same function in fewer and faster passes."""
