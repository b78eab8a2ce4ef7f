"""Time limits, retries, order and repetitions of an interface, in words."""

from __future__ import annotations

from hub.contract import HubConfig, Interface, RetryPolicy
from hub.handbook.blocks import Block, Bullets, Code, Heading, Inline, code, joined, say
from hub.handbook.words import duration, references
from hub.i18n import t

__all__ = ["reliability", "retry_words"]


def retry_words(policy: RetryPolicy) -> Inline:
    if policy.attempts == 0:
        return (t("not sent again when an attempt fails", "失败后不再重发"),)
    interval, longest = duration(policy.interval), duration(policy.max_interval)
    if policy.backoff == "exponential":
        return (
            t(
                f"{policy.attempts} more attempts, first after {interval}, then at growing intervals of at most {longest}",
                f"最多重试 {policy.attempts} 次，首次间隔 {interval}，此后逐次加倍，最长 {longest}",
            ),
        )
    return (
        t(
            f"{policy.attempts} more attempts, {interval} apart",
            f"最多重试 {policy.attempts} 次，间隔 {interval}",
        ),
    )


def reliability(interface: Interface, config: HubConfig, http: str, *, reads: bool) -> list[Block]:
    """Time limits, retries, order, repetitions."""
    items: list[Inline] = []
    if interface.adapter == "results":
        return []
    if interface.direction == "out":
        items.append(
            say(t("An attempt takes at most {time}.", "单次调用超时：{time}。"), time=duration(interface.timeout))
        )
        policy = interface.retry or config.delivery.retry
        items.append(say(t("Retries: {words}.", "重试：{words}。"), words=retry_words(policy)))
        if interface.order_by is None:
            items.append((t("Order: everything arrives in the order it came.", "顺序：全部消息按到达顺序发送。"),))
        elif interface.order_by.strip() in ("", "''"):
            items.append((t("Order: none is kept.", "顺序：不保证顺序。"),))
        else:
            items.append(
                say(
                    t(
                        "Order: messages with the same value of {key} arrive in their order; others don't wait for each other.",
                        "顺序：{key} 相同的消息按先后顺序发送，不同者互不等待。",
                    ),
                    key=code(interface.order_by),
                )
            )
        if interface.idempotency:
            items.append(
                say(
                    t(
                        "Repetitions are recognised by {key}, the same at every attempt.",
                        "重复识别：{key}，每次重发保持不变。",
                    ),
                    key=code(interface.idempotency),
                )
            )
        else:
            items.append(
                (
                    t(
                        "Each message may arrive more than once when an answer was lost; its number stays the same at every attempt.",
                        "应答丢失时同一消息可能重复到达，其标识在每次重发时保持不变，请接收方据此去重。",
                    ),
                )
            )
        items.append(
            say(
                t("At most {number} calls at once{rate}.", "并发不超过 {number}{rate}。"),
                number=str(interface.concurrency),
                rate=t(f", {interface.rate:g} per second", f"，每秒不超过 {interface.rate:g} 次")
                if interface.rate
                else "",
            )
        )
        items.append(
            say(
                t(
                    "After {number} failures in a row the hub pauses for {time}, then tries one call.",
                    "连续失败 {number} 次后暂停 {time}，再试探一次。",
                ),
                number=str(interface.breaker.failures),
                time=duration(interface.breaker.open_for),
            )
        )
        if interface.hours is not None:
            windows = joined([code(one) for one in interface.hours.open], t(", ", "、"))
            items.append(
                say(
                    t(
                        "Sent only in these hours ({zone}): {windows}; what comes at other times waits.",
                        "仅在以下时段发送（时区 {zone}）：{windows}；其他时间到达的消息留待开放时段。",
                    ),
                    zone=code(interface.hours.zone),
                    windows=windows,
                )
            )
        if interface.collect is not None:
            items.append(
                say(
                    t(
                        "Up to {number} messages go in one call, collected for at most {time}.",
                        "合并发送：每次调用最多 {number} 条，最长等待 {time}。",
                    ),
                    number=str(interface.collect.messages),
                    time=duration(interface.collect.within),
                )
            )
        if interface.results is not None:
            items.append(
                say(
                    t(
                        "What is replied becomes messages of the interface {name}.",
                        "应答内容作为接口 {name} 的消息继续处理。",
                    ),
                    name=Code(interface.results.to),
                )
            )
        return [Heading(3, (t("Time limits, retries, order", "超时、重试与顺序"),)), Bullets(items)]
    if interface.style == "request":
        items.append(
            say(
                t("The caller waits for the answer, at most {time}.", "调用方同步等待应答，最长 {time}。"),
                time=duration(config.intake.request_timeout),
            )
        )
    elif reads:
        items.append(
            (
                t(
                    "The hub reads on by itself; what it could not store it reads again.",
                    "枢纽按计划自行读取，未能存储的内容会再次读取。",
                ),
            )
        )
    else:
        items.append(
            (
                t(
                    "A message is acknowledged only after it is stored durably; without an acknowledgement send the same bytes again.",
                    "仅在持久化存储之后才确认；未收到确认时请原样重发。",
                ),
            )
        )
    window = duration(
        interface.duplicate_window if interface.duplicate_window is not None else config.intake.duplicate_window
    )
    number: Inline
    if interface.control_id:
        number = references(interface.control_id)
    elif interface.codec == "hl7v2":
        number = code("MSH-10")
    elif http == "server":
        number = (t("the header Idempotency-Key, where it is sent", "请求头 Idempotency-Key（如携带）"),)
    else:
        number = (t("where the transport has one", "如传输方式提供"),)
    items.append(
        say(
            t(
                "A message with the same number ({key}) and the same content within {time} is answered as before and not processed again.",
                "{time}内编号（{key}）与内容均相同的消息按首次结果应答，不再重复处理。",
            ),
            key=number,
            time=window,
        )
    )
    return [Heading(3, (t("Repetitions and time limits", "重复与时限"),)), Bullets(items)]
