"""What a skeleton says for each adapter: settings, ``listen`` and ``connect``. Names of settings differ by direction."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TRANSPORTS", "Side", "Transport"]


@dataclass(frozen=True, slots=True)
class Side:
    """One direction: lines of ``settings``, lines of the options, further lines of the interface. ``ID`` is the plugin's."""

    settings: tuple[str, ...]
    options: tuple[str, ...]
    more: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Transport:
    """None: this direction does not exist, or has no skeleton. ``codecs``: the only ones it is for; empty: any."""

    receives: Side | None
    sends: Side | None
    codecs: tuple[str, ...] = ()


_LISTEN_HOST = (
    "listen_host: {type: host, default: 127.0.0.1, description: 监听地址 / address to listen on}",
    "listen_port: {type: port, required: true, description: 监听端口 / port to listen on}",
    "allow: {type: list, description: 允许来访的地址或网段 / who may call (CIDR)}",
)
_CALLER = ("listen_token: {type: secret, required: true, description: 来访方令牌 / token callers show}",)
_LISTEN = ("host: ${listen_host}", "port: ${listen_port}", "allow: ${allow}")
_TARGET_HOST = (
    "host: {type: host, required: true, description: 对方地址 / address of the target}",
    "port: {type: port, required: true, description: 对方端口 / port of the target}",
)
_URL = (
    "url: {type: url, required: true, description: 对方地址 / address of the target}",
    "token: {type: secret, required: true, description: 对方发放的令牌 / token the target gave us}",
)
_TARGET = ("url: ${url}", 'auth: {type: bearer, secret: "${token}"}')
_IN_AUTH = 'auth: {type: bearer, secret: "${listen_token}"}'
_RETRY = "retry: {attempts: 3, interval: 5s}"
#: Of a target that answers in JSON; the codes are those of the target's specification.
_JSON_REPLY = (
    "# The answer: when it counts as success, and what each code means. / 应答：成功条件与各错误码含义。",
    "success: code == '0'",
    "reply: {codec: json, code: code, message: message}",
    "errors:",
    '  "4001": {class: permanent, text: 报文不合格}',
    '  "5001": {class: transient, text: 系统繁忙}',
    _RETRY,
)
_BROKER = (
    "{side}_url: {{type: string, required: true, description: 消息服务器，如 amqps://host/vhost / the broker}}",
    "{side}_user: {{type: string, required: true, description: 用户名 / user name}}",
    "{side}_password: {{type: secret, required: true, description: 密码 / password}}",
    "{side}_queue: {{type: string, required: true, description: 队列名称 / name of the queue}}",
)
_BROKERS = "{side}_brokers: {{type: list, required: true, description: 集群节点 host:port / some of the brokers}}"
_SFTP = (
    "{side}_host: {{type: host, required: true, description: SFTP 服务器 / the SFTP server}}",
    "{side}_user: {{type: string, required: true, description: 用户名 / user name}}",
    "{side}_password: {{type: secret, required: true, description: 密码 / password}}",
    "{side}_host_keys: {{type: list, required: true, description: 主机密钥指纹 SHA256:… / fingerprints of the host}}",
    "{side}_folder: {{type: string, required: true, description: 文件夹 / folder}}",
)
_SFTP_OPTIONS = (
    "host: ${{{side}_host}}",
    "user: ${{{side}_user}}",
    "password: ${{{side}_password}}",
    "host_keys: ${{{side}_host_keys}}",
    "folder: ${{{side}_folder}}",
)


def _of(side: str, lines: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(line.format(side=side) for line in lines)


def _broker_options(side: str) -> tuple[str, ...]:
    return _of(side, ("url: ${{{side}_url}}", "user: ${{{side}_user}}", "password: ${{{side}_password}}"))


TRANSPORTS: dict[str, Transport] = {
    "http": Transport(
        Side((*_LISTEN_HOST, *_CALLER), (*_LISTEN, "path: /ID/messages", _IN_AUTH)),
        Side(_URL, (*_TARGET, "path: /messages"), _JSON_REPLY),
    ),
    "http_poll": Transport(
        Side(
            (
                "source_url: {type: url, required: true, description: 数据源地址 / address of the source}",
                "source_token: {type: secret, required: true, description: 访问令牌 / token the source gave us}",
            ),
            ("url: ${source_url}", 'auth: {type: bearer, secret: "${source_token}"}', "schedule: {every: 5m}"),
        ),
        None,
        codecs=("json",),
    ),
    "soap": Transport(
        Side(
            (*_LISTEN_HOST, *_CALLER),
            (
                *_LISTEN,
                "path: /services/ID",
                _IN_AUTH,
                "operations: [Send]",
                "namespace: urn:ID",
                "parameters: [message]",
                "payload: parameter message",
            ),
        ),
        Side(_URL, (*_TARGET, "operation: Send", "namespace: urn:ID", 'parameters: {message: "{body}"}'), _JSON_REPLY),
        codecs=("json", "xml", "hl7v2"),
    ),
    "mllp": Transport(
        Side(_LISTEN_HOST, _LISTEN),
        Side(_TARGET_HOST, ("host: ${host}", "port: ${port}"), (_RETRY,)),
        codecs=("hl7v2",),
    ),
    "tcp": Transport(
        Side(
            _LISTEN_HOST,
            (*_LISTEN, "framing: {type: length, size: 4}", 'answers: {accepted: "OK", refused: "NO", later: "BUSY"}'),
        ),
        Side(
            _TARGET_HOST,
            ("host: ${host}", "port: ${port}", "framing: {type: length, size: 4}"),
            ("success: text == 'OK'", "reply: {codec: text, code: text}", _RETRY),
        ),
    ),
    "file": Transport(
        Side(
            ("source_root: {type: string, required: true, description: 读取的文件夹 / folder that is read}",),
            ("root: ${source_root}", "schedule: {every: 30s}"),
        ),
        Side(
            ("target_root: {type: string, required: true, description: 写入的文件夹 / folder that is written}",),
            ("root: ${target_root}",),
            (_RETRY,),
        ),
    ),
    "sftp": Transport(
        Side(_of("source", _SFTP), (*_of("source", _SFTP_OPTIONS), "schedule: {every: 5m}")),
        Side(_of("target", _SFTP), _of("target", _SFTP_OPTIONS), (_RETRY,)),
    ),
    "mq": Transport(
        Side(_of("source", _BROKER), (*_broker_options("source"), 'queue: {name: "${source_queue}"}')),
        Side(_of("target", _BROKER), (*_broker_options("target"), 'routing_key: "${target_queue}"'), (_RETRY,)),
    ),
    "kafka": Transport(
        Side(
            (
                _BROKERS.format(side="source"),
                "source_topics: {type: list, required: true, description: 主题 / topics to read}",
            ),
            ("brokers: ${source_brokers}", "topics: ${source_topics}", "group: ID"),
        ),
        Side(
            (
                _BROKERS.format(side="target"),
                "target_topic: {type: string, required: true, description: 主题 / topic to write}",
            ),
            ("brokers: ${target_brokers}", "topic: ${target_topic}"),
            (_RETRY,),
        ),
    ),
}
