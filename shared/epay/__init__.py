"""The EPAY gateway protocol: signing, messages, client, callbacks. Its camelCase stays in here.

`client.EpayClient` calls the gateway and returns values of shared.domain.gateway; `callbacks` reads
the gateway's callbacks; `signing` is the one place that computes signatures.
"""
