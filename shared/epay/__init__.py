"""The EPAY gateway protocol: signing, messages, client. Its camelCase stays in here."""
