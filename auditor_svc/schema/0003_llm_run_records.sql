-- Model runs with all that belongs to one: what was asked with, what the server said of itself, what became of the answer.
-- A view, since all of it follows from rows that are never touched again: nothing is stored twice, old runs are shown too.
-- Messages that may hold a model's words stand here whole: with U+0000 in any text of theirs, `->` and `->>` refuse the whole
-- document, whichever field is asked for. CASE keeps such messages out where a field is needed.

CREATE VIEW llm_run_records AS
SELECT r.journal_seq, r.run_id, r.incident,
       substr(split_part(r.run_id, '.', 2), 2)::bigint AS version,
       substr(split_part(r.run_id, '.', 3), 2)::bigint AS attempt,
       r.model, r.prompt_hash, r.response_hash, r.prompt, r.response, r.outcome, r.error, r.temp, r.tokens,
       r.prompt_tokens, r.completion_tokens, r.elapsed_ms, r.model_config, r.created_at,
       p.plan_id, p.origin, p.decision_tag, p.plan, p.repairs, d.accepted, d.reasons,
       e.payload AS answered, -- template, schema_hash, structured, fingerprint, finish_reason, timings
       m.payload AS proposed, -- filled, mended, agreed
       q.payload AS asked     -- the question, where the plan asked the operator
  FROM llm_runs r
  LEFT JOIN envelopes e ON e.journal_seq = r.journal_seq
  LEFT JOIN LATERAL (
       SELECT * FROM plans
        WHERE plans.incident = r.incident AND plans.journal_seq > r.journal_seq
          AND plans.version = substr(split_part(r.run_id, '.', 2), 2)::bigint
          AND plans.attempt = substr(split_part(r.run_id, '.', 3), 2)::bigint
        ORDER BY plans.journal_seq LIMIT 1) p ON true
  LEFT JOIN envelopes m ON m.journal_seq = p.journal_seq
  LEFT JOIN LATERAL (
       SELECT accepted, reasons FROM plan_decisions
        WHERE plan_decisions.incident = r.incident AND plan_decisions.plan_id = p.plan_id
          AND plan_decisions.version = p.version AND plan_decisions.attempt = p.attempt
        ORDER BY plan_decisions.journal_seq LIMIT 1) d ON true
  LEFT JOIN LATERAL (
       SELECT payload FROM envelopes
        WHERE split_part(subject, '.', 3) = r.incident AND NOT starts_with(subject, 'triage.telemetry.')
          AND refusal IS NULL
          AND CASE WHEN type = 'incident.asked' THEN payload ->> 'plan_id' = p.plan_id ELSE false END
        ORDER BY journal_seq LIMIT 1) q ON true;
COMMENT ON VIEW llm_run_records IS 'llm_runs with endpoint facts, template, schema, repairs and the verdict on the plan made of the answer';

CREATE VIEW clarifying_questions AS
SELECT journal_seq, to_timestamp(time_us / 1e6) AS said_at, split_part(subject, '.', 3) AS incident,
       CASE WHEN type IN ('incident.asked', 'incident.answered') THEN split_part(subject, '.', 5)::bigint END AS n,
       split_part(subject, '.', 4) AS step,
       CASE type WHEN 'incident.asked' THEN payload ->> 'question' WHEN 'incident.answered' THEN payload ->> 'text' END AS text
  FROM envelopes
 WHERE type IN ('incident.asked', 'incident.answered') AND refusal IS NULL
   AND NOT starts_with(subject, 'triage.telemetry.');
COMMENT ON VIEW clarifying_questions IS 'Questions to the operator (asked) and what was answered';
