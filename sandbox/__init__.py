"""A stand-in EPAY gateway over real HTTP, with faults to order: for demo, tests and drills.

It plays EPAY towards the payout workers (epay-gateway sections 1 to 6) and keeps a ledger that
says, for every order, how often it was really paid.

EPAY DOCUMENTS NO RESPONSE CODE BUT 1. Every other code here is the sandbox's own invention and
says nothing about what EPAY answers.
"""
