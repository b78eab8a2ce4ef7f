"""The people who look after the hub: users with roles and scopes, how they prove who they are, sessions, second person's approval.

:class:`hub.people.people.People` is the whole of it; the handlers of the admin API and the command line ask nothing else.
"""
