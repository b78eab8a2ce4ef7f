"""Every scheme that is built in, with the function that puts its options in words."""

from __future__ import annotations

from hub.handbook.security_encryption import encryption_words
from hub.handbook.security_gateways import aliyun_acs3_words, logink_words, sinoiov_words, tencent_tc3_words
from hub.handbook.security_health import (
    bosssoft_words,
    health_card_words,
    hunan_insurance_words,
    mobile_insurance_words,
    tencent_health_card_words,
    x_tif_words,
)
from hub.handbook.security_payments import alipay_words, unionpay_words, wechat_pay_words
from hub.handbook.security_signature import signature_words
from hub.handbook.security_tokens import as_form_words, login_words, token_words
from hub.handbook.security_words import Words

__all__ = ["ALL"]

ALL: dict[str, Words] = {
    "alipay": alipay_words,
    "aliyun_acs3": aliyun_acs3_words,
    "as_form": as_form_words,
    "bosssoft": bosssoft_words,
    "encryption": encryption_words,
    "health_card": health_card_words,
    "hunan_insurance": hunan_insurance_words,
    "login": login_words,
    "logink": logink_words,
    "mobile_insurance": mobile_insurance_words,
    "signature": signature_words,
    "sinoiov": sinoiov_words,
    "tencent_health_card": tencent_health_card_words,
    "tencent_tc3": tencent_tc3_words,
    "token": token_words,
    "unionpay": unionpay_words,
    "wechat_pay": wechat_pay_words,
    "x_tif": x_tif_words,
}
