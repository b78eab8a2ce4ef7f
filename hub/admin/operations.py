"""The table of the admin API's operations, and the OpenAPI document made of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from hub import __version__
from hub.admin import audit as of_audit
from hub.admin import callers as of_callers
from hub.admin import flows as of_flows
from hub.admin import handlers
from hub.admin import login as of_login
from hub.admin import people as of_people
from hub.admin.backend import Backend
from hub.admin.requests import as_json
from hub.operations import VERBS

__all__ = ["OPERATIONS", "Operation", "openapi_document"]

Answer = Callable[[web.Request, Backend], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Operation:
    """One row of the API."""

    method: str
    path: str
    summary: str
    answer: Answer
    query: tuple[tuple[str, str], ...] = ()
    body: str = ""  # what the JSON body holds
    open: bool = False  # answers without a token
    login: bool = False  # takes the token of a login that is not complete yet, and looks at it itself
    right: str = ""  # who has it may do this (hub.people.rights); none: only the hub's own token
    fresh: bool = False  # needs a second proof of who somebody is, given a short time ago
    personal: bool = False  # shows personal data whatever is asked; recorded
    scoped: bool = False  # keeps to the scope of who asks; otherwise it is for those whose scope is everything
    returns: bool = False  # a portal of another site sends browsers here


async def openapi(request: web.Request, backend: Backend) -> web.Response:
    return as_json(openapi_document())


_TIMES = (("since", "from this time on (ISO 8601, or -15m)"), ("until", "before this time"))
_PAGE = (("before", "only older than this id"), ("limit", "at most so many, 1 to 1000"))
_MESSAGE_QUERY = (
    *_TIMES,
    ("system", "received from this system"),
    ("source", "received by this interface (system/interface)"),
    ("type", "message type; a trailing * matches any ending"),
    ("control_id", "the sender's message number"),
    ("correlation", "correlation id"),
    ("state", "a delivery is in this state"),
    ("target", "a delivery goes there"),
    ("route", "a delivery was made by this route"),
    ("key.NAME", "business key NAME has this value; names match by part"),
    ("text", "words in the payload"),
    ("conflict", "1: only messages whose control id was used before with other content"),
    ("clear", "1: personal data unmasked"),
    *_PAGE,
)

OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", "/healthz", "Alive?", handlers.healthz, open=True),
    Operation("GET", "/readyz", "Ready to accept messages? 503 with the reasons when not", handlers.readyz, open=True),
    Operation("GET", "/openapi.json", "This document", openapi, open=True),
    Operation("GET", "/metrics", "Prometheus metrics", handlers.metrics, right="metrics.read"),
    Operation("GET", "/api/v1/status", "What runs and how it fares", handlers.status, right="status.read", scoped=True),
    Operation(
        "GET",
        "/api/v1/messages",
        "Search handlers.messages, newest first",
        handlers.messages,
        _MESSAGE_QUERY,
        right="messages.read",
        scoped=True,
    ),
    Operation(
        "GET",
        "/api/v1/messages/{id}",
        "A message with its handlers.deliveries, its handlers.calls, and the messages it answers or is answered by",
        handlers.message,
        (("clear", "1: unmasked"),),
        right="messages.read",
        scoped=True,
    ),
    Operation(
        "GET",
        "/api/v1/messages/{id}/raw",
        "The bytes as received",
        handlers.raw,
        right="personal.read",
        personal=True,
        scoped=True,
    ),
    Operation(
        "GET",
        "/api/v1/deliveries",
        "Deliveries, newest first",
        handlers.deliveries,
        (
            ("state", "states, separated by commas"),
            ("target", ""),
            ("route", ""),
            ("reason", "part of the reason"),
            *_TIMES,
            *_PAGE,
        ),
        right="messages.read",
        scoped=True,
    ),
    Operation(
        "POST",
        "/api/v1/deliveries/{verb}",
        f"Do one of {', '.join(VERBS)} to deliveries; audited",
        handlers.act,
        body="ids: [id] or query: {…} with most; reason; step: auto|map|send (resend); target (forward)",
        right="deliveries.act",
        scoped=True,
    ),
    Operation(
        "GET",
        "/api/v1/callbacks",
        "Deliveries whose target has promised a later answer that has not come, newest first",
        handlers.callbacks,
        (
            ("target", "system or system/interface"),
            ("overdue", "1: only those that are overdue"),
            *_PAGE,
        ),
        right="messages.read",
        scoped=True,
    ),
    Operation(
        "GET",
        "/api/v1/calls",
        "The call log, newest first",
        handlers.calls,
        (
            ("place", "system or system/interface"),
            ("direction", "in or out"),
            ("outcome", "outcomes, separated by commas"),
            ("failed", "1: only failures"),
            ("bodies", "1: with bodies"),
            ("clear", "1: bodies unmasked"),
            *_TIMES,
            *_PAGE,
        ),
        right="messages.read",
        scoped=True,
    ),
    Operation(
        "POST",
        "/api/v1/replay",
        "Run stored messages again and compare with last time",
        handlers.replay,
        body="ids: [id] or query: {…} with most; target; mapping; dry_run (default true); reason",
        right="replay.run",
        scoped=True,
    ),
    Operation(
        "POST",
        "/api/v1/interfaces/{system}/{interface}/messages",
        "Take in the body as if the interface had received it",
        handlers.send,
        body="the message",
        right="messages.send",
        scoped=True,
    ),
    Operation(
        "POST",
        "/api/v1/interfaces/{system}/{interface}/poll",
        "Read a source now, whatever its schedule says",
        handlers.poll,
        right="messages.send",
        scoped=True,
    ),
    Operation(
        "POST",
        "/api/v1/probe",
        "Test connections without side effects",
        handlers.probe,
        body="place: system or interface",
        right="probe.run",
        scoped=True,
    ),
    Operation(
        "GET", "/api/v1/flows", "Flows, and how many instances are in which state", of_flows.flows, right="flows.read"
    ),
    Operation(
        "GET",
        "/api/v1/flows/instances",
        "Instances of flows, newest first",
        of_flows.instances,
        (
            ("flow", "only of this flow"),
            ("state", "open, running, held, compensating, ended, failed, cancelled"),
            ("key", "with this business key; needs flow"),
            ("clear", "1: keys unmasked"),
            *_PAGE,
        ),
        right="flows.read",
    ),
    Operation(
        "GET",
        "/api/v1/flows/instances/{id}",
        "An instance with its steps, messages, documents and history",
        of_flows.instance,
        (("clear", "1: unmasked"),),
        right="flows.read",
    ),
    Operation(
        "GET",
        "/api/v1/flows/instances/{id}/diagram",
        "Its picture (SVG), coloured by state",
        of_flows.picture,
        right="flows.read",
    ),
    Operation(
        "GET", "/api/v1/flows/{id}/diagram", "The picture of a flow (SVG)", of_flows.flow_picture, right="flows.read"
    ),
    Operation(
        "POST",
        "/api/v1/flows/instances/{id}/complete",
        "Decide a manual step; asks for its role as well; audited",
        of_flows.complete,
        body="step, choice, fields: {…}",
        right="flows.complete",
    ),
    Operation(
        "POST",
        "/api/v1/flows/instances/{id}/{verb}",
        f"Do one of {', '.join(of_flows.FLOW_VERBS)} to an instance; audited",
        of_flows.flow_act,
        body="retry: step, skip; cancel: reason",
        right="flows.act",
    ),
    Operation("GET", "/console/flows", "Page: flows and their instances", of_flows.list_console, right="flows.read"),
    Operation("GET", "/console/flows.js", "Script of these pages", of_flows.script, right="flows.read"),
    Operation("GET", "/console/flows/{id}", "Page: one instance", of_flows.instance_console, right="flows.read"),
    Operation("POST", "/api/v1/reload", "Read the configuration anew", handlers.reload, right="config.reload"),
    Operation(
        "GET",
        "/api/v1/plugins",
        "Plugins, their interfaces and problems",
        handlers.plugins,
        right="status.read",
        scoped=True,
    ),
    Operation(
        "GET",
        "/api/v1/tables/unmapped",
        "Values code tables did not list, with counts",
        handlers.unmapped,
        right="quality.read",
    ),
    Operation(
        "GET",
        "/api/v1/quality",
        "What validation found, by interface and day; without since the last seven days",
        handlers.quality,
        (("place", "system or system/interface"), *_TIMES),
        right="quality.read",
        scoped=True,
    ),
    Operation(
        "GET",
        "/api/v1/quality/reports",
        "Calls whose bytes were found wanting or could not be checked, newest first",
        handlers.quality_reports,
        (
            ("place", "system or system/interface"),
            ("verdict", "marked, refused, not_checked, separated by commas"),
            ("rule", "rule; a trailing * matches any ending"),
            *_TIMES,
            *_PAGE,
        ),
        right="quality.read",
        scoped=True,
    ),
    Operation(
        "POST",
        "/api/v1/quality/rerun",
        "Check stored messages by the rules of today",
        handlers.quality_rerun,
        body="ids: [id] or query: {…} with most; missing: true leaves out those that have a report; reason",
        right="quality.run",
        scoped=True,
    ),
    Operation(
        "GET",
        "/api/v1/callers",
        "Callers: who may call interfaces that ask who calls",
        of_callers.callers,
        (("state", "applied, rejected, enabled or disabled"),),
        right="callers.read",
    ),
    Operation(
        "POST",
        "/api/v1/callers",
        "Apply for a caller; it can call nothing before its review",
        of_callers.caller_apply,
        body="id, name, kind: developer|institution|operator; tenant, purpose, contact; places, types: patterns; limits; valid_from, valid_until",
        right="callers.manage",
    ),
    Operation(
        "GET",
        "/api/v1/callers/{caller}",
        "A caller with its credentials, addresses, quotas used and restrictions",
        of_callers.caller,
        (("clear", "1: contact unmasked; audited"),),
        right="callers.read",
    ),
    Operation(
        "POST",
        "/api/v1/callers/{caller}/{verb}",
        f"Do one of {', '.join(of_callers.CALLER_VERBS)} to a caller; at once in force, audited",
        of_callers.caller_act,
        body="reason; review: approve; change: keys as in an application; issue: kind, note, valid_until, facts, public",
        right="callers.manage",
        fresh=True,
    ),
    Operation(
        "POST",
        "/api/v1/credentials/{credential}/{verb}",
        f"Do one of {', '.join(of_callers.CREDENTIAL_VERBS)} to a credential; audited",
        of_callers.credential_act,
        body="revoke: reason; rotate: overlap, e.g. 7d, for which the old one stays valid",
        right="callers.manage",
        fresh=True,
    ),
    Operation(
        "GET",
        "/api/v1/addresses",
        "Allow and block lists, of the hub and of callers, with hits",
        of_callers.addresses,
        right="callers.read",
    ),
    Operation(
        "POST",
        "/api/v1/addresses/{verb}",
        "Do one of allow, block, remove with addresses; at once in force, audited",
        of_callers.addresses_act,
        body="reason; allow, block: rows of network, caller, note, expires_at, enabled; remove: ids, or network and caller",
        right="callers.manage",
    ),
    Operation(
        "GET",
        "/api/v1/restrictions",
        "Callers and addresses nothing is taken from for a time",
        of_callers.restrictions,
        right="callers.read",
    ),
    Operation(
        "POST",
        "/api/v1/restrictions",
        "Restrict a caller or an address for a time, or lift it; audited",
        of_callers.restrict,
        body="kind: caller|address; subject; for: e.g. 10m, 0 lifts it; reason",
        right="callers.manage",
    ),
    Operation(
        "GET",
        "/api/v1/caller-usage",
        "Calls by day, caller and interface",
        of_callers.caller_usage,
        (("caller", ""), ("since", "day, e.g. 2026-11-28"), ("until", "day, included")),
        right="callers.read",
    ),
    Operation(
        "GET",
        "/api/v1/caller-journal",
        "What was changed about callers by whom, oldest first, and whether the journal is sound",
        of_callers.caller_journal,
        (("after", "only entries after this number"),),
        right="audit.read",
    ),
    Operation("GET", "/api/v1/ledger", "Verify the ledger from the store", handlers.ledger, right="audit.read"),
    Operation(
        "GET",
        "/api/v1/audit",
        "The audit trail, all chains, oldest first",
        of_audit.audit,
        (
            *of_audit.AUDIT_QUERY,
            ("after", "what next said; or a number: only later entries of each chain"),
            ("limit", "at most so many, 1 to 10000"),
            ("last", "the newest so many, 1 to 10000"),
        ),
        right="audit.read",
    ),
    Operation(
        "GET",
        "/api/v1/audit/export",
        "The audit trail as a file; audited",
        of_audit.audit_export,
        (*of_audit.AUDIT_QUERY, ("format", "csv, xlsx or json"), ("reason", "why, for the trail")),
        right="audit.read",
        fresh=True,
    ),
    Operation(
        "GET",
        "/api/v1/audit/verify",
        "Check every chain, checkpoint and archive",
        of_audit.audit_verify,
        right="audit.read",
    ),
    Operation(
        "POST",
        "/api/v1/audit/archive",
        "Move old entries into archives now; audited",
        of_audit.audit_archive,
        body="older_than_days (default: audit.archive_after); reason",
        right="audit.manage",
        fresh=True,
    ),
    Operation(
        "POST",
        "/api/v1/login",
        "Sign in: the first step; state tells the next",
        of_login.login,
        body="user, password; cookie: true for browsers",
        open=True,
    ),
    Operation(
        "POST", "/api/v1/login/code", "Have a code sent", of_login.login_code, body="method: sms or mail", login=True
    ),
    Operation(
        "POST",
        "/api/v1/login/second",
        "The second step of a login",
        of_login.login_second,
        body="method: totp, sms, mail or recovery; code",
        login=True,
    ),
    Operation(
        "GET", "/api/v1/login/{portal}", "Send a browser to the portal: oidc or cas", of_login.portal_begin, open=True
    ),
    Operation(
        "GET",
        "/api/v1/login/{portal}/back",
        "A browser comes back from the portal",
        of_login.portal_back,
        open=True,
        returns=True,
    ),
    Operation(
        "POST", "/api/v1/logout", "Sign out", of_login.logout, body="everywhere: true ends all sessions", login=True
    ),
    Operation(
        "GET", "/api/v1/me", "Who is signed in, with which rights; the next step of a login", of_login.me, login=True
    ),
    Operation(
        "POST",
        "/api/v1/session/verify",
        "Prove again who you are, before what is sensitive",
        of_login.verify,
        body="method: totp, sms, mail, recovery, or password for who has none of these; code",
        right="self",
        scoped=True,
    ),
    Operation(
        "POST", "/api/v1/password", "Change the own password", of_login.change_password, body="old, new", login=True
    ),
    Operation(
        "POST",
        "/api/v1/password/strength",
        "weak, middle or strong",
        of_login.password_strength,
        body="password",
        login=True,
    ),
    Operation(
        "POST",
        "/api/v1/second-factor/totp",
        "A new secret for an authenticator application",
        of_login.totp_new,
        login=True,
    ),
    Operation(
        "POST",
        "/api/v1/second-factor/totp/confirm",
        "Put the authenticator in use; answers recovery codes, once",
        of_login.totp_confirm,
        body="code",
        login=True,
    ),
    Operation("GET", "/api/v1/sessions", "Own sessions", of_login.sessions, right="self", scoped=True),
    Operation(
        "DELETE",
        "/api/v1/sessions/{id}",
        "End one of the own sessions",
        of_login.session_end,
        right="self",
        scoped=True,
    ),
    Operation("GET", "/api/v1/tokens", "Own API tokens", of_login.tokens, right="self", scoped=True),
    Operation(
        "POST",
        "/api/v1/tokens",
        "A personal API token, shown once",
        of_login.token_issue,
        body="rights: some of the own; days: 1 to 365; note",
        right="self",
        fresh=True,
        scoped=True,
    ),
    Operation(
        "DELETE",
        "/api/v1/tokens/{id}",
        "Revoke one of the own API tokens",
        of_login.token_revoke,
        right="self",
        scoped=True,
    ),
    Operation(
        "GET",
        "/api/v1/users",
        "Users",
        of_people.users,
        (("word", "part of id, name or telephone number"), ("state", ""), ("role", ""), ("institution", "")),
        right="users.read",
        scoped=True,
    ),
    Operation(
        "POST",
        "/api/v1/users",
        "A new user with a temporary password; may need approval",
        of_people.user_add,
        body="id; name, institution, phone, mail, note, roles, scope; reason",
        right="users.manage",
        fresh=True,
        scoped=True,
    ),
    Operation(
        "GET",
        "/api/v1/users/{id}",
        "A user",
        of_people.user,
        (("clear", "1: telephone and mail address unmasked; audited"),),
        right="users.read",
        scoped=True,
    ),
    Operation(
        "PATCH",
        "/api/v1/users/{id}",
        "Change a user; roles and scope may need approval",
        of_people.user_set,
        body="name, institution, phone, mail, note, roles, scope; reason",
        right="users.manage",
        fresh=True,
        scoped=True,
    ),
    Operation(
        "POST",
        "/api/v1/users/{id}/state",
        "normal, frozen or closed; may need approval",
        of_people.user_state,
        body="state; reason",
        right="users.manage",
        fresh=True,
        scoped=True,
    ),
    Operation(
        "POST",
        "/api/v1/users/{id}/password",
        "Reset a password: answers a temporary one; may need approval",
        of_people.user_password,
        body="reason",
        right="users.manage",
        fresh=True,
        scoped=True,
    ),
    Operation(
        "DELETE",
        "/api/v1/users/{id}/second-factor",
        "Take away an authenticator that was lost; may need approval",
        of_people.user_second_factor,
        body="reason",
        right="users.manage",
        fresh=True,
        scoped=True,
    ),
    Operation(
        "POST",
        "/api/v1/users/{id}/unlock",
        "Forget the failed logins of a user",
        of_people.user_unlock,
        right="users.manage",
        scoped=True,
    ),
    Operation("GET", "/api/v1/roles", "Roles and their rights", of_people.roles, right="users.read", scoped=True),
    Operation(
        "GET",
        "/api/v1/login-log",
        "Logins and failed ones, newest first",
        of_people.login_log,
        (
            ("user", ""),
            ("address", ""),
            ("outcome", "ok, wrong, locked, frozen, closed, refused, unknown"),
            *_TIMES,
            *_PAGE,
        ),
        right="audit.read",
        scoped=True,
    ),
    Operation(
        "GET",
        "/api/v1/approvals",
        "What waits for a second person, and what became of it",
        of_people.approvals,
        (("state", "asked, approved, doing, done, failed, rejected"),),
        right="self",
        scoped=True,
    ),
    Operation(
        "POST",
        "/api/v1/approvals/{id}/{decision}",
        "approve or reject; what is approved is done at once, once",
        of_people.approval_decide,
        body="reason",
        right="approvals.decide",
        fresh=True,
    ),
)


def openapi_document() -> dict[str, Any]:
    """OpenAPI 3.1 of the table."""
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        parameters: list[dict[str, Any]] = [
            {"name": part[1:-1], "in": "path", "required": True, "schema": {"type": "string"}}
            for part in operation.path.split("/")
            if part.startswith("{")
        ]
        parameters += [
            {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
            for name, text in operation.query
        ]
        entry: dict[str, Any] = {
            "summary": operation.summary,
            "operationId": operation.answer.__name__,
            "parameters": parameters,
            "responses": {
                "200": {"description": "done"},
                "default": {"description": "what went wrong", "content": {"application/problem+json": {}}},
            },
        }
        if operation.body:
            entry["requestBody"] = {
                "description": operation.body,
                "required": True,
                "content": {"application/json": {}},
            }
        if operation.open:
            entry["security"] = []
        paths.setdefault(operation.path, {})[operation.method.lower()] = entry
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tongqu 通衢 admin API", "version": __version__},
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{"token": []}],
        "paths": paths,
    }
