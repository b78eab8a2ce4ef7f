"""The checks: what each is called, which level of the quality scale asks for it, what it proves."""

from __future__ import annotations

from dataclasses import dataclass

from hub.i18n import t

__all__ = ["CHECKS", "Check", "check_named"]


@dataclass(frozen=True, slots=True)
class Check:
    """``calls``: needs a running hub and the simulator."""

    id: str
    level: str
    title_en: str
    title_zh: str
    proves_en: str
    proves_zh: str
    calls: bool = False

    @property
    def title(self) -> str:
        return t(self.title_en, self.title_zh)

    @property
    def proves(self) -> str:
        return t(self.proves_en, self.proves_zh)


CHECKS: tuple[Check, ...] = (
    Check(
        "manifest", "bronze", "manifest", "契约",
        "the contract loads, and nothing in it is wrong", "契约可加载且无错误",
    ),
    Check(
        "examples", "bronze", "examples", "示例",
        "what comes in has an example; every example passes its codec, its schemas and the format's own check",
        "接收接口有示例；示例通过编解码、schema 及格式自身的校验",
    ),
    Check(
        "mappings", "bronze", "mappings", "映射",
        "every mapping named compiles, has tests, and they pass", "所用映射可编译、有测试且通过",
    ),
    Check(
        "coverage", "bronze", "coverage", "映射覆盖",
        "the tests of each mapping write at least 80 % of its fields; the shared standard transforms are held against public messages",
        "每个映射的测试至少写出 80 % 的字段；共用的标准转换以公开样例检验",
    ),
    Check(
        "round_trip", "bronze", "round trip", "往返",
        "a message goes through mapping, schema, security and adapter of a running hub to the simulated party over a real "
        "connection, which accepts it at the first call",
        "消息经运行中枢纽的映射、校验、安全与适配器，通过真实连接到达模拟方，首次调用即被接受",
        calls=True,
    ),
    Check(
        "receive", "bronze", "receive", "接收",
        "the simulated party's message is acknowledged and stored; one it could not read is refused in the protocol's own form",
        "模拟方的消息被确认并落库；无法读取的消息以协议自身形式被拒",
        calls=True,
    ),
    Check(
        "error_table", "silver", "error table", "错误码表",
        "what is sent over HTTP and SOAP says what the codes of the answer mean", "HTTP 与 SOAP 发送接口声明应答码含义",
    ),
    Check(
        "errors", "silver", "error codes", "错误码",
        "each declared code, answered by the simulated party, ends as declared: dead letter with its code and text, retried and "
        "then delivered, or delivered",
        "模拟方返回每个已声明的码，结果均与声明一致：进入死信并带码与说明、重试后送达、或视为送达",
        calls=True,
    ),
    Check(
        "retry", "silver", "retry policy", "重试策略",
        "everything sent says how it is retried", "发送接口均写明重试策略",
    ),
    Check(
        "faults", "silver", "faults", "故障",
        "silence, reset, truncated and unreadable answers, 500, 503, refused credentials, wrong signatures and slowness end in "
        "retry or dead letter as the contract declares, with the right class in the call log; nothing is lost",
        "无应答、连接重置、截断与无法解析的应答、500、503、凭据被拒、签名错误与缓慢，均按契约重试或进入死信，调用日志分类正确，无丢失",
        calls=True,
    ),
    Check(
        "idempotency", "silver", "idempotency", "幂等",
        "each attempt of a delivery carries the same key and the same content, another delivery another key",
        "同一投递的每次尝试幂等键与内容相同，不同投递的键不同",
        calls=True,
    ),
    Check(
        "order", "silver", "order", "次序",
        "messages of one ordering key reach the party in arrival order when the first must be retried",
        "首条需重试时，同一排序键的消息仍按到达次序送达",
        calls=True,
    ),
    Check(
        "refusals", "silver", "duplicates and forgeries", "重复与伪造",
        "a repeated message is recognised and answered as before; one with a wrong signature or credential is refused",
        "重复消息被识别并按首次结果应答；签名或凭据错误的消息被拒",
        calls=True,
    ),
    Check(
        "probe", "silver", "probe", "探测",
        "the probe says well while the party is up, and not well while it is down", "对方正常时探测正常，停止时探测异常",
        calls=True,
    ),
    Check(
        "outage", "silver", "outage and restart", "中断与重启",
        "what is sent while the party is away waits, survives a restart of the hub, and is delivered when the party is back",
        "对方离线期间的消息等待，枢纽重启后不丢失，对方恢复后送达",
        calls=True,
    ),
    Check(
        "privacy", "silver", "personal data", "个人信息",
        "no name, number or phone of the messages is in a log line or an error text, also not of mappings that failed",
        "日志与错误说明中（含映射失败时）不出现消息内的姓名、证件号与电话",
        calls=True,
    ),
    Check(
        "notes", "silver", "operator notes", "运维须知",
        "README.md has notes for operators in English and Chinese", "README.md 含中英文运维须知",
    ),
    Check(
        "sources", "gold", "sources", "来源",
        "the contract cites its sources, and each field, or what it is in, says where it is from", "契约注明来源，各字段或其所在分组注明出处",
    ),
    Check(
        "proof", "gold", "vectors or peer", "向量或真实对端",
        "a test named under proof: compares with published vectors or talks to a real peer, and passes",
        "proof: 中的测试与公开向量比对或与真实对端通信，且通过",
    ),
    Check(
        "replay", "gold", "replay set", "重放集",
        "messages kept with what became of them still give the same", "留存报文重放结果一致",
    ),
    Check(
        "benchmark", "platinum", "benchmark", "基准",
        "a measured figure is recorded for these files", "已为当前文件记录实测数据",
        calls=True,
    ),
    Check(
        "fuzz", "platinum", "fuzzing", "模糊测试",
        "a test named under proof: feeds invented input, and passes", "proof: 中的模糊测试通过",
    ),
    Check(
        "flow", "platinum", "flow", "流程",
        "a flow or demo configuration uses the plugin from end to end, and the test of it passes", "端到端流程使用该插件且其测试通过",
    ),
)  # fmt: skip

_BY_ID = {check.id: check for check in CHECKS}


def check_named(name: str) -> Check:
    return _BY_ID[name]
