"""Sessions: chosen, started, listed, used and given back.

`manager` chooses or makes a session, `starts` tells whether it would start one, `session` is one in use, `runtime` its
part without the kernel, `ways` what it learns about the way there, `machines` whether its kernels are on one machine,
`kernel_choices` which kernels it may have, `operations` lists and closes them, `status` asks all of them at once,
`running` says what goes on there, `holdings` tells what is held and costs, `activity` keeps it from counting as idle,
`consents` knows what of the account it may be handed, `free_tier` what terms restrict, `interrupted_start` gives back
what the user does not want any more, `first_use` forgets what could not be started, and `keeper_process` starts and
finds the keeper. `saved_requests` is what a profile asks runtimes for, `profile_changes` makes, changes and deletes
profiles, and `setting_changes` shows and changes settings.
Who may use it: everything that runs code or moves files starts with a `Session` from here.
Never here: what is run on a session, or which backend it has.
"""
