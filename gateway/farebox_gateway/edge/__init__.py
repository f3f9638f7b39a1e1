"""The embedded gateway: the Admin API of APISIX 3.18, a streaming proxy and the plugins that Farebox needs.

For trying, developing and small installs; APISIX itself is the gateway of production. The worker speaks to
both in the same words and does not know which one answers. It imports the contract and nothing else of ours.
"""
