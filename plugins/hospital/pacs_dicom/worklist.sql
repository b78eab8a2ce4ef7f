-- The table of interfaces worklist_items, worklist_find and step_update. SQLite and PostgreSQL. Once, before the hub starts:
--   sqlite3 /var/lib/tongqu/worklist.db < worklist.sql        psql worklist < worklist.sql
CREATE TABLE worklist (
  step_id           VARCHAR(16) PRIMARY KEY,   -- Scheduled Procedure Step ID
  accession         VARCHAR(16),
  procedure_id      VARCHAR(16),
  study_uid         VARCHAR(64),
  placer            VARCHAR(64) NOT NULL,      -- number of the order at the HIS
  filler            VARCHAR(64),               -- number at the RIS
  status            VARCHAR(16) NOT NULL DEFAULT 'scheduled',
  modality          VARCHAR(16),
  station           VARCHAR(16),               -- AE title; empty: any
  procedure_code    VARCHAR(16),
  procedure_text    VARCHAR(64),
  protocol_code     VARCHAR(16),
  protocol_text     VARCHAR(64),
  start_date        VARCHAR(8),                -- yyyyMMdd
  start_time        VARCHAR(6),
  priority          VARCHAR(16),
  reason            VARCHAR(64),
  requester         VARCHAR(200),
  requester_code    VARCHAR(64),
  referrer          VARCHAR(200),
  department        VARCHAR(64),
  patient_id        VARCHAR(64) NOT NULL,
  issuer            VARCHAR(64),
  patient_name      VARCHAR(200),
  birth_date        VARCHAR(8),
  sex               VARCHAR(1),
  admission_id      VARCHAR(64),
  visit_kind        VARCHAR(1),
  step_uid          VARCHAR(64),               -- SOP Instance UID of the performed step
  performed_at      VARCHAR(32),
  performed_station VARCHAR(16)
);
CREATE INDEX worklist_day ON worklist (start_date, status);
CREATE INDEX worklist_study ON worklist (study_uid);
CREATE INDEX worklist_placer ON worklist (placer);
CREATE INDEX worklist_step ON worklist (step_uid);
