"""The EPAY gateway protocol: signing, messages, client, callbacks. Its camelCase stays in here.

`client.EpayClient` asks the gateway and returns values of `messages`; `callback` reads what the
gateway sends by itself; `signing` is the one place that knows how a signature is made.
"""
