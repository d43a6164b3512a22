"""The real lifecycle and task bodies in a simulated world whose every choice comes from a seed."""
