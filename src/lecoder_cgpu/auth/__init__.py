"""The login to Google: credentials on disk, access tokens, the consent page, and logging out.

`credentials` knows where credentials come from, `login_files` stores a login and `system_keyring` its token where that
is wanted, `tokens` refreshes it, `consent` opens the browser and `callback` waits for its answer, `lifecycle` stores,
checks, imports and ends a login.
Who may use it: backends and Drive ask `tokens` for an access token; the commands `auth …` use the rest.
Never here: a request to Colab or Drive. Only `consent` may open a browser or ask a person.
"""
