"""The demo: the whole service on this machine, with a gateway that misbehaves to order."""
