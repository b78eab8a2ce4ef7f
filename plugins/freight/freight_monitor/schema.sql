-- Tables of freight_monitor: what was judged, and which alarms were raised. SQLite, PostgreSQL, Kingbase, openGauss, MySQL, MariaDB.
-- freight_monitor 的表：核验结论与已发报警。

CREATE TABLE freight_check (
    operator      VARCHAR(35)  NOT NULL,  -- 企业交换代码
    kind          VARCHAR(10)  NOT NULL,  -- waybill 运单, fund_flow 资金流水单
    number        VARCHAR(40)  NOT NULL,  -- 运单号-分段分单号, 资金流水单号
    waybill       VARCHAR(40)  NOT NULL,  -- 资金流水单对应的（第一张）运单
    reference     VARCHAR(35)  NOT NULL,  -- 报文参考号
    checked_on    CHAR(10)     NOT NULL,  -- 接收日期（北京时间）
    despatched_on CHAR(8),                -- 发货日期
    document      SMALLINT     NOT NULL,  -- 单据接入异常
    qualification SMALLINT     NOT NULL,  -- 资质异常
    entry         SMALLINT     NOT NULL,  -- 车辆入网异常
    track         SMALLINT     NOT NULL,  -- 运输轨迹异常
    matching      SMALLINT     NOT NULL,  -- 运单与资金流水单匹配异常
    repeated      SMALLINT     NOT NULL,  -- 运单重复
    awaits        SMALLINT     NOT NULL,  -- 资金流水单先于运单到达，尚未比对
    appeal        VARCHAR(10)  NOT NULL DEFAULT '',  -- 申诉结果: '' 无, withdrawn 撤销, upheld 维持
    PRIMARY KEY (operator, kind, number)
);
CREATE INDEX freight_check_day ON freight_check (checked_on, operator);

CREATE TABLE freight_alarm (
    operator      VARCHAR(35)  NOT NULL,
    period        CHAR(10)     NOT NULL,  -- 日期
    judged        INTEGER      NOT NULL,  -- 已核验单据数
    anomalous     INTEGER      NOT NULL,  -- 异常单据数
    document      INTEGER      NOT NULL,
    qualification INTEGER      NOT NULL,
    entry         INTEGER      NOT NULL,
    track         INTEGER      NOT NULL,
    matching      INTEGER      NOT NULL,
    repeated      INTEGER      NOT NULL,
    PRIMARY KEY (operator, period)
);
