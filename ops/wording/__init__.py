"""Texts of the commands: channels, EPAY's answers, request errors, review codes."""
