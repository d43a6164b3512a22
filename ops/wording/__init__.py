"""What the command line says in words: channels, refusals of EPAY, reasons for review."""
