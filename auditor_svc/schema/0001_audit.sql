-- The audit database, version 1. Rows are added and never touched again: triggers forbid UPDATE, DELETE and TRUNCATE
-- to everyone, the owner included (who can still drop a trigger: the chain and its signed checkpoints are for that).

CREATE TABLE envelopes (
    journal_seq   bigint PRIMARY KEY,
    number        bigint NOT NULL UNIQUE CHECK (number > 0),
    time_us       bigint NOT NULL,
    subject       text   NOT NULL,
    refusal       text,
    sender        text,
    type          text,
    channel       text,
    key_version   bigint,
    tag           text,
    cause         bigint,
    nonce         bytea,
    ttl_s         double precision,
    payload       json,
    envelope      bytea  NOT NULL,
    envelope_hash bytea  NOT NULL CHECK (length(envelope_hash) = 32),
    prev_hash     bytea  NOT NULL UNIQUE CHECK (length(prev_hash) = 32),
    row_hash      bytea  NOT NULL UNIQUE CHECK (length(row_hash) = 32)
);
COMMENT ON TABLE envelopes IS 'Every message of the journal, exactly once, accepted or refused. Layout of the hash: docs/state-machines/auditor.md';
COMMENT ON COLUMN envelopes.number IS 'Place in the chain, without gaps; journal sequences have gaps where messages expired';
COMMENT ON COLUMN envelopes.time_us IS 'When the broker took it, microseconds since the epoch';
COMMENT ON COLUMN envelopes.refusal IS 'Why the gate refused it; null when accepted. sender to nonce are then only what the frame claims';
COMMENT ON COLUMN envelopes.payload IS 'json, not jsonb: the exact text that was signed, and jsonb cannot hold U+0000';
CREATE INDEX envelopes_third ON envelopes (split_part(subject, '.', 3)) WHERE NOT starts_with(subject, 'triage.telemetry.');
CREATE INDEX envelopes_fourth ON envelopes (split_part(subject, '.', 4)) WHERE NOT starts_with(subject, 'triage.telemetry.');
CREATE INDEX envelopes_time ON envelopes (time_us);
CREATE INDEX envelopes_long_lived ON envelopes (time_us) WHERE ttl_s > 120; -- whose nonces outlive the usual window
CREATE INDEX envelopes_refused ON envelopes (refusal) WHERE refusal IS NOT NULL;

CREATE TABLE checkpoints (
    n           bigint PRIMARY KEY CHECK (n > 0),
    rows        bigint NOT NULL,
    journal_seq bigint NOT NULL,
    head        text   NOT NULL,
    signature   text   NOT NULL
);

CREATE TABLE findings (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    found_at    timestamptz NOT NULL DEFAULT now(),
    kind        text   NOT NULL,
    journal_seq bigint,
    sentence    text   NOT NULL
);
COMMENT ON TABLE findings IS 'Faults of the chain that an auditor saw when it started';

CREATE TABLE incident_reports (
    journal_seq bigint PRIMARY KEY,
    incident    text NOT NULL,
    text        text NOT NULL,
    source      text NOT NULL,
    reported_at timestamptz NOT NULL
);
CREATE TABLE incident_closures (
    journal_seq  bigint PRIMARY KEY,
    incident     text NOT NULL,
    verdict      text NOT NULL,
    reason       text NOT NULL,
    plan_version bigint NOT NULL,
    actions      bigint NOT NULL,
    merged_into  text,
    closed_at    timestamptz NOT NULL
);
CREATE INDEX incident_closures_incident ON incident_closures (incident);

CREATE TABLE plans (
    journal_seq  bigint PRIMARY KEY,
    incident     text NOT NULL,
    version      bigint NOT NULL,
    attempt      bigint NOT NULL,
    plan_id      text NOT NULL,
    origin       text NOT NULL,
    decision_tag text NOT NULL,
    target       text NOT NULL,
    fault_class  text NOT NULL,
    confidence   double precision NOT NULL,
    plan         json NOT NULL,
    repairs      json NOT NULL,
    proposed_at  timestamptz NOT NULL
);
CREATE INDEX plans_incident ON plans (incident);
CREATE TABLE plan_decisions (
    journal_seq bigint PRIMARY KEY,
    incident    text NOT NULL,
    version     bigint NOT NULL,
    attempt     bigint NOT NULL,
    plan_id     text NOT NULL,
    accepted    boolean NOT NULL,
    reasons     json NOT NULL,
    decided_at  timestamptz NOT NULL
);
CREATE INDEX plan_decisions_incident ON plan_decisions (incident);

CREATE TABLE tasks (
    journal_seq  bigint PRIMARY KEY,
    incident     text NOT NULL,
    task_id      text NOT NULL,
    attempt      bigint NOT NULL,
    kind         text NOT NULL,
    type         text NOT NULL,
    target       text NOT NULL,
    args         json NOT NULL,
    plan_version bigint NOT NULL,
    risk         text NOT NULL,
    ordered_at   timestamptz NOT NULL
);
CREATE INDEX tasks_incident ON tasks (incident);
CREATE TABLE claims (
    journal_seq bigint PRIMARY KEY,
    incident    text NOT NULL,
    task_id     text NOT NULL,
    attempt     bigint NOT NULL,
    instance    text NOT NULL,
    claimed_at  timestamptz NOT NULL
);
CREATE INDEX claims_incident ON claims (incident);
CREATE TABLE results (
    journal_seq bigint PRIMARY KEY,
    incident    text NOT NULL,
    task_id     text NOT NULL,
    attempt     bigint NOT NULL,
    instance    text NOT NULL,
    status      text NOT NULL,
    out         text NOT NULL,
    meta        json NOT NULL,
    evidence    json NOT NULL,
    error_code  text,
    changed     boolean NOT NULL,
    elapsed_ms  double precision NOT NULL,
    ended_at    timestamptz NOT NULL
);
CREATE INDEX results_incident ON results (incident);

CREATE TABLE llm_prompts (
    journal_seq bigint PRIMARY KEY,
    run_id      text NOT NULL,
    incident    text NOT NULL,
    prompt_hash text NOT NULL,
    prompt      json NOT NULL,
    asked_at    timestamptz NOT NULL
);
CREATE INDEX llm_prompts_run ON llm_prompts (run_id);
CREATE TABLE llm_runs (
    journal_seq       bigint PRIMARY KEY,
    run_id            text NOT NULL,
    incident          text NOT NULL,
    model             text NOT NULL,
    prompt_hash       text NOT NULL,
    response_hash     text NOT NULL,
    prompt            json,
    response          text NOT NULL,
    outcome           text NOT NULL,
    error             text NOT NULL,
    temp              double precision,
    tokens            bigint NOT NULL,
    prompt_tokens     bigint NOT NULL,
    completion_tokens bigint NOT NULL,
    elapsed_ms        double precision NOT NULL,
    model_config      json NOT NULL,
    created_at        timestamptz NOT NULL
);
CREATE INDEX llm_runs_incident ON llm_runs (incident);

CREATE TABLE scenario_run (
    id         text PRIMARY KEY,
    scenario   text NOT NULL,
    seed       bigint NOT NULL,
    noise      double precision NOT NULL,
    incident   text,
    started_at timestamptz NOT NULL,
    ended_at   timestamptz NOT NULL,
    verdict    text NOT NULL,
    score      json NOT NULL
);
COMMENT ON TABLE scenario_run IS 'Written by the harness, with its seed (spec 11); not part of the chain';

-- An incident's first report and its end, side by side: two insert-only tables instead of one that would need UPDATE.
CREATE VIEW incidents AS
SELECT DISTINCT ON (r.incident)
       r.incident, r.text, r.source, r.reported_at, c.verdict, c.reason, c.plan_version, c.actions, c.merged_into,
       c.closed_at, r.journal_seq
  FROM incident_reports r LEFT JOIN incident_closures c USING (incident)
 ORDER BY r.incident, r.journal_seq, c.journal_seq;

CREATE VIEW refusals AS
SELECT journal_seq, to_timestamp(time_us / 1e6) AS refused_at, refusal, subject, sender, type, channel, key_version
  FROM envelopes WHERE refusal IS NOT NULL;

CREATE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit is append-only: % on % is forbidden', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END $$;

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['envelopes', 'checkpoints', 'findings', 'incident_reports', 'incident_closures', 'plans',
        'plan_decisions', 'tasks', 'claims', 'results', 'llm_prompts', 'llm_runs', 'scenario_run'] LOOP
        EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %I
                        FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only()', name);
    END LOOP;
END $$;
