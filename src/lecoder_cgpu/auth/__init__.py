"""The login to Google: credentials on disk, access tokens, the consent page, and a login's life.

Who may use it: backends and Drive ask `tokens` for an access token; the commands `auth …` use the rest.
Never here: a request to Colab or Drive. Only `consent` may open a browser or ask a person.
"""
